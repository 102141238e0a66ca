"""The pictures of SketchHOI: what a fold may show, boxes that fit what is drawn, several pairs at once."""

import random
from collections import Counter, defaultdict

import pytest
from PIL import Image, ImageChops

from ovgsr.hoi_vocabulary import hico_det_vocabulary
from ovgsr.sketch.figures import PixelBox
from ovgsr.sketch.hoi_acts import ACTS, NO_INTERACTION, combinations, objects, plays, verbs
from ovgsr.sketch.hoi_cast import Group, enact, scene_of
from ovgsr.sketch.hoi_layout import arrange, extent
from ovgsr.sketch.hoi_picture import CANVAS, PICTURE_SIZE, HoiPicture, draw_group, draw_hoi_picture
from ovgsr.sketch.hoi_split import (
    DEV_UNSEEN_VERBS,
    FEWEST,
    MOST,
    RARE,
    RARE_EVERY,
    UNSEEN_VERBS,
    dev_unseen,
    ration,
    shown_in,
    unseen,
)

EVERYTHING = frozenset(combinations())


@pytest.fixture(scope="module")
def pictures() -> list[HoiPicture]:
    return [draw_hoi_picture(3, "test", index) for index in range(80)]


def some_group(number: int) -> Group:
    """A group of play number `number`, at a place of its own."""
    play, rng = plays()[number], random.Random(number)
    groups = (enact(play, rng.choice(scene_of(play.act).places), rng, EVERYTHING) for _ in range(20))
    return next(group for group in groups if group)


def test_words_are_those_of_hico_det() -> None:
    hico = hico_det_vocabulary()
    assert set(verbs()) <= {verb.name for verb in hico.verbs}
    assert set(objects()) <= {noun.key for noun in hico.nouns}
    assert len(verbs()) >= 30 and len(objects()) >= 40


def test_every_play_can_be_drawn_and_shows_its_combinations() -> None:
    for number, play in enumerate(plays()):
        shown = {interaction.combination for interaction in some_group(number).interactions}
        assert set(play.combinations) <= shown <= EVERYTHING, play


def test_every_combination_belongs_to_one_part() -> None:
    parts = [set(unseen()), set(dev_unseen()), set(RARE)]
    assert sum(map(len, parts)) == len(set.union(*parts)) and set.union(*parts) < EVERYTHING
    trained = shown_in("train") | set(RARE)
    assert trained.isdisjoint(unseen()) and trained.isdisjoint(dev_unseen())
    assert trained | set(unseen()) == shown_in("test") and trained | set(dev_unseen()) == shown_in("dev")


def test_unseen_words_are_seen_in_other_combinations() -> None:
    seen_verbs = {verb for verb, _ in shown_in("train")}
    assert {verb for verb, _ in EVERYTHING} - seen_verbs == {*UNSEEN_VERBS, *DEV_UNSEEN_VERBS}
    assert {thing for _, thing in shown_in("train")} == set(objects())


def test_whatever_may_be_shown_can_come_up() -> None:
    """A combination that always comes with a hidden one would never be drawn."""
    for fold in ("train", "dev", "test"):
        shown: set[tuple[str, str]] = set()
        allowed = shown_in(fold)
        for play in plays():
            if set(play.combinations) <= allowed:
                shown |= set(play.combinations)
                shown |= {(verb, play.object) for _, verb, role in play.act.also if role == play.act.role}
        fixed = {pair for pair in allowed if pair[0] not in {NO_INTERACTION, "cut_with", "pour", "wear"}}
        by_the_way = {pair for pair in fixed if pair[0] == "hold"}  # a knife, a bottle that is poured, food for animals
        assert fixed - by_the_way <= shown, fixed - by_the_way - shown


def test_rare_combinations_are_rationed() -> None:
    rationed = Counter(ration(index) for index in range(RARE_EVERY * MOST * len(RARE)))
    del rationed[None]
    assert set(rationed) == set(RARE)
    assert set(rationed.values()) == set(range(FEWEST, MOST + 1))
    assert ration(1) is None and ration(0) == RARE[0]


