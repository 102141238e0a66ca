from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import HicoDetFold, read_hico_det
from ovgsr.data.hoi_pairs import box_of, merge_rows, object_of
from ovgsr.data.hoi_rows import BrokenRow, interaction_situation
from ovgsr.data.hoi_splits import Drop, read_hoi_split, require_known_interactions, training_fold
from ovgsr.hoi_vocabulary import (
    HICO_DET_SPLITS,
    HoiSplit,
    hico_det_interactions,
    hico_det_rare,
    hico_det_split,
    hico_det_vocabulary,
)
from ovgsr.situation import AnnotatedImage, BoxXyxy, Situation

from .hico_files import write

DROPS: tuple[Drop, ...] = ("pairs", "rows")


@pytest.fixture(scope="module")
def crowd() -> HicoDetFold:
    """400 pictures of crowded, overlapping rows over HICO-DET's own interactions; few objects a picture, as there."""
    draw = random.Random(7)
    interactions = hico_det_interactions()
    by_object: dict[str, list[tuple[str, str]]] = {}
    for interaction in interactions:
        by_object.setdefault(interaction[1], []).append(interaction)

    def box() -> BoxXyxy:
        x, y = draw.randint(0, 8), draw.randint(0, 8)
        return (x, y, x + draw.randint(16, 24), y + draw.randint(16, 24))

    images = []
    for number in range(400):
        listed = [pair for name in draw.sample(sorted(by_object), 2) for pair in by_object[name]]
        rows = [interaction_situation(*draw.choice(listed), box(), box()) for _ in range(draw.randint(0, 8))]
        images.append(AnnotatedImage(f"{number}.jpg", 40, 40, tuple(rows)))
    return HicoDetFold(tuple(images), hico_det_vocabulary(), interactions, hico_det_rare())


def _same_pair(first: Situation, second: Situation) -> bool:
    """Whether two rows overlap as one pair does, written down once more, without the package's own code."""
    if object_of(first) != object_of(second):
        return False
    for role in ("human", "object"):
        a, b = box_of(first, role), box_of(second, role)
        overlap = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
        if overlap / union < 0.5:
            return False
    return True


def _is_unseen(row: Situation, split: HoiSplit) -> bool:
    return (row.verb, object_of(row)) in split.held_out


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("name", HICO_DET_SPLITS)
def test_training_never_meets_an_unseen_row_pair_name_or_text(crowd: HicoDetFold, name: str, drop: Drop) -> None:
    split = hico_det_split(name)
    kept = training_fold(crowd, split, drop)
    before = {image.file_name: image for image in crowd.images}
    assert any(_is_unseen(row, split) for image in crowd.images for row in image.situations)
    for image in kept.images:
        rows, all_rows = image.situations, before[image.file_name].situations
        assert rows, "a picture without a row is no training picture"
        assert not any(_is_unseen(row, split) for row in rows)
        if drop == "pairs":
            unseen = [row for row in all_rows if _is_unseen(row, split)]
            assert not any(_same_pair(row, other) for row in rows for other in unseen)
            for pair in merge_rows(before[image.file_name]):
                together = [all_rows[position] for position in pair.rows]
                if any(_is_unseen(row, split) for row in together):
                    assert not any(row is other for row in rows for other in together)
        else:
            assert rows == tuple(row for row in all_rows if not _is_unseen(row, split))
    # names: every word that stays belongs to a seen interaction, and no word of a kept row is missing
    assert not set(kept.interactions) & split.held_out
    assert len(kept.interactions) == 600 - len(split.held_out)
    assert set(kept.vocabulary.verb_names) == {verb for verb, _ in kept.interactions}
    assert {noun.key for noun in kept.vocabulary.nouns} == {thing for _, thing in kept.interactions}
    assert all(row.verb in kept.vocabulary for image in kept.images for row in image.situations)
    assert kept.rare == crowd.rare - split.held_out
    # texts: none that only unseen interactions have
    whole = crowd.vocabulary
    texts = {verb.text for verb in kept.vocabulary.verbs} | {noun.text for noun in kept.vocabulary.nouns}
    seen = {word for pair in kept.interactions for word in pair}
    lost = {v.text for v in whole.verbs if v.name not in seen} | {n.text for n in whole.nouns if n.key not in seen}
    assert not texts & lost
    assert len(lost) == {"rf_uc": 0, "nf_uc": 0, "uo": 17, "uv": 20}.get(name, len(lost))


