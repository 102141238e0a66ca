"""Views: what is planned, that a plan replays to the same pixels, and that only the place of a cut changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ovgsr.distillation.views import (
    Cut,
    ViewError,
    ViewKind,
    ViewPlan,
    agent_role,
    compose,
    item_roles,
    plan_views,
    roles_in_view,
    usable_boxes,
)
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, Situation

RED, BLUE = (250, 10, 10), (10, 10, 250)
SEEDS = range(12)


def annotated(
    boxes: Mapping[str, BoxXyxy | None],
    *,
    size: tuple[int, int] = (100, 80),
    name: str = "a.jpg",
    noun: str = "thing",
) -> AnnotatedImage:
    nouns = {role: GroundedNoun(noun, box_xyxy=box) for role, box in boxes.items()}
    return AnnotatedImage(name, *size, (Situation("carrying", nouns),))


def one_colour(*pictures: tuple[tuple[int, int], tuple[int, int, int]]) -> Callable[[int], Image.Image]:
    return lambda index: Image.new("RGB", *pictures[index])


def changed(view: Image.Image, base: Image.Image) -> NDArray[np.bool_]:
    """(H, W): where a view is not its base picture."""
    return np.asarray((np.asarray(view) != np.asarray(base.convert("RGB"))).any(axis=-1))


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is True."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize(
    ("box", "usable"),
    [
        ((10, 10, 30, 40), (10, 10, 30, 40)),
        ((-5, -9, 30, 40), (0, 0, 30, 40)),  # beyond the border: cut to the picture
        ((90, 70, 140, 99), (90, 70, 100, 80)),  # beyond the other border
        ((10, 10, 13.5, 40), None),  # narrower than 4 pixels
        ((40, 10, 20, 40), None),  # left and right confused
        ((120, 10, 160, 40), None),  # outside
        (None, None),  # no box
    ],
)
def test_a_usable_box_lies_inside_and_shows_something(box: BoxXyxy | None, usable: BoxXyxy | None) -> None:
    assert usable_boxes(annotated({"tool": box})) == ({} if usable is None else {"tool": usable})


def test_a_small_box_is_small_relative_to_the_picture() -> None:
    """9 pixels are enough of 400, not of 500: 2 % are asked for."""
    box = (10, 10, 19, 19)
    assert usable_boxes(annotated({"tool": box}, size=(600, 400))) == {"tool": box}
    assert usable_boxes(annotated({"tool": box}, size=(600, 500))) == {}


@pytest.mark.parametrize(
    ("boxes", "agent", "items"),
    [
        ({"tool": (1, 1, 20, 20), "agent": (30, 1, 60, 70)}, "agent", ("tool",)),
        ({"tool": (1, 1, 20, 20), "item": (30, 1, 60, 70)}, "tool", ("item",)),  # no agent: the first
        ({"agent": None, "item": (30, 1, 60, 70)}, "item", ()),  # an agent without a box is none
        ({"agent": (30, 1, 60, 70), "place": (5, 5, 50, 50)}, "agent", ()),  # a place is no thing
        ({"agent": (30, 1, 60, 70), "item": (1, 1, 98, 78)}, "agent", ()),  # nor is what fills the picture
        ({"agent": (30, 1, 60, 70), "item": (1, 30, 98, 60)}, "agent", ("item",)),  # wide, but not high
        ({"agent": None}, None, ()),
    ],
)
def test_who_acts_and_what_can_be_cut_out(
    boxes: Mapping[str, BoxXyxy | None], agent: str | None, items: tuple[str, ...]
) -> None:
    image = annotated(boxes)
    assert (agent_role(image), item_roles(image)) == (agent, items)


def test_a_picture_without_a_situation_has_nothing() -> None:
    image = AnnotatedImage("a.jpg", 10, 10, ())
    assert (usable_boxes(image), agent_role(image), item_roles(image)) == ({}, None, ())


MIXED = [
    annotated({"agent": (30, 10, 60, 70), "tool": (2, 2, 20, 20), "item": (70, 40, 95, 70)}, name="0.jpg"),
    annotated({"agent": (30, 10, 60, 70)}, name="1.jpg"),  # nothing to replace, nothing to give but the agent
    annotated({"agent": None, "tool": None}, name="2.jpg"),  # no box: never used
    annotated({"agent": (5, 10, 40, 70), "tool": (50, 30, 80, 60)}, name="3.jpg"),
]


def test_plans_follow_from_seed_and_number() -> None:
    plans = list(plan_views(MIXED, 50, seed=4))
    assert plans == list(plan_views(MIXED, 50, seed=4))
    assert plans[20:] == list(plan_views(MIXED, 30, seed=4, start=20))
    assert plans != list(plan_views(MIXED, 50, seed=5))
    assert len(set(plans)) > 40


def test_what_plans_take() -> None:
    plans = list(plan_views(MIXED, 2000, seed=0))
    for plan in plans:
        assert plan.base != 2
        assert len(plan.cuts) == (2 if plan.kind == "two" else 1)
        for cut in plan.cuts:
            assert cut.picture != plan.base
            assert cut.picture != 2
            assert cut.role == "agent" if plan.kind == "agent" else cut.role in item_roles(MIXED[cut.picture])
        assert plan.over is None or plan.over in item_roles(MIXED[plan.base])
        assert (plan.over is not None) or plan.kind != "replace"
    shares = Counter(plan.kind for plan in plans)
    assert shares["agent"] / 2000 == pytest.approx(0.15, abs=0.04)
    assert shares["two"] / 2000 == pytest.approx(0.15, abs=0.04)
    # A third of the bases, picture 1, has nothing to replace.
    assert shares["replace"] / 2000 == pytest.approx(0.45 * 2 / 3, abs=0.04)
    assert shares["near"] / 2000 == pytest.approx(0.25 + 0.45 / 3, abs=0.04)
    related = [plan for plan in plans if plan.kind == "two" and plan.cuts[0].picture == plan.cuts[1].picture]
    assert any(plan.cuts[0].role != plan.cuts[1].role for plan in related)


def test_agents_alone_make_views_of_agents() -> None:
    images = [annotated({"agent": (30, 10, 60, 70)}, name=f"{n}.jpg") for n in range(2)]
    assert {(p.kind, p.base, p.cuts) for p in plan_views(images, 40, seed=0)} == {
        ("agent", 0, (Cut(1, "agent"),)),
        ("agent", 1, (Cut(0, "agent"),)),
    }


def test_one_picture_is_cut_from_itself() -> None:
    assert {c.picture for plan in plan_views([MIXED[0]], 20, seed=0) for c in plan.cuts} == {0}


@pytest.mark.parametrize(
    ("images", "numbers", "sentence"),
    [
        ([MIXED[2]], {"count": 1, "seed": 0}, "none of the 1 pictures has a box"),
        ([], {"count": 1, "seed": 0}, "none of the 0 pictures has a box"),
        (MIXED, {"count": 1, "seed": -1}, "the field 'seed' .* must not be negative, not -1"),
        (MIXED, {"count": -1, "seed": 0}, "the field 'count'"),
        (MIXED, {"count": 1, "seed": 0, "start": -3}, "the field 'start'"),
    ],
)
def test_what_cannot_be_planned_is_said_at_once(
    images: list[AnnotatedImage], numbers: dict[str, int], sentence: str
) -> None:
    with pytest.raises(ViewError, match=sentence):
        plan_views(images, **numbers)


def test_a_plan_survives_json_and_replays_to_the_same_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 80, 100, 3), dtype=np.uint8)
    for plan in plan_views(MIXED, 40, seed=1):
        record = json.loads(json.dumps(asdict(plan)))
        record["cuts"] = tuple(Cut(*cut) for cut in record["cuts"])
        assert ViewPlan(**record) == plan
        first, second = (compose(ViewPlan(**record), MIXED, lambda i: Image.fromarray(noise[i])) for _ in range(2))
        assert first.tobytes() == second.tobytes()
        assert (first.mode, first.size) == ("RGB", (100, 80))
        assert first.tobytes() != noise[plan.base].tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replacement_covers_its_target_and_little_else(seed: int) -> None:
    """A square of 20 goes over one of 30: times 1.5 to 1.725, and the ellipse reaches 1.24 times as far."""
    base = annotated({"agent": (2, 2, 12, 12), "item": (50, 30, 80, 60)})
    source = annotated({"agent": (1, 1, 9, 9), "tool": (40, 40, 60, 60)})
    colours = one_colour(((100, 80), BLUE), ((100, 80), RED))
    view = compose(ViewPlan(0, "replace", (Cut(1, "tool"),), seed, "item"), [base, source], colours)
    mask = changed(view, colours(0))
    half = 1.725 * 20 * 1.24 / 2
    left, top, right, bottom = extent(mask)
    assert left >= 65 - half - 1
    assert right <= 65 + half + 1
    assert top >= 45 - half - 1
    assert bottom <= 45 + half + 1
    # All of the target but its corners is pure red.
    assert (np.asarray(view)[34:56, 54:76] == RED).all()
    assert not mask[:, :40].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_an_agent_goes_over_the_agent(seed: int) -> None:
    base, source = annotated({"agent": (20, 10, 40, 60)}), annotated({"agent": (50, 20, 70, 70)})
    colours = one_colour(((100, 80), BLUE), ((100, 80), RED))
    view = compose(ViewPlan(0, "agent", (Cut(1, "agent"),), seed), [base, source], colours)
    assert tuple(np.asarray(view)[35, 30]) == RED
    left, top, right, bottom = extent(changed(view, colours(0)))
    # At most 1.15 * 1.24 = 1.43 times the agent's 20 x 50, around (30, 35).
    assert left >= 14
    assert right <= 46
    assert top >= 0
    assert bottom <= 72


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_are_soft(seed: int) -> None:
    base, source = annotated({"agent": (20, 10, 60, 60)}), annotated({"agent": (20, 10, 60, 60)})
    colours = one_colour(((100, 80), BLUE), ((100, 80), RED))
    view = compose(ViewPlan(0, "agent", (Cut(1, "agent"),), seed), [base, source], colours)
    red = np.asarray(view)[..., 0]
    assert len(np.unique(red[35])) > 4  # between blue's 10 and red's 250
    assert red.max() == 250


def test_half_of_the_cuts_are_mirrored_and_stay_in_place() -> None:
    """The cut's box, red on its left and blue on its right, is cut off by the border on the left."""
    base, source = annotated({"agent": (40, 10, 60, 60)}), annotated({"agent": (0, 10, 20, 60)})
    picture = Image.new("RGB", (100, 80), BLUE)
    picture.paste(RED, (0, 0, 10, 80))
    mirrored = 0
    for seed in range(40):
        plan = ViewPlan(0, "agent", (Cut(1, "agent"),), seed)
        view = np.asarray(compose(plan, [base, source], lambda i: picture if i else Image.new("RGB", (100, 80))))
        left, right = view[35, 46], view[35, 54]
        assert {tuple(left), tuple(right)} == {RED, BLUE}
        mirrored += tuple(right) == RED
    assert 10 <= mirrored <= 30


