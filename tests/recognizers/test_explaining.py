"""What lies behind a prediction: the same prediction, and numbers that can be worked out another way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.models.checkpoint import Calibration, StudentCheckpoint
from ovgsr.models.heads import TextSimilarity
from ovgsr.recognizers.explaining import NEXT_NOUNS, Explanation, KnownText, explain
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import Situation
from ovgsr.vocabulary import TEXT_TEMPLATES_VERSION, VocabularyError

WIDTH = 12


class HashedTexts:
    """A text encoder whose embedding of a text is noise of the text's own."""

    width = WIDTH
    fingerprint = "random"

    def encode(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            rows.append(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)))
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)


@pytest.fixture
def recognizer_of(make_checkpoint: Callable[..., StudentCheckpoint]) -> Callable[..., SituationRecognizer]:
    def make(calibration: Calibration | None = None, **settings: object) -> SituationRecognizer:
        checkpoint = make_checkpoint(**settings)
        checkpoint.text_fingerprint = f"random;templates-{TEXT_TEMPLATES_VERSION}"
        checkpoint.calibration = calibration or Calibration(1.5, recognition_weight=0.6)
        if checkpoint.model.distilled_scores is not None:
            checkpoint.model.distilled_scores.centre.fill_(0.02)
        return SituationRecognizer(checkpoint, HashedTexts())

    return make


def picture(width: int = 60, height: int = 40) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


def known(*texts: str) -> list[KnownText]:
    return [KnownText(text, f"verb {place}", f"{place}.jpg") for place, text in enumerate(texts)]


def _same(first: Situation, second: Situation) -> None:
    """Equal but for rounding: a prediction fills several frames in one batch."""
    assert (first.verb, first.roles) == (second.verb, second.roles)
    assert first.score == pytest.approx(second.score, abs=1e-5)
    for role, answer in first.nouns.items():
        other = second.nouns[role]
        assert answer.noun == other.noun
        assert answer.score == pytest.approx(other.score, abs=1e-3)
        assert (answer.box_xyxy is None) == (other.box_xyxy is None)
        assert answer.box_xyxy is None or answer.box_xyxy == pytest.approx(other.box_xyxy, abs=0.1)


CASES = [
    # settings of the student, readouts that take part in its score
    ({"distilled_readout": True}, ["recognition", "distilled"]),
    ({}, ["recognition"]),
    ({"head": "closed"}, ["recognition"]),
]


@pytest.mark.parametrize(("settings", "readouts"), CASES)
def test_the_explained_prediction_is_the_prediction(
    recognizer_of: Callable[..., SituationRecognizer], settings: dict[str, object], readouts: list[str]
) -> None:
    recognizer, image = recognizer_of(**settings), picture()
    offered = recognizer.vocabulary.with_verbs(["throwing", "cutting", "barking"])
    predicted = recognizer(image, offered, top_k=3)
    explained = explain(recognizer, image, offered, top_k=3)
    _same(explained.situation, predicted.best)
    assert [verb.verb for verb in explained.verbs] == [verb for verb, _ in predicted.ranking]
    assert [verb.probability for verb in explained.verbs] == pytest.approx([p for _, p in predicted.ranking], rel=1e-4)
    assert [reading.readout for reading in explained.readings] == readouts
    assert all((verb.distilled is None) == ("distilled" not in readouts) for verb in explained.verbs)
    for name in offered.verb_names:  # any frame may be asked for
        asked = explain(recognizer, image, offered, verb=name, top_k=1)
        _same(asked.situation, predicted.situations[name])


def test_every_look_covers_the_grid(recognizer_of: Callable[..., SituationRecognizer]) -> None:
    recognizer = recognizer_of(distilled_readout=True)
    explained = explain(recognizer, picture())
    looks = [*(reading.looks for reading in explained.readings), *(role.looks for role in explained.roles)]
    assert len(looks) == 2 + len(explained.situation.roles)
    for weights in looks:
        assert weights.shape == (math.prod(explained.grid),)
        assert weights.sum().item() == pytest.approx(1, abs=1e-4)
        assert weights.device.type == "cpu"


def test_verbs_outside_training_get_the_constant(recognizer_of: Callable[..., SituationRecognizer]) -> None:
    recognizer = recognizer_of(Calibration(1.5))
    offered = recognizer.vocabulary.with_verbs(["throwing", "cutting", "eating"])
    verbs = {verb.verb: verb for verb in explain(recognizer, picture(), offered).verbs}
    assert {name: (verb.in_training, verb.constant) for name, verb in verbs.items()} == {
        "throwing": (True, 0.0),
        "cutting": (True, 0.0),
        "eating": (False, 1.5),
    }
    total = math.log(sum(math.exp(verb.recognition + verb.constant) for verb in verbs.values()))
    for verb in verbs.values():
        assert verb.fused == pytest.approx(verb.recognition + verb.constant - total, abs=1e-5)


def test_a_verb_asked_for_is_listed_with_its_rank(recognizer_of: Callable[..., SituationRecognizer]) -> None:
    recognizer, image = recognizer_of(), picture()
    last = recognizer(image).ranking[-1][0]
    explained = explain(recognizer, image, verb=last, top_k=1)
    assert [verb.rank for verb in explained.verbs] == [1, 3]
    assert explained.verbs[1].verb == explained.situation.verb == last
    assert explained.situation.score == pytest.approx(explained.verbs[1].probability, abs=1e-6)
    with pytest.raises(VocabularyError, match="the verb 'flying' is not in the vocabulary"):
        explain(recognizer, image, verb="flying")


