"""Rationales as embeddings: what prompts are aligned with (NMPA), ready for batches.

A negative judgement ("this is not giving, for the person is seen to throw ...") holds the truth in its own words, so
that its sentence embedding lies near the positive's. ``negatives="claim"`` embeds what the negative wrongly claims
instead, said as a plain statement; ``"rationale"`` embeds the judgement as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ovgsr.losses.alignment import NO_RATIONALE, Aligned, AlignedRoles
from ovgsr.models.text_encoder import TextEncoder
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.rationales import Negative, PictureRationales
from ovgsr.vocabulary import Vocabulary

NegativeForm = Literal["rationale", "claim", "none"]


@dataclass(frozen=True)
class _Slot:
    """Where a judgement's texts stand among all: the positive, and its negatives."""

    positive: int
    negatives: tuple[int, ...]


class RationaleTexts:
    """The embedded rationales of a data set's pictures, centred form by form.

    Positives and negatives are each centred by their own mean: what all sentences of one form share (length, the words
    "not" and "instead") would else be the easiest way to tell them apart, and says nothing about a picture.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        rationales: Mapping[str, PictureRationales],
        vocabulary: Vocabulary,
        encoder: TextEncoder,
        *,
        negatives: NegativeForm = "claim",
    ) -> None:
        self.width = encoder.width
        self._roles = {role: index for index, role in enumerate(sorted({r for v in vocabulary.verbs for r in v.roles}))}
        self._nouns = {noun.key: index for index, noun in enumerate(vocabulary.answers)}
        self._verbs = {name: index for index, name in enumerate(vocabulary.verb_names)}
        self._frames = {verb.name: verb.roles for verb in vocabulary.verbs}
        self._texts: dict[str, int] = {}
        self.images = images
        self._glimpses: list[_Slot | None] = []
        self._gazes: list[dict[str, _Slot]] = []
        claims = _Claims(vocabulary)
        is_negative: set[int] = set()
        for image in images:
            written = rationales.get(image.file_name)
            if written is None:
                self._glimpses.append(None)
                self._gazes.append({})
                continue
            verb = image.situation.verb

            def slot(positive: str, wrong: Sequence[Negative], role: str | None, verb: str = verb) -> _Slot:
                chosen = [n.text if negatives == "rationale" else claims.text(n, verb, role) for n in wrong]
                chosen = [text for text in chosen if text] if negatives != "none" else []
                places = tuple(self._place(text) for text in chosen)
                is_negative.update(places)
                return _Slot(self._place(positive), places)

            self._glimpses.append(slot(written.glimpse.positive, written.glimpse.negatives, None))
            self._gazes.append({r: slot(g.positive, g.negatives, r) for r, g in written.gazes.items()})
        self.embeddings = encoder.encode(list(self._texts)) if self._texts else torch.zeros(0, self.width)
        self._centre(is_negative)

    def __len__(self) -> int:
        return sum(slot is not None for slot in self._glimpses)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every distinct text that was embedded."""
        return tuple(self._texts)

    def glimpses(self, indices: Sequence[int], readings: Tensor) -> Aligned:
        """The scene readings (B, D) of the pictures at ``indices`` beside their glimpse rationales."""
        slots = [self._glimpses[index] for index in indices]
        positives, negatives, mask = self._rows(slots)
        groups = [
            NO_RATIONALE if slot is None else self._verbs[self.images[index].situation.verb]
            for slot, index in zip(slots, indices, strict=True)
        ]
        return Aligned(readings, positives, negatives, mask, torch.tensor(groups)).to(readings.device)

    def places(self, indices: Sequence[int]) -> Tensor:
        """The place (rows,) in its frame of each row that :meth:`gazes` gives."""
        found = [
            place
            for index in indices
            for place, role in enumerate(self._frames[self.images[index].situation.verb])
            if role in self._gazes[index]
        ]
        return torch.tensor(found, dtype=torch.long)

    def gazes(self, indices: Sequence[int], readings: Tensor) -> AlignedRoles:
        """The role readings (B, R, D), in frame order, beside their gaze rationales: one row a role that has one."""
        slots: list[_Slot | None] = []
        where: list[tuple[int, int]] = []
        groups, kinds = [], []
        for row, index in enumerate(indices):
            situation = self.images[index].situation
            for place, role in enumerate(self._frames[situation.verb]):
                if role in self._gazes[index]:
                    slots.append(self._gazes[index][role])
                    where.append((row, place))
                    # A filler outside the vocabulary is a group of its own kind: no negative of the same.
                    groups.append(self._nouns.get(situation.nouns[role].noun, len(self._nouns)))
                    kinds.append(self._roles[role])
        positives, negatives, mask = self._rows(slots)
        at = torch.tensor(where, dtype=torch.long).reshape(-1, 2).unbind(1)
        return AlignedRoles(
            readings[at],
            positives,
            negatives,
            mask,
            torch.tensor(groups, dtype=torch.long),
            torch.tensor(kinds, dtype=torch.long),
            at[0],
        ).to(readings.device)

    def _place(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _centre(self, negative: set[int]) -> None:
        chosen = torch.zeros(len(self._texts), dtype=torch.bool)
        chosen[list(negative)] = True
        for part in (chosen, ~chosen):
            if bool(part.any()):
                self.embeddings[part] -= self.embeddings[part].mean(dim=0)

    def _rows(self, slots: Sequence[_Slot | None]) -> tuple[Tensor, Tensor, Tensor]:
        most = max((len(slot.negatives) for slot in slots if slot is not None), default=0)
        positives = torch.zeros(len(slots), self.width)
        negatives = torch.zeros(len(slots), most, self.width)
        mask = torch.zeros(len(slots), most, dtype=torch.bool)
        for row, slot in enumerate(slots):
            if slot is None:
                continue
            positives[row] = self.embeddings[slot.positive]
            if slot.negatives:
                negatives[row, : len(slot.negatives)] = self.embeddings[list(slot.negatives)]
                mask[row, : len(slot.negatives)] = True
        return positives, negatives, mask


class _Claims:
    """What a negative wrongly claims, as a statement."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._verbs = {verb.name: verb for verb in vocabulary.verbs}

    def text(self, negative: Negative, verb: str, role: str | None) -> str:
        """One sentence; empty where the claim cannot be said (a wrong verb outside the vocabulary)."""
        if role is None:
            wrong = self._verbs.get(negative.wrong)
            return "" if wrong is None else wrong.text
        if negative.kind == "filler":
            return f"The {role} of {verb} is {negative.wrong}."
        if negative.kind == "role":
            return f"It is the {negative.wrong} of {verb}."
        return f"The {role} of {verb} is {negative.wrong} in the picture."
