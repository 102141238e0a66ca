"""Ov-SWiG: a deterministic construction of seen, rare and unseen verbs (``docs/ov_swig.md``)."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovgsr.data.errors import DataError
from ovgsr.data.flaws import flaws
from ovgsr.data.swig import FOLDS, read_annotations, read_json_object, read_split, read_vocabulary, space_path
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage
from ovgsr.verb_split import VerbSplit, seeded_hash
from ovgsr.vocabulary import Noun, Verb, swig_vocabulary

HELD_OUT, DEV_UNSEEN, RARE = 4, 3, 6
"""One verb in four is kept from training, a third of them for dev; one in six is rare; the others are seen."""
RARE_PICTURES = 10
VERBS_A_GROUP = 8
ROLE_WEIGHT = 0.2
"""How much of two verbs' distance is their roles'; the rest is their texts'."""
SHARED_ROLES = 2
"""Each role of an unseen verb is a role of at least so many training verbs."""
NOUN_REACH = 0.8
"""Of the nouns that annotators gave for an unseen verb's pictures, the least share that other verbs' pictures have."""
UNSEEN_NOUNS = 100
"""One noun in so many is unseen."""
NOUN_RANKS = (0.02, 0.3)
"""Unseen nouns are neither the commonest, nor too rare to be in a test picture: their ranks as shares of all nouns."""

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Sentences -> unit vectors, (sentences, D)."""
Groups = Sequence[Sequence[str]]
Pictures = Mapping[str, Sequence[AnnotatedImage]]
"""Fold -> its pictures."""


def make_split(
    root: Path, *, embed: Embed, seed: int = 0, framenet: bool = False, refined: bool = False
) -> tuple[VerbSplit, Pictures]:
    """A split of the data set at ``root``, and all pictures of its folds.

    SWiG's 504 verbs have the split that the package carries, unless another ``seed`` or groups by imSitu's
    ``framenet`` field are asked for. Other verbs are grouped by roles and by text, which ``embed`` embeds. ``refined``
    drops what :func:`flaws` finds. Raises DataError for a data set that is too small or lacks training pictures.
    """
    vocabulary = read_vocabulary(root)
    pictures: Pictures = {fold: read_annotations(root, fold) for fold in FOLDS}
    verbs, train = vocabulary.verbs, pictures["train"]
    original = frozenset(vocabulary.verb_names) == frozenset(swig_vocabulary().verb_names)
    split = read_split(root, "ov_swig") if original and seed == 0 and not framenet else None
    shown = {image.situation.verb for image in train}
    without = [verb for verb in (vocabulary.verb_names if split is None else split.training) if verb not in shown]
    if without:
        raise DataError(
            f"{root}: {len(without)} verbs ({without[0]!r} first) have no training picture; make a split from a data "
            "set whose train.json shows every verb"
        )
    if split is None:
        if framenet:
            groups = framenet_groups(root)
        elif original:
            groups = [tuple(group) for group in shipped_groups().values()]
        else:
            groups = frame_groups(verbs, embed([told(verb) for verb in verbs]))
        split = construct(verbs, groups, noun_reach(train), by_use(vocabulary.nouns, train), seed)
        grouped = ", FrameNet groups" if framenet else ""
        split = replace(split, name=f"Ov-{vocabulary.name}, seed {seed}{grouped}")
    if refined:
        dropped = flaws(image for fold in FOLDS for image in pictures[fold])
        split = replace(split, name=f"{split.name}, refined", dropped=dropped)
    return split, pictures


def construct(
    verbs: Sequence[Verb], groups: Groups, reach: Mapping[str, float], nouns: Sequence[Noun], seed: int
) -> VerbSplit:
    """The split that follows from the verbs' groups and roles, ``reach`` (:func:`noun_reach`), the nouns with the most
    used first, and the seed. Raises DataError where there are too few verbs.
    """
    roles = {verb.name: verb.roles for verb in verbs}
    uses = Counter(role for verb in verbs for role in verb.roles)
    fit = {
        name
        for name, own in roles.items()
        if reach.get(name, 0.0) >= NOUN_REACH and all(uses[role] > SHARED_ROLES for role in own)
    }
    rank = partial(seeded_hash, seed)
    wanted = len(verbs) // HELD_OUT
    held: list[str] = []
    for name in _spread(groups, lambda verb: (verb not in fit, rank(verb)), rank):
        if len(held) < wanted and name in fit and all(uses[role] > SHARED_ROLES for role in roles[name]):
            held.append(name)
            uses.subtract(roles[name])
    dev_unseen = held[DEV_UNSEEN - 1 :: DEV_UNSEEN]
    rest = [[verb for verb in group if verb not in held] for group in groups]
    rare = set(_spread(rest, rank, rank)[: len(verbs) // RARE])
    if len(held) < wanted or not dev_unseen or not rare:
        raise DataError(
            f"{len(verbs)} verbs, of which {len(fit)} have only roles and nouns that other verbs have too, are too few "
            f"for {wanted} unseen ones; write a split by hand (docs/ov_swig.md)"
        )

    def ordered(chosen: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in roles if name in chosen)

    return VerbSplit(
        "Ov-SWiG",
        seen=ordered(roles.keys() - rare - {*held}),
        rare=ordered(rare),
        unseen=ordered({*held} - {*dev_unseen}),
        dev_unseen=ordered(dev_unseen),
        unseen_nouns=choose_nouns(nouns, seed),
        rare_pictures=RARE_PICTURES,
        seed=seed,
    )


def _spread(groups: Groups, key: Callable[[str], object], rank: Callable[[str], str]) -> list[str]:
    """All verbs so that any first part of the list has of each group its share: systematic sampling."""
    placed = []
    for group in groups:
        ordered = sorted(group, key=key)  # type: ignore[arg-type]
        placed += [((place + 0.5) / len(ordered), rank(verb), verb) for place, verb in enumerate(ordered)]
    return [verb for _, _, verb in sorted(placed)]


def choose_nouns(nouns: Sequence[Noun], seed: int) -> tuple[str, ...]:
    """The keys of the unseen nouns, of nouns with the most used first.

    They are words of their own (no other noun has that gloss), no hypernym of another noun, and have a sibling.
    """
    glosses, hypernyms = Counter(noun.gloss for noun in nouns), Counter(noun.hypernym for noun in nouns)
    first, last = (round(len(nouns) * share) for share in NOUN_RANKS)
    fit = [
        noun.key
        for noun in nouns[first:last]
        if glosses[noun.gloss] == 1 and noun.gloss not in hypernyms and hypernyms[noun.hypernym] > 1
    ]
    return tuple(sorted(fit, key=partial(seeded_hash, seed))[: len(nouns) // UNSEEN_NOUNS])


def frame_groups(verbs: Sequence[Verb], text: npt.NDArray[np.float32]) -> list[tuple[str, ...]]:
    """Groups of verbs with like roles and like ``text`` embeddings (V, D): what FrameNet's frames are to imSitu.

    Ward's clustering over both features side by side; a role counts the more the fewer verbs have it (log V / uses).
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    uses = Counter(role for verb in verbs for role in verb.roles)
    roles = np.array([[np.log(len(verbs) / uses[r]) if r in verb.roles else 0.0 for r in uses] for verb in verbs])
    features = [np.sqrt(share) * _unit(part) for share, part in ((ROLE_WEIGHT, roles), (1 - ROLE_WEIGHT, text))]
    labels = fcluster(linkage(np.hstack(features), "ward"), max(1, len(verbs) // VERBS_A_GROUP), "maxclust")
    return [tuple(v.name for v, own in zip(verbs, labels, strict=True) if own == label) for label in sorted({*labels})]


def _unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1.0, lengths)


def told(verb: Verb) -> str:
    """What of a verb is embedded: its roles count by themselves."""
    return f"{verb.name}: {verb.definition}" if verb.definition else verb.name


def framenet_groups(root: Path) -> list[tuple[str, ...]]:
    """The verbs by the ``framenet`` field of imsitu_space.json. Raises DataError where a verb lacks it."""
    path = space_path(root)
    groups: dict[str, list[str]] = defaultdict(list)
    for verb, entry in read_json_object(path)["verbs"].items():
        frame = entry.get("framenet")
        if not isinstance(frame, str) or not frame:
            raise DataError(f"{path}: verbs.{verb}.framenet is missing; group by roles and texts instead")
        groups[frame].append(verb)
    return [tuple(group) for group in groups.values()]


def noun_reach(images: Iterable[AnnotatedImage]) -> dict[str, float]:
    """Verb -> the share of its pictures' noun answers, of all annotators, that some other verb's pictures have too."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    verbs_of: dict[str, set[str]] = defaultdict(set)
    for image in images:
        verb = image.situation.verb
        for answer in image.situation.nouns.values():
            for noun in answer.annotators:
                if noun != EMPTY_NOUN:
                    answers[verb][noun] += 1
                    verbs_of[noun].add(verb)
    return {
        verb: sum(n for noun, n in given.items() if len(verbs_of[noun]) > 1) / given.total()
        for verb, given in answers.items()
    }


def by_use(nouns: Sequence[Noun], images: Iterable[AnnotatedImage]) -> list[Noun]:
    """The nouns that pictures use, the most used first, ties in the order given."""
    uses = Counter(n for i in images for answer in i.situation.nouns.values() for n in answer.annotators)
    return sorted((noun for noun in nouns if uses[noun.key]), key=lambda noun: -uses[noun.key])


def shipped_table() -> list[dict[str, str]]:
    """SWiG's verbs with their group and their ``noun_reach``, which is empty where it is not known."""
    text = (files("ovgsr") / "assets" / "splits" / "ov_swig_verbs.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def shipped_groups() -> dict[str, list[str]]:
    """The groups of SWiG's verbs that the package's own split was made from."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in shipped_table():
        groups[row["group"]].append(row["verb"])
    return groups


def shipped_split() -> VerbSplit:
    """The package's own split, made anew from the table that it carries and SWiG's noun list, the commonest first."""
    vocabulary = swig_vocabulary()
    reach = {row["verb"]: float(row["noun_reach"]) for row in shipped_table() if row["noun_reach"]}
    return construct(vocabulary.verbs, list(shipped_groups().values()), reach, vocabulary.nouns, seed=0)