@pytest.mark.parametrize(
    "agent",
    [
        (40, 20, 60, 70),
        (0, 0, 20, 80),  # at the border
        (85, 0, 100, 30),  # in a corner
        (0, 0, 100, 80),  # the whole picture
        (48, 38, 53, 43),  # tiny
    ],
)
@pytest.mark.parametrize("kind", ["near", "two"])
def test_what_is_put_near_an_agent_is_seen(agent: BoxXyxy, kind: ViewKind) -> None:
    base = annotated({"agent": agent})
    source = annotated({"agent": (10, 10, 30, 60), "tool": (40, 30, 60, 50)})
    colours = one_colour(((100, 80), BLUE), ((100, 80), RED))
    cuts = (Cut(1, "tool"),) * (2 if kind == "two" else 1)
    places = set()
    for seed in SEEDS:
        view = compose(ViewPlan(0, kind, cuts, seed), [base, source], colours)
        box = extent(changed(view, colours(0)))
        places.add(box)
        assert np.asarray(view)[..., 0].max() > 200  # red where the cut's middle is, soft at its edges
        if kind == "near":
            assert box[2] - box[0] <= 0.7 * 100 * 1.24 + 2  # at most 0.7 of the picture
            assert box[3] - box[1] <= 0.7 * 80 * 1.24 + 2
    assert len(places) > len(SEEDS) // 2


