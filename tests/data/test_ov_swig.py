"""The construction of Ov-SWiG: the shipped split follows from it, and has the properties it promises."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovgsr.data.errors import DataError
from ovgsr.data.ov_swig import (
    HELD_OUT,
    _spread,
    choose_nouns,
    construct,
    frame_groups,
    framenet_groups,
    make_split,
    noun_reach,
    shipped_groups,
    shipped_split,
    shipped_table,
)
from ovgsr.data.split_summary import summarise
from ovgsr.data.swig import FOLDS, read_annotations, read_split, read_split_file
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.verb_split import VerbSplit, seeded_hash
from ovgsr.vocabulary import Noun, Verb, swig_vocabulary
from swig_records import BROKEN

VOCABULARY = swig_vocabulary()
SPLIT = read_split_file(Path("ov_swig"))
HELD = (*SPLIT.unseen, *SPLIT.dev_unseen)


def no_embedding(sentences: object) -> np.ndarray:
    raise AssertionError("SWiG's verbs have their groups")


def test_the_shipped_split_follows_from_the_shipped_table() -> None:
    assert shipped_split() == SPLIT
    assert read_split(Path("no/data/set"), "ov_swig") == SPLIT


def test_its_numbers() -> None:
    parts = (SPLIT.seen, SPLIT.rare, SPLIT.unseen, SPLIT.dev_unseen)
    assert [len(part) for part in parts] == [294, 84, 84, 42]
    assert sorted(verb for part in parts for verb in part) == sorted(VOCABULARY.verb_names)
    assert (len(SPLIT.unseen_nouns), SPLIT.rare_pictures, SPLIT.seed, SPLIT.dropped) == (99, 10, 0, {})


def test_each_group_keeps_training_verbs_and_nearly_each_has_one_that_is_held_out() -> None:
    groups = list(shipped_groups().values())
    assert sorted(verb for group in groups for verb in group) == sorted(VOCABULARY.verb_names)
    held = [sum(verb in HELD for verb in group) for group in groups]
    assert all(n <= round(0.4 * len(group)) for n, group in zip(held, groups, strict=True))
    assert sum(n > 0 for n in held) == 60
    assert len(groups) == 63


def test_the_roles_and_nouns_of_held_out_verbs_are_elsewhere_too() -> None:
    uses = Counter(role for verb in SPLIT.training for role in VOCABULARY.verb(verb).roles)
    assert all(uses[role] >= 2 for verb in HELD for role in VOCABULARY.verb(verb).roles)
    reach = {row["verb"]: row["noun_reach"] for row in shipped_table()}
    assert all(float(reach[verb]) >= 0.8 for verb in HELD)


def test_unseen_nouns_are_words_of_their_own_neither_common_nor_unheard_of() -> None:
    ranks = {noun.key: rank for rank, noun in enumerate(VOCABULARY.nouns)}
    for key in SPLIT.unseen_nouns:
        noun = VOCABULARY.noun(key)
        assert 199 <= ranks[key] < 2978
        assert [other.key for other in VOCABULARY.nouns if other.gloss == noun.gloss] == [key]
        assert not any(other.hypernym == noun.gloss for other in VOCABULARY.nouns)
        assert any(other.hypernym == noun.hypernym for other in VOCABULARY.nouns if other.key != key)


def test_the_choice_knows_no_order_and_heeds_the_seed() -> None:
    groups = list(shipped_groups().values())
    reach = {row["verb"]: float(row["noun_reach"] or 0) for row in shipped_table()}

    def made(seed: int, step: int = 1) -> VerbSplit:
        turned = [group[::step] for group in groups[::step]]
        return construct(VOCABULARY.verbs[::step], turned, reach, VOCABULARY.nouns, seed)

    assert made(0).fingerprint == made(0, step=-1).fingerprint == SPLIT.fingerprint
    other = made(1)
    assert len(other.unseen) == 84
    assert len(set(other.unseen) & set(SPLIT.unseen)) < 42
    assert set(other.unseen_nouns) != set(SPLIT.unseen_nouns)


def test_any_first_part_of_the_order_has_its_share_of_each_group() -> None:
    groups = [[f"{letter}{n}" for n in range(size)] for letter, size in zip("abcd", (1, 4, 9, 30), strict=True)]
    order = _spread(groups, lambda verb: verb, lambda verb: seeded_hash(0, verb))
    assert sorted(order) == sorted(verb for group in groups for verb in group)
    for length in range(len(order)):
        for group in groups:
            share = length * len(group) / len(order)
            assert abs(len(set(order[:length]) & set(group)) - share) <= 1.5


def picture(verb: str, *nouns: str) -> AnnotatedImage:
    answers = {"agent": GroundedNoun(nouns[0], annotators=nouns)}
    return AnnotatedImage(f"{verb}{''.join(nouns)}.jpg", 8, 8, (Situation(verb, answers),))


def test_noun_reach_by_hand() -> None:
    images = [picture("a", "x", "x", "y"), picture("a", "z", "", "z"), picture("b", "y", "z", "w")]
    assert noun_reach(images) == {"a": 3 / 5, "b": 2 / 3}  # of a: y, z, z; of b: y, z; nothing is no noun


def test_groups_go_by_text_and_by_roles() -> None:
    names = [f"v{n}" for n in range(16)]
    text = np.eye(2, dtype=np.float32)[[n % 2 for n in range(16)]]
    by_text = frame_groups([Verb(name, ("agent",)) for name in names], text)
    assert sorted(map(set, by_text), key=min) == [set(names[::2]), set(names[1::2])]
    same = np.ones((16, 1), dtype=np.float32)
    by_roles = frame_groups([Verb(n, ("agent", "tool" if i < 8 else "place")) for i, n in enumerate(names)], same)
    assert sorted(map(set, by_roles), key=min) == sorted([set(names[:8]), set(names[8:])], key=min)


def test_too_few_verbs_and_too_few_shared_roles() -> None:
    few = [Verb(f"v{n}", ("agent",)) for n in range(8)]
    with pytest.raises(DataError, match="8 verbs, of which 8 have only roles"):
        construct(few, [[verb.name for verb in few]], {verb.name: 1.0 for verb in few}, (), 0)
    apart = [Verb(f"v{n}", (f"role{n}",)) for n in range(48)]
    with pytest.raises(DataError, match=f"of which 0 have .* too few for {48 // HELD_OUT} unseen ones"):
        construct(apart, [[verb.name for verb in apart]], {verb.name: 1.0 for verb in apart}, (), 0)


def test_a_noun_that_shares_its_word_or_names_a_kind_is_not_chosen() -> None:
    nouns = [Noun(f"n{n}", (f"thing {n}",), "kind") for n in range(200)]
    nouns[10] = Noun("n10", ("thing 11",), "kind")  # 10 and 11 share their word
    nouns[12] = Noun("n12", ("kind",), "entity")
    nouns[13] = Noun("n13", ("loner",), "nothing else")
    chosen = {key for seed in range(300) for key in choose_nouns(nouns, seed)}
    assert chosen == {f"n{n}" for n in range(4, 60)} - {"n10", "n11", "n12", "n13"}


def answers(images: Iterable[AnnotatedImage]) -> list[str]:
    """What all annotators answered in every role."""
    return [noun for image in images for answer in image.situation.nouns.values() for noun in answer.annotators]


def test_swigs_verbs_get_the_shipped_split_and_refined_drops_pictures(swig_records: Path) -> None:
    split, pictures = make_split(swig_records, embed=no_embedding)
    assert split == SPLIT
    refined, _ = make_split(swig_records, embed=no_embedding, refined=True)
    broken = [image.file_name for image in pictures["test"] if image.situation.verb == BROKEN]
    assert (refined.name, refined.dropped["box_empty"]) == ("Ov-SWiG, refined", tuple(broken))
    assert not refined.dropped["annotators_disagree"]  # two of three agree everywhere
    assert replace(refined, name=split.name, dropped={}) == split
    tested = {image.situation.verb for image in split.pictures(pictures["test"], "test")}
    assert tested - {image.situation.verb for image in refined.pictures(pictures["test"], "test")} == {BROKEN}


def test_another_seed_and_framenet_make_other_splits(swig_records: Path) -> None:
    seeded, pictures = make_split(swig_records, embed=no_embedding, seed=3)
    framed, _ = make_split(swig_records, embed=no_embedding, framenet=True)
    assert (seeded.name, framed.name) == ("Ov-mine, seed 3", "Ov-mine, seed 0, FrameNet groups")
    assert len({SPLIT.fingerprint, seeded.fingerprint, framed.fingerprint}) == 3
    groups = framenet_groups(swig_records)
    assert [len(groups), len(groups[0])] == [70, 8]
    held = {*framed.unseen, *framed.dev_unseen}
    assert sum(bool(held & set(group)) for group in groups) == 70
    # The nouns are ranked by their use in this data set, which has 700.
    uses = Counter(answers(pictures["train"]))
    ranks = [key for key, _ in uses.most_common()]
    assert all(uses[ranks[209]] <= uses[key] <= uses[ranks[14]] for key in seeded.unseen_nouns)


def test_the_summary_counts_every_picture(swig_records: Path) -> None:
    pictures = {fold: read_annotations(swig_records, fold) for fold in FOLDS}
    refined = replace(SPLIT, dropped={"by hand": (pictures["train"][0].file_name, pictures["dev"][0].file_name)})
    told = summarise(refined, pictures)
    first = pictures["train"][0].situation.verb
    assert told.pictures["dev_unseen"] == {"train": 0, "dev": 42, "test": 0}
    assert told.pictures["unseen"] == {"train": 0, "dev": 0, "test": 84}
    assert told.pictures["rare"]["train"] <= 840
    trained = sum(told.pictures[part]["train"] for part in told.pictures)
    assert trained + sum(told.left_out.values()) == len(pictures["train"]) == 12 * 504
    assert told.left_out["of unseen verbs"] == 12 * 126
    assert told.left_out["dropped"] == (first in SPLIT.training)
    shown = set(answers(refined.pictures(pictures["train"], "train")))
    assert told.left_out["show unseen nouns"] > 0
    assert shown.isdisjoint(SPLIT.unseen_nouns)
    assert told.dropped == {"by hand": {"train": 1, "dev": 1, "test": 0}}
    asked = answers(image for image in pictures["test"] if image.situation.verb in SPLIT.unseen)
    assert told.answers_met == sum(n in shown for n in asked) / len(asked)


def test_a_data_set_without_training_pictures_of_unseen_verbs_cannot_be_split_again(sketch_root: Path) -> None:
    with pytest.raises(DataError, match=r"20 verbs .* have no training picture; make a split from a data set whose"):
        make_split(sketch_root, embed=no_embedding)


def test_framenet_groups_need_the_field(tmp_path: Path) -> None:
    path = tmp_path / "SWiG_jsons" / "imsitu_space.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"verbs": {"barking": {"framenet": "Make_noise"}, "throwing": {}}}), encoding="utf-8")
    with pytest.raises(DataError, match=r"imsitu_space\.json: verbs\.throwing\.framenet is missing"):
        framenet_groups(tmp_path)