def test_common_combinations_do_not_depend_on_rare_ones() -> None:
    common = {pair for play in plays() if not set(play.combinations) & set(RARE) for pair in play.combinations}
    for play in plays():
        if set(play.combinations) & set(RARE):
            assert set(play.combinations) <= common | set(RARE), play


def test_training_pictures_keep_to_their_combinations() -> None:
    for index in range(60):
        rationed = ration(index)
        shown = {interaction.combination for interaction in draw_hoi_picture(5, "train", index).interactions}
        assert shown <= shown_in("train") | {rationed}
        assert rationed is None or rationed in shown


def drawn_alone(group: Group, role: str) -> tuple[PixelBox, PixelBox]:
    """Box that is reported for a role, and box of the pixels that change when that role alone is drawn."""
    (camera,) = arrange([extent(group.elements)], random.Random(role), CANVAS, CANVAS // 2)
    blank = Image.new("RGB", (CANVAS, CANVAS), (1, 254, 3))
    image = blank.copy()
    own = tuple(element for element in group.elements if getattr(element, "role", "") == role)
    box = draw_group(image, Group(own), camera)[role]
    changed = ImageChops.difference(blank, image).getbbox()
    assert changed is not None
    return box, changed


@pytest.mark.parametrize("act", range(len(ACTS)), ids=lambda n: f"{ACTS[n].scene}-{ACTS[n].objects[0]}")
def test_boxes_fit_what_is_drawn(act: int) -> None:
    number = next(n for n, play in enumerate(plays()) if play.act is ACTS[act])
    group = some_group(number)
    for role in {row.human for row in group.interactions} | {row.role for row in group.interactions}:
        box, changed = drawn_alone(group, role)
        # Canvas pixels, two to a pixel of the picture.
        assert all(abs(a - b) <= 2 for a, b in zip(box, changed, strict=True)), (role, box, changed)
        assert min(changed) > 0 and max(changed) < CANVAS


def test_boxes_lie_inside_the_picture(pictures: list[HoiPicture]) -> None:
    for picture in pictures:
        assert picture.image.size == (PICTURE_SIZE, PICTURE_SIZE)
        for row in picture.interactions:
            for x1, y1, x2, y2 in (picture.boxes_xyxy[row.human], picture.boxes_xyxy[row.role]):
                assert min(x1, y1, x2 - x1 - 3, y2 - y1 - 3) >= 0 and max(x2, y2) <= PICTURE_SIZE


def test_pictures_show_several_pairs(pictures: list[HoiPicture]) -> None:
    several = two_verbs = two_objects = two_humans = idle = 0
    for picture in pictures:
        acting = [row for row in picture.interactions if row.verb != NO_INTERACTION]
        verbs_of, objects_of, humans_of = defaultdict(set), defaultdict(set), defaultdict(set)
        for row in acting:
            verbs_of[row.human, row.role].add(row.verb)
            objects_of[row.human].add(row.role)
            humans_of[row.role].add(row.human)
        several += len(verbs_of) > 1
        two_verbs += any(len(found) > 1 for found in verbs_of.values())
        two_objects += any(len(found) > 1 for found in objects_of.values())
        two_humans += any(len(found) > 1 for found in humans_of.values())
        idle += len(picture.interactions) > len(acting)
    shares = [count / len(pictures) for count in (several, two_verbs, two_objects, two_humans, idle)]
    assert shares[0] > 0.5 and min(shares[1:]) > 0.1, shares


def test_nobody_does_nothing_with_what_is_used(pictures: list[HoiPicture]) -> None:
    for picture in pictures:
        acting = {role for row in picture.interactions if row.verb != NO_INTERACTION for role in (row.human, row.role)}
        bored = {role for row in picture.interactions if row.verb == NO_INTERACTION for role in (row.human, row.role)}
        assert not acting & bored