def test_a_thing_keeps_its_size_relative_to_its_agent() -> None:
    """Areas of 20 x 50 and 10 x 25: a ball of 20 becomes 10, give or take 15 %, and 1.24 times that with its edge."""
    base = annotated({"agent": (45, 30, 55, 55)})
    source = annotated({"agent": (10, 10, 30, 60), "tool": (50, 30, 70, 50)})
    colours = one_colour(((100, 80), BLUE), ((100, 80), RED))
    widths = []
    for seed in range(30):
        view = compose(ViewPlan(0, "near", (Cut(1, "tool"),), seed), [base, source], colours)
        left, _, right, _ = extent(changed(view, colours(0)))
        widths.append(right - left)
    assert 10 * 1.24 * 0.85 - 2 <= np.mean(widths) <= 10 * 1.24 * 1.15 + 2
    assert max(widths) <= 10 * 1.24 * 1.15 + 3


@pytest.mark.parametrize("kind", ["replace", "near", "agent", "two"])
@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 30, 30),  # corners and borders of the source picture
        (70, 50, 100, 80),
        (0, 20, 100, 40),
        (50, 0, 55, 80),
        (50, 40, 54, 44),  # as small as is usable
    ],
)
def test_boxes_at_borders_and_tiny_ones_are_cut_out(kind: ViewKind, box: BoxXyxy) -> None:
    role = "agent" if kind == "agent" else "tool"
    base = annotated({"agent": (40, 20, 60, 70), "item": (5, 50, 25, 70)})
    source = annotated({role: box} | ({} if kind == "agent" else {"agent": (40, 20, 60, 70)}))
    picture = Image.new("RGB", (100, 80), BLUE)
    picture.paste(RED, (round(box[0]), round(box[1]), round(box[2]), round(box[3])))
    for seed in SEEDS:
        cuts = (Cut(1, role),) * (2 if kind == "two" else 1)
        plan = ViewPlan(0, kind, cuts, seed)
        view = compose(plan, [base, source], lambda i: picture if i else Image.new("RGB", (100, 80), (0, 0, 0)))
        assert view.size == (100, 80)
        assert np.asarray(view)[..., 0].max() > 100


