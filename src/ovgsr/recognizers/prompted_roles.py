"""Filling frames by asking a multimodal LLM: as JSON, or by the likelihood of each noun in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from PIL import Image
from torch import Tensor

from ovgsr.errors import OvgsrError
from ovgsr.noun_phrases import readable_word
from ovgsr.recognizers.prompted_questions import box_question, filler, frame_question, role_cloze
from ovgsr.recognizers.prompted_replies import NounMatcher, read_reply
from ovgsr.recognizers.prompted_settings import PromptSettings
from ovgsr.recognizers.prompted_shortlist import FirstTokens, shortlisted
from ovgsr.recognizers.spoken_boxes import BoxFormat, spoken_box
from ovgsr.situation import EMPTY_NOUN, BoxXyxy, GroundedNoun
from ovgsr.vocabulary import Verb, Vocabulary

if TYPE_CHECKING:
    from ovgsr.teacher.multimodal_llm import MultimodalLLM, VisualTokens

Item = TypeVar("Item")
_BOX_TOKENS = 48


@dataclass(slots=True)
class FilledFrame:
    """One picture's frame of one verb, in the making."""

    picture: int
    verb: Verb
    nouns: dict[str, GroundedNoun] = field(default_factory=dict)
    no_json: bool = False
    """The reply that should have been JSON held none about this frame."""
    hints: list[str] = field(default_factory=list)
    """Keys of nouns that the reply mentions, for the shortlist."""
    boxes_xyxy: dict[str, BoxXyxy | None] = field(default_factory=dict)
    """Boxes of a reply whose words are no noun of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A batch of pictures with what is worked out once for each, on demand."""

    images: Sequence[Image.Image]
    describe: Callable[[Sequence[int]], list[str]]
    """Positions -> the model's own captions."""
    resized_wh: Callable[[Image.Image], tuple[int, int] | None]
    """The size at which the model sees a picture, for families that say boxes in its pixels."""
    tokens: dict[int, VisualTokens] = field(default_factory=dict)
    """Visual tokens after the projector."""