def test_no_more_is_dropped_than_the_policy_asks(crowd: HicoDetFold) -> None:
    """A kept picture loses only rows that reach an unseen one over rows of one object that overlap as a pair."""
    split = hico_det_split("uv")
    rows_left = {image.file_name: image.situations for image in training_fold(crowd, split).images}
    dropped_seen = 0
    for image in crowd.images:
        left = rows_left.get(image.file_name, ())
        reach = [row for row in image.situations if _is_unseen(row, split)]
        for row in reach:  # grows while it is walked
            reach += [r for r in image.situations if r not in reach and _same_pair(r, row)]
        for row in image.situations:
            if row not in left and not _is_unseen(row, split):
                dropped_seen += 1
                assert row in reach
    assert dropped_seen > 50
    counts = [sum(len(i.situations) for i in training_fold(crowd, split, d).images) for d in DROPS]
    assert counts[1] - counts[0] == dropped_seen


def test_a_dev_unseen_interaction_is_kept_out_of_training_too(crowd: HicoDetFold) -> None:
    pairs = [(s.verb, object_of(s)) for image in crowd.images for s in image.situations]
    split = HoiSplit("mine", frozenset({pairs[0]}), frozenset(pairs[1:9]) - {pairs[0]})
    kept = training_fold(crowd, split)
    assert not {(s.verb, object_of(s)) for image in kept.images for s in image.situations} & set(pairs[:9])


def test_without_a_split_only_pictures_without_a_row_go(tmp_path: Path) -> None:
    fold = read_hico_det(write(tmp_path), "train")
    kept = training_fold(fold, None)
    assert kept.images == (fold.images[0], fold.images[2])
    assert (kept.vocabulary, kept.interactions) == (fold.vocabulary, fold.interactions)


def test_what_is_broken_stays_known(crowd: HicoDetFold) -> None:
    row = BrokenRow("a.json", "a.jpg", 1, "hoi", "must be a number")
    fold = HicoDetFold(crowd.images, crowd.vocabulary, crowd.interactions, crowd.rare, (row,))
    assert training_fold(fold, hico_det_split("uo")).broken == (row,)


def test_a_split_is_found_by_name_by_file_or_beside_the_data(tmp_path: Path) -> None:
    root = write(tmp_path / "tiny")
    assert read_hoi_split(root) is None
    assert read_hoi_split(root, "uv") == hico_det_split("uv")
    mine = HoiSplit("mine", frozenset({("ride", "bicycle")}))
    (root / "hoi_split.json").write_text(json.dumps(mine.to_json()))
    assert read_hoi_split(root) == read_hoi_split(root / "instances_test2015.json") == mine
    assert read_hoi_split(tmp_path, root / "hoi_split.json") == mine
    assert read_hoi_split(root, "uo") == hico_det_split("uo")


def test_splits_with_a_fault_are_one_sentence(tmp_path: Path) -> None:
    root = write(tmp_path / "tiny")
    with pytest.raises(DataError, match="rf-uc: there is no such split file; HICO-DET's own splits are rf_uc"):
        read_hoi_split(root, "rf-uc")
    (root / "hoi_split.json").write_text(json.dumps({"format": "ovgsr-hoi-split-1", "unseen": 3}))
    with pytest.raises(DataError, match=r"hoi_split\.json: the field 'unseen' must be a list"):
        read_hoi_split(root)
    fold = read_hico_det(root, "train")
    with pytest.raises(DataError, match=r"the split 'uo' names \('adjust', 'skis'\) \(and 99 more\)"):
        require_known_interactions(hico_det_split("uo"), fold.interactions)
    with pytest.raises(DataError, match="does not list"):
        training_fold(fold, hico_det_split("uo"))