def test_boxes_are_scaled_to_pictures_of_another_size() -> None:
    """Annotated 100 x 80, opened as 200 x 160 and 50 x 40: the cut comes from, and goes to, the scaled places."""
    base = annotated({"agent": (2, 2, 12, 12), "item": (60, 40, 80, 60)})
    source = annotated({"agent": (1, 1, 9, 9), "tool": (40, 40, 60, 60)})
    small = Image.new("RGB", (50, 40), BLUE)
    small.paste(RED, (17, 17, 33, 33))  # the tool with its margin
    view = compose(
        ViewPlan(0, "replace", (Cut(1, "tool"),), 0, "item"),
        [base, source],
        lambda i: small if i else Image.new("RGB", (200, 160), BLUE),
    )
    assert view.size == (200, 160)
    red = np.asarray(view)[..., 0] > 200
    left, top, right, bottom = extent(red)
    assert abs((left + right) / 2 - 140) <= 2
    assert abs((top + bottom) / 2 - 100) <= 2
    assert 30 <= right - left <= 60  # a target of 40; a cut of 10 is enlarged by 3 to 3.45 at most


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA"])
def test_any_mode_and_the_size_of_a_photograph(mode: str) -> None:
    images = [
        annotated({"agent": (200, 100, 350, 460), "item": (400, 300, 500, 420)}, size=(640, 480)),
        annotated({"agent": (100, 100, 250, 460), "tool": (300, 200, 420, 260)}, size=(640, 480)),
    ]
    pictures = [Image.new("L", (640, 480), 40).convert(mode), Image.new("L", (640, 480), 220).convert(mode)]
    for plan in plan_views(images, 8, seed=0):
        view = compose(plan, images, lambda i: pictures[i])
        assert (view.mode, view.size) == ("RGB", (640, 480))
        share = changed(view, pictures[plan.base]).mean()
        assert 0.001 < share < 0.6


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (ViewPlan(7, "near", (Cut(0, "tool"),), 0), "there is no picture 7 among 4"),
        (ViewPlan(0, "near", (Cut(-1, "tool"),), 0), "there is no picture -1 among 4"),
        (ViewPlan(0, "near", (Cut(1, "tool"),), 0), "1.jpg has no box for the role 'tool'"),
        (ViewPlan(2, "near", (Cut(0, "tool"),), 0), "2.jpg has no box"),
        (ViewPlan(1, "replace", (Cut(0, "tool"),), 0, "item"), "1.jpg has no filler of 'item' to replace"),
    ],
)
def test_a_plan_of_other_pictures_is_refused(plan: ViewPlan, sentence: str) -> None:
    with pytest.raises(ViewError, match=sentence):
        compose(plan, MIXED, lambda index: Image.new("RGB", (100, 80)))


