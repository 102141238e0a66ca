"""The multimodal LLM itself as a recognizer, asked in words: the zero-shot baseline."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ovgsr.captions import progressive
from ovgsr.inflections import mentions
from ovgsr.models.decode import rank_verbs
from ovgsr.models.text_encoder import TextEncoder, load_text_encoder
from ovgsr.recognizers.frames import borrow_frames
from ovgsr.recognizers.prompted_roles import FilledFrame, Pictures, RoleReader, batches
from ovgsr.recognizers.prompted_settings import PromptError, PromptSettings
from ovgsr.recognizers.spoken_boxes import box_format, resized_size
from ovgsr.situation import ImagePrediction, Situation
from ovgsr.teacher.loading import SHIPPED_TEACHER
from ovgsr.vocabulary import Vocabulary, swig_vocabulary

if TYPE_CHECKING:
    from ovgsr.teacher.multimodal_llm import MultimodalLLM, Precision


@dataclass(slots=True)
class _Offered:
    """A vocabulary that was offered, with what is worked out once for it."""

    given: Vocabulary
    complete: Vocabulary
    reader: RoleReader
    prior: Tensor | None = None
    """Log-likelihoods (V,) of the verbs without the picture, for the calibration."""


class PromptedRecognizer:
    """Recognizes situations by asking a frozen multimodal LLM; nothing is trained.

    *Verbs*: every offered verb is scored by the likelihood of "carrying" after "someone is", as an answer to "what is
    happening?"; the softmax over the verbs is the score. With ``calibration`` the probabilities are divided by those
    on pictures that show nothing of interest (contextual calibration, Zhao et al. 2021, arXiv 2102.09690, with
    W = diag(p)^-1 and several such pictures averaged), which takes away that some words are likelier than others.
    With the verb readout ``caption`` the model first writes a caption; the verbs that it names come before all others,
    those named in the -ing form first; among equals the likelihood decides.

    *Roles*: the frame is asked for as JSON and the reply's words are matched to the vocabulary's nouns; a role whose
    words match none, and a reply that is no JSON, fall back to the likelihood of each noun at the end of a sentence
    made of the verb's abstract. Of more than ``settings.shortlist`` nouns only a shortlist is scored: those that the
    model's caption or reply mentions, then those with the likeliest first token. Probabilities of nouns are over the
    nouns that were scored; an answer read from JSON has none. The likelihood readout gives boxes only where
    ``settings.ask_boxes`` has them asked for.

    A prediction does not depend on the other pictures of its batch.
    """

    def __init__(
        self,
        teacher: MultimodalLLM,
        *,
        settings: PromptSettings | None = None,
        reference_pictures: Sequence[Image.Image] = (),
        text_encoder: TextEncoder | None = None,
    ) -> None:
        """``reference_pictures`` are for the calibration ``pictures``, e.g. some training pictures.

        ``text_encoder`` finds frames for verbs without one; by default the project's own, loaded when it is needed.
        Raises PromptError where reference pictures are asked for and missing.
        """
        self.teacher = teacher
        self.settings = settings or PromptSettings()
        if self.settings.calibration == "pictures" and not reference_pictures:
            raise PromptError("the calibration 'pictures' needs reference_pictures; give some, or take 'blank'")
        grey = [Image.new("RGB", (336, 336), (127, 127, 127))]
        self._reference = grey if self.settings.calibration == "blank" else list(reference_pictures)
        self._text_encoder = text_encoder
        self._offered: _Offered | None = None
        self._asked = self._no_json = 0

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        revision: str | None = None,
        settings: PromptSettings | None = None,
    ) -> PromptedRecognizer:
        """A recognizer around a model of a folder or of the Hugging Face hub.

        Raises TeacherError where there is no such model or this machine cannot run it.
        """
        from ovgsr.teacher.multimodal_llm import MultimodalLLM

        teacher = MultimodalLLM.from_pretrained(name, device=device, precision=precision, revision=revision)
        return cls(teacher, settings=settings)

    @property
    def vocabulary(self) -> Vocabulary:
        """What is offered where a call names nothing else: SWiG's verbs and nouns."""
        return swig_vocabulary()

    @property
    def text_encoder(self) -> TextEncoder:
        """The text encoder that finds frames for verbs without one."""
        if self._text_encoder is None:
            self._text_encoder = load_text_encoder()
        return self._text_encoder

    @property
    def notices(self) -> tuple[str, ...]:
        """That this is a prompted model and which, and how often it could not do what it was asked for."""
        sentences = [self._notice]
        if self._no_json:
            sentences.append(
                f"{self._no_json} of {self._asked} replies held no JSON about the frame; those were read by likelihood"
            )
        if self._offered is not None and self._offered.reader.shortlist_failure:
            reason = self._offered.reader.shortlist_failure
            sentences.append(f"nouns were shortlisted without their first tokens ({reason})")
        return tuple(sentences)

    @property
    def _notice(self) -> str:
        known = "; it knows drawn pictures only, not photos" if self.teacher.name == SHIPPED_TEACHER else ""
        return f"zero-shot by prompting the multimodal model {self.teacher.name}{known}"

    def complete(self, vocabulary: Vocabulary | None) -> Vocabulary:
        """The vocabulary with a frame for every verb; one that has none takes or borrows it (see ``frames``)."""
        return self._offer(vocabulary).complete

    @torch.no_grad()
    def predict(
        self,
        images: Sequence[Image.Image],
        vocabulary: Vocabulary | None = None,
        *,
        file_names: Sequence[str] | None = None,
        top_k: int = 5,
        frames_of: Sequence[str] | None = None,
    ) -> list[ImagePrediction]:
        """One prediction a picture, in order; see :class:`ovgsr.recognizers.protocol.Recognizer`."""
        offered = self._offer(vocabulary)
        names = list(file_names or [""] * len(images))
        asked = None if frames_of is None else list(frames_of)
        for given, kind in ((names, "file_names"), (asked, "frames_of")):
            if given is not None and len(given) != len(images):
                raise PromptError(f"{kind} names {len(given)} for {len(images)} pictures; name one each")
        predictions: list[ImagePrediction] = []
        for batch in batches(range(len(images)), self.settings.batch_pictures):
            some = [images[i] for i in batch]
            verbs = None if asked is None else [asked[i] for i in batch]
            predictions += self._predict_batch(some, [names[i] for i in batch], offered, top_k, verbs)
        return predictions

    def verb_log_likelihoods(self, images: Sequence[Image.Image], vocabulary: Vocabulary) -> Tensor:
        """The model's log-likelihood (B, V) of each verb's gerund, without calibration."""
        scores = self.teacher.score(
            images,
            self.settings.question,
            [f" {progressive(verb.name)}" for verb in vocabulary.verbs],
            answer_start=f"{self.settings.subject} is",
            batch=self.settings.batch_candidates,
            score_per_token=self.settings.per_token,
        )
        return scores.float().cpu()

    def captions(self, images: Sequence[Image.Image]) -> list[str]:
        """The model's own answers to the question, one a picture."""
        questions = [self.settings.question] * len(images)
        return self.teacher.generate(images, questions, max_new_tokens=self.settings.caption_tokens)

    def _offer(self, vocabulary: Vocabulary | None) -> _Offered:
        given = vocabulary or self.vocabulary
        if self._offered is None or self._offered.given is not given:
            if not given.verbs:
                raise PromptError("the vocabulary offers no verb; name at least one")
            bare = any(not verb.roles for verb in given.verbs)
            complete = borrow_frames(given, self.vocabulary, self.text_encoder.encode) if bare else given
            spoken = box_format(self.teacher.model_type)
            self._offered = _Offered(given, complete, RoleReader(self.teacher, self.settings, complete, spoken))
        return self._offered

    def _predict_batch(
        self,
        images: Sequence[Image.Image],
        names: Sequence[str],
        offered: _Offered,
        top_k: int,
        frames_of: Sequence[str] | None,
    ) -> list[ImagePrediction]:
        vocabulary = offered.complete
        described: dict[int, str] = {}

        def describe(positions: Sequence[int]) -> list[str]:
            missing = [position for position in positions if position not in described]
            described.update(zip(missing, self.captions([images[p] for p in missing]) if missing else [], strict=True))
            return [described[position] for position in positions]

        likelihoods = self._calibrated(self.verb_log_likelihoods(images, vocabulary), offered)
        if self.settings.verb_readout == "caption":
            likelihoods = named_first(likelihoods, describe(range(len(images))), vocabulary)
        rankings = rank_verbs(likelihoods.log_softmax(dim=-1), vocabulary)
        wanted: list[tuple[int, str]] = []
        for position, ranking in enumerate(rankings):
            verbs = [verb for verb, _ in ranking[:top_k]] + ([frames_of[position]] if frames_of else [])
            wanted += [(position, verb) for verb in dict.fromkeys(verbs)]
        pictures = Pictures(images, describe, lambda image: seen_size(self.teacher, image.size))
        frames = offered.reader.fill(pictures, [(position, vocabulary.verb(verb)) for position, verb in wanted])
        if self.settings.role_readout == "json":
            self._asked += len(frames)
            self._no_json += sum(frame.no_json for frame in frames)
        return [
            self._prediction(name, image, ranking, [frame for frame in frames if frame.picture == position])
            for position, (name, image, ranking) in enumerate(zip(names, images, rankings, strict=True))
        ]

    def _calibrated(self, likelihoods: Tensor, offered: _Offered) -> Tensor:
        if self.settings.calibration == "none":
            return likelihoods
        if offered.prior is None:
            parts = [
                self.verb_log_likelihoods(some, offered.complete).log_softmax(dim=-1)
                for some in batches(self._reference, self.settings.batch_pictures)
            ]
            offered.prior = torch.cat(parts).logsumexp(dim=0) - math.log(len(self._reference))
        return likelihoods - offered.prior

    def _prediction(
        self,
        name: str,
        image: Image.Image,
        ranking: tuple[tuple[str, float], ...],
        frames: Sequence[FilledFrame],
    ) -> ImagePrediction:
        scores = dict(ranking)
        situations = {
            frame.verb.name: Situation(frame.verb.name, frame.nouns, scores[frame.verb.name], frame.verb.borrowed_from)
            for frame in frames
        }
        failed = [frame.verb.name for frame in frames if frame.no_json]
        notices = [self._notice, *([f"read by likelihood, without JSON: {', '.join(failed)}"] if failed else [])]
        return ImagePrediction(name, ranking, situations, image.width, image.height, tuple(notices))


