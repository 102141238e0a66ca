"""What lies behind one prediction of the student: where it looked, what it weighed, and what it found alike.

Numbers only (``ovgsr explain`` makes a page of them). Attention says where a network took its values from, which is not
yet why it decided as it did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from ovgsr.errors import OvgsrError
from ovgsr.models.decode import decode_situations, split_scores
from ovgsr.models.heads import Readout, TextSimilarity
from ovgsr.models.placement import over_picture
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.recognizers.onnx import OnnxSituations
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import GroundedNoun, Situation
from ovgsr.tensors import Encoded, RoleOutputs
from ovgsr.vocabulary import Vocabulary

NEXT_NOUNS = 3
"""How many nouns are named besides the one that was chosen."""

ReadoutName = Literal["recognition", "distilled"]


@dataclass(frozen=True)
class KnownText:
    """A sentence about a picture of ``verb``, to be compared with a new picture."""

    text: str
    verb: str
    file_name: str


@dataclass(frozen=True)
class SceneReading:
    """One readout of the scene: where it looks, and the offered verbs nearest to what it read, with their cosines.

    ``nearest_verbs`` is empty for the closed-vocabulary baseline, which compares no texts.
    """

    readout: ReadoutName
    looks: Tensor  # (T,), sums to 1
    nearest_verbs: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class RoleReading:
    """One role: what fills it, where the model looked for it, and the next-best nouns with their probabilities."""

    role: str
    answer: GroundedNoun
    looks: Tensor  # (T,), sums to 1
    next_best: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class VerbReading:
    """How the score of one verb came about: natural logarithms of probabilities over the offered verbs.

    ``constant`` was added before the last normalisation, so that the parts do not sum to ``fused``.
    """

    verb: str
    rank: int
    recognition: float
    distilled: float | None
    constant: float
    fused: float
    in_training: bool

    @property
    def probability(self) -> float:
        """The probability that a prediction states, 0..1."""
        return math.exp(self.fused)


@dataclass(frozen=True)
class Explanation:
    """Everything behind one situation in one picture. ``grid`` holds rows and columns of T looked-at tokens."""

    situation: Situation
    vocabulary: Vocabulary
    grid: tuple[int, int]
    verbs: tuple[VerbReading, ...]
    readings: tuple[SceneReading, ...]
    roles: tuple[RoleReading, ...]
    nearest_texts: tuple[tuple[KnownText, float], ...] = ()
    texts_compared: int = 0
    compared_with: ReadoutName | None = None
    """The readout whose embedding the texts were compared with; None where none was or could be."""
    notices: tuple[str, ...] = ()


@torch.inference_mode()
def explain(
    recognizer: SituationRecognizer,
    image: Image.Image,
    vocabulary: Vocabulary | None = None,
    *,
    verb: str | None = None,
    top_k: int = 5,
    texts: Sequence[KnownText] = (),
) -> Explanation:
    """The situation that ``recognizer`` predicts for one picture, or the frame of ``verb`` filled, with its reasons.

    ``top_k`` verbs, nearest verbs and nearest ``texts`` are kept; a ``verb`` outside the best comes last of the verbs.
    Raises VocabularyError where ``verb`` is not offered, OvgsrError where the student is an ONNX export.
    """
    (complete, text), model = recognizer.offer(vocabulary), recognizer.model
    if isinstance(model, OnnxSituations):
        raise OvgsrError("an ONNX export does not tell where it looks; explain the checkpoint that it was made from")
    encoded = model.encode(recognizer.checkpoint.preprocess(image)[None].to(recognizer.device))
    split = split_scores(model.predict_verb(encoded, text), text, recognizer.checkpoint.calibration)
    ranking: list[int] = split.fused[0].argsort(descending=True, stable=True).tolist()
    chosen = ranking[0] if verb is None else complete.verb_index(verb)
    shown = ranking[:top_k] if chosen in ranking[:top_k] else [*ranking[:top_k], chosen]
    verbs = tuple(
        VerbReading(
            verb=complete.verb_names[index],
            rank=ranking.index(index) + 1,
            recognition=float(split.recognition[0, index]),
            distilled=None if split.distilled is None else float(split.distilled[0, index]),
            constant=float(split.offset[index]),
            fused=float(split.fused[0, index]),
            in_training=text.verb_classes is not None and bool(text.verb_classes[index] >= 0),
        )
        for index in shown
    )
    which = torch.tensor([chosen], device=recognizer.device)
    outputs = model.fill_roles(encoded, which, text)
    size_wh = torch.tensor([image.size], dtype=torch.float32, device=recognizer.device)
    score = round(math.exp(float(split.fused[0, chosen])), 6)
    situation = decode_situations(outputs, which, [score], size_wh, complete)[0]
    readings = _readings(model, encoded, with_distilled=split.distilled is not None)
    nearest, compared_with = _nearest_texts(recognizer, readings, texts, top_k)
    return Explanation(
        situation=situation,
        vocabulary=complete,
        grid=encoded.grid,
        verbs=verbs,
        readings=tuple(
            SceneReading(
                name,
                seen.cpu(),
                _nearest_verbs(space, feature, text.told_verbs if name == "distilled" else text.verbs, complete, top_k),
            )
            for name, (seen, space, feature) in readings.items()
        ),
        roles=_roles(situation, outputs, encoded, complete),
        nearest_texts=nearest,
        texts_compared=len({known.text for known in texts}) if compared_with else 0,
        compared_with=compared_with,
        notices=recognizer.notices,
    )


_Reading = tuple[Tensor, TextSimilarity | None, Tensor]
"""Where a readout looks (T,), its text space if it has one, and its feature (C,)."""


def _readings(model: SituationTransformer, encoded: Encoded, *, with_distilled: bool) -> dict[ReadoutName, _Reading]:
    """The readouts that take part in the score: one that nobody taught would only show noise."""

    def read(readout: Readout, space: TextSimilarity | None) -> _Reading:
        looks = readout.attention(encoded.scene, encoded.tokens, encoded.mask)[0]
        return _over_picture(looks, encoded), space, readout(encoded.scene, encoded.tokens, encoded.mask)[0]

    verb_space = model.verb_scores if isinstance(model.verb_scores, TextSimilarity) else None
    found: dict[ReadoutName, _Reading] = {"recognition": read(model.recognition, verb_space)}
    if with_distilled and model.distilled is not None:
        found["distilled"] = read(model.distilled, model.distilled_scores)
    return found


def _over_picture(looks: Tensor, encoded: Encoded) -> Tensor:
    """Looks (..., T) at the student's input as looks at the picture in it; each still sums to 1."""
    if encoded.covered is None:
        return looks
    moved = over_picture(looks.reshape(1, -1, looks.shape[-1]).mT, encoded.grid, encoded.covered).mT.reshape_as(looks)
    return moved / moved.sum(dim=-1, keepdim=True)