class RoleReader:
    """Fills frames with the nouns of one vocabulary."""

    def __init__(
        self, teacher: MultimodalLLM, settings: PromptSettings, vocabulary: Vocabulary, spoken: BoxFormat
    ) -> None:
        self.teacher = teacher
        self.settings = settings
        self.vocabulary = vocabulary
        self.spoken = spoken
        self.shortlist_failure = ""
        """Why nouns cannot be shortlisted by their first token with this model; empty where they can."""
        self._matcher = NounMatcher(vocabulary)
        self._first_tokens: FirstTokens | None = None

    def fill(self, pictures: Pictures, wanted: Sequence[tuple[int, Verb]]) -> list[FilledFrame]:
        """One frame for each (picture's position, verb), every role filled, in the frame's order."""
        frames = [FilledFrame(picture, verb) for picture, verb in wanted]
        if self.settings.role_readout == "json":
            for batch in batches(frames, self.settings.batch_pictures):
                self._ask(pictures, batch)
        open_roles = [(frame, role) for frame in frames for role in frame.verb.roles if role not in frame.nouns]
        self._score(pictures, open_roles)
        if self.settings.ask_boxes or (self.settings.ask_boxes is None and self.spoken == "locations"):
            nouns = [(frame, role, frame.nouns[role]) for frame, role in open_roles]
            seen = [(frame, role) for frame, role, n in nouns if n.noun != EMPTY_NOUN and n.box_xyxy is None]
            for some in batches(seen, self.settings.batch_pictures):
                self._locate(pictures, some)
        for frame in frames:
            frame.nouns = {role: frame.nouns[role] for role in frame.verb.roles}
        return frames

    def _ask(self, pictures: Pictures, frames: Sequence[FilledFrame]) -> None:
        """Fills what one JSON reply a frame says in words of the vocabulary."""
        images = [pictures.images[frame.picture] for frame in frames]
        questions = [frame_question(frame.verb, self.spoken) for frame in frames]
        tokens = self.settings.reply_tokens
        replies = self.teacher.generate(images, questions, max_new_tokens=tokens, answer_start="{")
        for frame, image, reply in zip(frames, images, replies, strict=True):
            found = read_reply("{" + reply, frame.verb.roles)
            frame.no_json = found is None
            for role, answer in (found or {}).items():
                key = None if answer.words is None else self._matcher.match(answer.words)
                box_xyxy = None if key == EMPTY_NOUN else self._box(answer.box, image, pictures)
                if key is not None:
                    frame.nouns[role] = GroundedNoun(key, box_xyxy)
                else:
                    frame.boxes_xyxy[role] = box_xyxy
                    frame.hints += self._matcher.mentioned(answer.words or "")

    def _box(self, said: object, image: Image.Image, pictures: Pictures) -> BoxXyxy | None:
        return spoken_box(said, self.spoken, image.size, pictures.resized_wh(image))

    def _score(self, pictures: Pictures, open_roles: Sequence[tuple[FilledFrame, str]]) -> None:
        """Fills roles with the likeliest noun; frames of one verb share their calls where all nouns are scored."""
        count = len(self.vocabulary.answers)
        if count > self.settings.shortlist:
            named = self._named(pictures, open_roles)
            for frame, role in open_roles:
                positions = shortlisted(
                    named[frame.picture] + self._positions(frame.hints),
                    self._first_token_likelihoods(pictures, frame, role),
                    count,
                    self.settings.shortlist,
                )
                self._score_together(pictures, [frame], role, positions)
            return
        groups: dict[tuple[str, str], list[FilledFrame]] = {}
        for frame, role in open_roles:
            groups.setdefault((frame.verb.name, role), []).append(frame)
        for (_, role), frames in groups.items():
            for batch in batches(frames, self.settings.batch_pictures):
                self._score_together(pictures, batch, role, range(count))

    def _score_together(
        self, pictures: Pictures, frames: Sequence[FilledFrame], role: str, positions: Sequence[int]
    ) -> None:
        cloze = role_cloze(frames[0].verb, role)
        keys = [self.vocabulary.answers[position].key for position in positions]
        likelihoods = self.teacher.score(
            [pictures.images[frame.picture] for frame in frames],
            self.settings.question,
            [filler(key, role, cloze, self.vocabulary) for key in keys],
            answer_start=cloze.start,
            batch=self.settings.batch_candidates,
            score_per_token=self.settings.per_token,
        )
        best, chosen = likelihoods.float().softmax(dim=-1).max(dim=-1)
        for frame, probability, index in zip(frames, best.tolist(), chosen.tolist(), strict=True):
            box_xyxy = frame.boxes_xyxy.get(role) if keys[index] != EMPTY_NOUN else None
            frame.nouns[role] = GroundedNoun(keys[index], box_xyxy, round(probability, 4))

    def _named(self, pictures: Pictures, open_roles: Sequence[tuple[FilledFrame, str]]) -> dict[int, list[int]]:
        """Positions of the nouns that the model's own caption of each picture mentions."""
        asked = sorted({frame.picture for frame, _ in open_roles})
        captions = pictures.describe(asked)
        return {
            picture: self._positions(self._matcher.mentioned(caption))
            for picture, caption in zip(asked, captions, strict=True)
        }

    def _positions(self, keys: Iterable[str]) -> list[int]:
        return [index for key in keys if (index := self.vocabulary.answer_index(key)) is not None]

    def _first_token_likelihoods(self, pictures: Pictures, frame: FilledFrame, role: str) -> Tensor | None:
        """Of every noun, after the sentence that names the role; None where the model has no such readout."""
        if self.shortlist_failure:
            return None
        cloze = role_cloze(frame.verb, role)
        # A noun comes next, not its preposition, and it needs words before it.
        start = f"{cloze.start} in the" if cloze.is_place else cloze.start or "there is"
        try:
            if self._first_tokens is None:
                self._first_tokens = FirstTokens(self.teacher, self.vocabulary)
            if frame.picture not in pictures.tokens:
                (pictures.tokens[frame.picture],) = self.teacher.visual_tokens([pictures.images[frame.picture]])
            return self._first_tokens.likelihoods(pictures.tokens[frame.picture], self.settings.question, start)
        except OvgsrError as error:
            self.shortlist_failure = str(error)
            return None

    def _locate(self, pictures: Pictures, some: Sequence[tuple[FilledFrame, str]]) -> None:
        """Asks where each filler is, and keeps the first box that the answer holds."""
        images = [pictures.images[frame.picture] for frame, _ in some]
        words = [readable_word(frame.nouns[role].noun, self.vocabulary) for frame, role in some]
        questions = [box_question(word, self.spoken) for word in words]
        replies = self.teacher.generate(images, questions, max_new_tokens=_BOX_TOKENS)
        for (frame, role), image, reply in zip(some, images, replies, strict=True):
            noun = frame.nouns[role]
            frame.nouns[role] = GroundedNoun(noun.noun, self._box(reply, image, pictures), noun.score)


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in order, ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