def test_next_best_nouns(recognizer_of: Callable[..., SituationRecognizer]) -> None:
    explained = explain(recognizer_of(), picture(), verb="cutting")
    assert [role.role for role in explained.roles] == ["agent", "item", "tool"]
    keys = {noun.key for noun in explained.vocabulary.answers}
    for role in explained.roles:
        assert role.answer == explained.situation.nouns[role.role]
        others = [key for key, _ in role.next_best]
        assert len(others) == NEXT_NOUNS
        assert {role.answer.noun, *others} < keys  # five answers: one is left over
        scores = [role.answer.score or 0.0, *(value for _, value in role.next_best)]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) <= 1 + 1e-4  # the answer's own is rounded


def _by_hand(
    recognizer: SituationRecognizer, image: Image.Image, distilled: bool, texts: Tensor, centre: Tensor | None = None
) -> Tensor:
    """Cosines of each text with what the readout says of the picture, written out."""
    model = recognizer.model
    with torch.no_grad():
        encoded = model.encode(recognizer.checkpoint.preprocess(image)[None])
        readout, scores = (
            (model.distilled, model.distilled_scores) if distilled else (model.recognition, model.verb_scores)
        )
        assert readout is not None
        assert isinstance(scores, TextSimilarity)
        seen = scores.project(readout(encoded.scene, encoded.tokens))[0]
        words = texts - (scores.centre if centre is None else centre)
        return torch.nn.functional.cosine_similarity(words, seen[None], dim=-1)


@pytest.mark.parametrize("distilled", [True, False])
def test_nearest_verbs_and_texts_are_the_nearest_by_cosine(
    recognizer_of: Callable[..., SituationRecognizer], distilled: bool
) -> None:
    recognizer, image = recognizer_of(distilled_readout=distilled), picture()
    sentences = [f"sentence {number}" for number in range(20)]
    explained = explain(recognizer, image, top_k=2, texts=known(*sentences, "sentence 3"))
    texts = HashedTexts().encode(sentences)
    cosines = _by_hand(
        recognizer, image, distilled, texts, texts.mean(dim=0)
    )  # sentences share another part than verbs
    order = cosines.argsort(descending=True)[:2].tolist()
    assert explained.compared_with == ("distilled" if distilled else "recognition")
    assert explained.texts_compared == 20  # a sentence said twice is one sentence
    assert [found.file_name for found, _ in explained.nearest_texts] == [f"{place}.jpg" for place in order]
    assert [value for _, value in explained.nearest_texts] == pytest.approx(cosines[order].tolist(), abs=1e-5)
    for reading in explained.readings:
        told = reading.readout == "distilled"  # which compares with sentence and name
        words = HashedTexts().encode([v.text for v in recognizer.vocabulary.verbs])
        names = HashedTexts().encode(list(recognizer.vocabulary.verb_names))
        verbs = _by_hand(recognizer, image, told, words + names if told else words)
        best = verbs.argsort(descending=True)[:2].tolist()
        assert [verb for verb, _ in reading.nearest_verbs] == [recognizer.vocabulary.verb_names[i] for i in best]
        assert [value for _, value in reading.nearest_verbs] == pytest.approx(verbs[best].tolist(), abs=1e-5)


def _compared(explained: Explanation) -> tuple[object, ...]:
    return explained.compared_with, explained.nearest_texts, explained.texts_compared


def test_a_student_without_a_text_space_compares_nothing(recognizer_of: Callable[..., SituationRecognizer]) -> None:
    explained = explain(recognizer_of(head="closed"), picture(), texts=known("a sentence"))
    assert _compared(explained) == (None, (), 0)
    assert [reading.nearest_verbs for reading in explained.readings] == [()]
    assert _compared(explain(recognizer_of(), picture())) == (None, (), 0)  # nor does one that is given no text


def test_a_readout_that_has_no_say_is_left_out(recognizer_of: Callable[..., SituationRecognizer]) -> None:
    recognizer = recognizer_of(Calibration(0.0, recognition_weight=1.0), distilled_readout=True)  # nobody taught it
    explained = explain(recognizer, picture(), texts=known("a sentence"))
    assert [reading.readout for reading in explained.readings] == ["recognition"]
    assert explained.compared_with == "recognition"


def test_a_letterboxed_students_looks_are_at_the_picture(
    recognizer_of: Callable[..., SituationRecognizer],
) -> None:
    """A map over the padded input would be drawn over the picture in the wrong place."""
    recognizer = recognizer_of(distilled_readout=True)
    recognizer.checkpoint.preprocess = replace(recognizer.checkpoint.preprocess, resize="letterbox")
    image = picture(64, 16)  # on a grid of 4 x 4 one row: what is seen cannot differ from row to row
    explanation = explain(recognizer, image)
    _same(explanation.situation, recognizer(image).best)
    looks = [reading.looks for reading in explanation.readings] + [role.looks for role in explanation.roles]
    for look in looks:
        assert float(look.sum()) == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(look.reshape(4, 4), look[:4].expand(4, 4))