def test_the_pictures_given_are_left_alone() -> None:
    picture = Image.new("RGB", (100, 80), BLUE)
    before = picture.tobytes()
    for plan in plan_views(MIXED, 10, seed=0):
        compose(plan, MIXED, lambda index: picture)
    assert picture.tobytes() == before


@pytest.mark.parametrize("kind", ["replace", "near", "agent", "two"])
def test_where_roles_are_in_a_view(kind: ViewKind) -> None:
    """What is pasted is where it is said to be; what is not stays."""
    base = annotated({"agent": (10, 10, 40, 70), "item": (60, 30, 80, 50)})
    source = annotated({"agent": (5, 5, 35, 65), "item": (50, 20, 74, 48)}, name="b.jpg", noun="another thing")
    pictures = one_colour(((100, 80), BLUE), ((100, 80), RED))
    cuts = (Cut(1, "agent" if kind == "agent" else "item"),) * (2 if kind == "two" else 1)
    for seed in SEEDS:
        plan = ViewPlan(0, kind, cuts, seed, "item" if kind in ("replace", "two") else None)
        filled = roles_in_view(plan, [base, source])
        stays, moved = ("item", "agent") if kind == "agent" else ("agent", "item")
        assert filled[stays] == GroundedNoun("thing", usable_boxes(base)[stays])
        assert filled[moved].noun == "another thing"
        assert filled[moved].box_xyxy is not None
        left, top, right, bottom = filled[moved].box_xyxy
        red = np.asarray(compose(plan, [base, source], pictures))[..., 0] > 130
        assert red[round(top) : round(bottom), round(left) : round(right)].mean() > 0.75, "an ellipse's share and more"
        if kind != "two":  # nothing but the margin of the mask is beyond the box
            assert red.sum() < 1.7 * (right - left) * (bottom - top)
        if kind in ("replace", "two"):
            assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((70, 40))