def _nearest_verbs(
    space: TextSimilarity | None, feature: Tensor, words: Tensor, vocabulary: Vocabulary, count: int
) -> tuple[tuple[str, float], ...]:
    if space is None:
        return ()
    cosines = space.words(words) @ space.embed(feature)
    return tuple((vocabulary.verb_names[index], cosine) for index, cosine in _largest(cosines, count))


def _nearest_texts(
    recognizer: SituationRecognizer, readings: dict[ReadoutName, _Reading], texts: Sequence[KnownText], count: int
) -> tuple[tuple[tuple[KnownText, float], ...], ReadoutName | None]:
    """Different texts, the nearest first: to the distilled embedding, else to the recognition one."""
    name: ReadoutName = "distilled" if "distilled" in readings else "recognition"
    _, space, feature = readings[name]
    different = list({known.text: known for known in reversed(texts)}.values())[::-1]
    if not different or space is None:
        return (), None
    embedded = recognizer.text_encoder.encode([known.text for known in different]).to(recognizer.device)
    # Rationales share another part than verbs do: each kind of sentence is centred by its own mean.
    shared = embedded.mean(dim=0) if len(different) > 1 else torch.zeros_like(embedded[0])
    centred = torch.nn.functional.normalize(embedded - shared, dim=-1)
    cosines = centred @ space.embed(feature)
    return tuple((different[index], cosine) for index, cosine in _largest(cosines, count)), name


def _roles(
    situation: Situation, outputs: RoleOutputs, encoded: Encoded, vocabulary: Vocabulary
) -> tuple[RoleReading, ...]:
    if outputs.attention is None:
        raise ValueError("this model does not say where its roles look")
    looks = _over_picture(outputs.attention[0].float(), encoded).cpu()
    probabilities = outputs.noun_logits[0].float().softmax(dim=-1)
    found = []
    for slot, (role, answer) in enumerate(situation.nouns.items()):
        best = [
            (vocabulary.answers[index].key, value) for index, value in _largest(probabilities[slot], NEXT_NOUNS + 1)
        ]
        others = tuple((key, value) for key, value in best if key != answer.noun)[:NEXT_NOUNS]
        found.append(RoleReading(role, answer, looks[slot], others))
    return tuple(found)


def _largest(values: Tensor, count: int) -> list[tuple[int, float]]:
    """Positions and values, the largest first; equal ones in their order."""
    order = values.argsort(descending=True, stable=True)[:count]
    return list(zip(order.tolist(), values[order].tolist(), strict=True))
