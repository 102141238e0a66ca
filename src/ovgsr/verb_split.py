"""Which verbs a split calls seen, rare and unseen, which pictures it leaves out, and the file that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovgsr.errors import OvgsrError
from ovgsr.situation import AnnotatedImage

PLAIN_FORMAT, CHECKED_FORMAT = "ovgsr-split-1", "ovgsr-split-2"
"""Files of verbs, written by hand; and files that also choose pictures and carry a checksum."""

_LISTS = ("seen", "rare", "unseen", "dev_unseen", "unseen_nouns")


class SplitError(OvgsrError):
    """A split that contradicts itself, or a file that is none; the message names the field."""


@dataclass(frozen=True, slots=True)
class VerbSplit:
    """Which verbs are seen, rare and unseen, and the fold of unseen verbs on which designs are chosen.

    Training sees ``seen`` and ``rare`` verbs only. Development pictures are ranked among seen, rare and
    ``dev_unseen`` verbs, test pictures among seen, rare and ``unseen`` ones (the generalised setting: all of them
    compete). :meth:`pictures` says which pictures there are.
    """

    name: str
    seen: tuple[str, ...]
    rare: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    dev_unseen: tuple[str, ...] = ()
    unseen_nouns: tuple[str, ...] = ()
    """Keys of nouns that no training picture shows."""
    rare_pictures: int | tuple[str, ...] | None = None
    """The training pictures kept of rare verbs: how many of each, or their file names; None: all."""
    seed: int = 0
    """Of the hash that chooses which ``rare_pictures`` are kept."""
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reason -> file names of pictures that are left out of every fold."""

    def __post_init__(self) -> None:
        verbs: set[str] = set()
        for verb in (*self.seen, *self.rare, *self.unseen, *self.dev_unseen):
            if not verb.strip():
                raise SplitError(f"the split {self.name!r} names an empty verb; remove it")
            if verb in verbs:
                raise SplitError(f"the verb {verb!r} of the split {self.name!r} is named twice; remove one")
            verbs.add(verb)

    @property
    def training(self) -> tuple[str, ...]:
        """The verbs that training may meet."""
        return (*self.seen, *self.rare)

    def candidates(self, fold: str) -> tuple[str, ...]:
        """The verbs that compete on the pictures of ``train``, ``dev`` or ``test``."""
        return {
            "train": self.training,
            "dev": (*self.training, *self.dev_unseen),
            "test": (*self.training, *self.unseen),
        }[fold]

    def groups(self, fold: str) -> dict[str, tuple[str, ...]]:
        """The subsets to report on a fold: seen, rare and unseen (the dev fold's own unseen verbs on ``dev``)."""
        unseen = {"train": (), "dev": self.dev_unseen, "test": self.unseen}[fold]
        return {"seen": self.seen, "rare": self.rare, "unseen": unseen}

    def pictures(self, images: Iterable[AnnotatedImage], fold: str) -> tuple[AnnotatedImage, ...]:
        """Of a fold's pictures those that the split leaves in it, in the order given.

        Everywhere: the competing verbs' pictures that are not ``dropped``. ``train`` has no picture for which any
        annotator named an unseen noun either, and of each rare verb's only ``rare_pictures``: by number, those whose
        SHA-256 of ``SEED:FILE NAME`` comes first.
        """
        given, unseen = tuple(images), frozenset(self.unseen_nouns)
        names, verbs = [image.file_name for image in given], [image.situation.verb for image in given]
        kept = self.positions(names, verbs, fold, lambda position: _shows(given[position], unseen))
        return tuple(given[position] for position in kept)

    def positions(
        self, file_names: Sequence[str], verbs: Sequence[str], fold: str, shows_unseen_noun: Callable[[int], bool]
    ) -> list[int]:
        """What :meth:`pictures` keeps, by position, of pictures that are known by name and verb only."""
        candidates = frozenset(self.candidates(fold))
        dropped = frozenset(name for names in self.dropped.values() for name in names)
        pairs = enumerate(zip(file_names, verbs, strict=True))
        kept = [position for position, (name, verb) in pairs if verb in candidates and name not in dropped]
        if fold != "train":
            return kept
        if self.unseen_nouns:
            kept = [position for position in kept if not shows_unseen_noun(position)]
        if self.rare_pictures is None:
            return kept
        of_rare: dict[str, list[str]] = {verb: [] for verb in self.rare}
        for position in kept:
            if verbs[position] in of_rare:
                of_rare[verbs[position]].append(file_names[position])
        if isinstance(self.rare_pictures, int):
            number = self.rare_pictures
            few = {name for names in of_rare.values() for name in sorted(names, key=self._draw)[:number]}
        else:
            few = set(self.rare_pictures)
        return [position for position in kept if verbs[position] not in of_rare or file_names[position] in few]

    def _draw(self, name: str) -> str:
        return seeded_hash(self.seed, name)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of which verbs are seen, rare, unseen and dev-unseen, in whatever order the file lists them, and of
        what leaves pictures out (nouns included), if anything does: what was made for one split is refused for another.
        """
        told: list[Any] = [sorted(verbs) for verbs in (self.seen, self.rare, self.unseen, self.dev_unseen)]
        few, dropped = self.rare_pictures, sorted(name for names in self.dropped.values() for name in names)
        if few is not None or dropped or self.unseen_nouns:
            told += [sorted(few) if isinstance(few, tuple) else [few, self.seed], dropped, sorted(self.unseen_nouns)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A dictionary in the format ``ovgsr-split-2``, with its checksum."""
        record: dict[str, Any] = {"format": CHECKED_FORMAT, "name": self.name}
        record |= {part: list(getattr(self, part)) for part in _LISTS}
        few = self.rare_pictures
        record |= {"rare_pictures": list(few) if isinstance(few, tuple) else few, "seed": self.seed}
        record["dropped"] = {reason: list(names) for reason, names in self.dropped.items()}
        return record | {"sha256": checksum(record)}

    @classmethod
    def from_json(cls, record: Any) -> VerbSplit:
        """From a dictionary in either format. Raises SplitError with the field at fault, or for a wrong checksum."""
        found = record.get("format") if isinstance(record, Mapping) else None
        if found not in (PLAIN_FORMAT, CHECKED_FORMAT):
            raise SplitError(f"the field 'format' must be {PLAIN_FORMAT!r} or {CHECKED_FORMAT!r}, not {found!r}")
        chooses = [part for part in ("rare_pictures", "seed", "dropped") if part in record]
        if found == PLAIN_FORMAT and chooses:
            raise SplitError(f"the field {chooses[0]!r} needs the format {CHECKED_FORMAT!r} with its checksum")
        if found == CHECKED_FORMAT and record.get("sha256") != checksum(record):
            raise SplitError("the field 'sha256' is not the checksum of the rest: the file was changed; take it anew")
        few, seed, dropped = record.get("rare_pictures"), record.get("seed", 0), record.get("dropped", {})
        if isinstance(few, list):
            few = _names(record, "rare_pictures")
        elif few is not None and not (type(few) is int and few > 0):
            raise SplitError("the field 'rare_pictures' must be a number above zero, a list of file names or null")
        if type(seed) is not int:
            raise SplitError("the field 'seed' must be a whole number")
        if not isinstance(dropped, Mapping):
            raise SplitError("the field 'dropped' must be an object from reason to file names")
        lists = {part: _names(record, part) for part in _LISTS}
        reasons = {reason: _names(dropped, reason) for reason in dropped}
        return cls(str(record.get("name", "")), **lists, rare_pictures=few, seed=seed, dropped=reasons)


def seeded_hash(seed: int, name: str) -> str:
    """What a seed's choice among names goes by: the same everywhere, whatever else there is to choose from."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _shows(image: AnnotatedImage, nouns: frozenset[str]) -> bool:
    return any(not nouns.isdisjoint(answer.accepted) for answer in image.situation.nouns.values())


def checksum(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a split file's content but for the field that holds it."""
    content = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _names(record: Mapping[str, Any], part: str) -> tuple[str, ...]:
    names = record.get(part, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SplitError(f"the field {part!r} must be a list of names")
    return tuple(names)