def named_first(likelihoods: Tensor, captions: Sequence[str], vocabulary: Vocabulary) -> Tensor:
    """Log-likelihoods (B, V) raised so that the verbs a caption names come first.

    Verbs in the -ing form come before those in any other form, since a "hammer" is mostly no hammering; within each
    group the order stays. A group is raised until its least likely verb is one nat above the next group's best.
    """
    raised = likelihoods.clone()
    names = vocabulary.verb_names
    for row, text in zip(raised, captions, strict=True):
        words = " ".join(["", *re.findall(r"[^\W_]+", text.lower()), ""])
        named = mentions(text, names)
        other = torch.tensor([name in named for name in names])
        gerund = torch.tensor([f" {progressive(name).lower()} " in words for name in names])
        for group in (other & ~gerund, gerund):
            rest = ~group & ~gerund
            if group.any() and rest.any():
                row[group] += (row[rest].max() + 1 - row[group].min()).clamp(min=0)
    return raised


def seen_size(teacher: MultimodalLLM, picture_wh: tuple[int, int]) -> tuple[int, int] | None:
    """The width and height at which a model of a resizing family sees a picture; None where it does not say."""
    processor = teacher.processor.image_processor
    size = getattr(processor, "size", None)
    patch, merge = getattr(processor, "patch_size", None), getattr(processor, "merge_size", None)
    if not isinstance(patch, int) or not isinstance(merge, int) or size is None:
        return None
    try:
        fewest, most = int(size["shortest_edge"]), int(size["longest_edge"])
    except (KeyError, TypeError):
        return None
    return resized_size(picture_wh, patch * merge, fewest, most)
