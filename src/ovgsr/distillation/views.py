"""Views: new combinations put together from training pictures and their boxes, for distillation only.

A role filler of one picture is cut out and put into another, so that the student meets scenes that no training picture
shows. Nobody annotates a view: the frozen teacher reads it from its pixels. What a view shows follows from its
:class:`ViewPlan` alone, and plan number i from (seed, i) alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovgsr.distillation.view_sources import ViewSources
from ovgsr.errors import OvgsrError
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun

ViewKind = Literal["replace", "near", "agent", "two"]
KIND_SHARES: dict[ViewKind, float] = {"replace": 0.45, "near": 0.25, "agent": 0.15, "two": 0.15}
"""How often each kind is planned. A base without a filler to replace gets its cut near the agent instead."""

_AGENT, _PLACE = "agent", "place"
_LEAST_PIXELS, _LEAST_SIDE = 4.0, 0.02  # a smaller box shows nothing that can be cut out
_WHOLE_PICTURE = 0.9  # a box beyond this on both sides is a surrounding, not a thing
_MARGIN = 0.12  # the mask's ellipse goes beyond the box by this part of its sides, so that corners are kept
_SOFT_FROM = 0.85  # of the ellipse's radius
_RAMP = 0.06  # of the cut's sides: softens edges that the picture's border cut straight
_MOST_ENLARGED = 3.0  # beyond, a cut is a blur
_MOST_OVERSIZED = 1.5  # a cut covers what it replaces, but no long thing becomes a giant to do so
_LARGEST_SHARE = 0.7  # of the base's sides, for a cut put near the agent
_SMALLEST_SHARE = 0.06  # of the base's shorter side, for a cut's longer one
_DRAWS = 64
_MOST_OUTSIDE = 0.3  # of a cut's sides, beyond the border


class ViewError(OvgsrError):
    """Pictures that no view can be made of, or a folder of views that cannot be used; the message says why."""


_Choice = TypeVar("_Choice")


class Cut(NamedTuple):
    """What is cut out: a picture's position in the sequence, and one of its grounded roles."""

    picture: int
    role: str


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """How one view is made: ``cuts`` go into the picture at position ``base``.

    ``replace``: over the filler of the base's role ``over``. ``near``: at the base's agent. ``agent``: an agent, with
    what its box holds, over the base's agent. ``two``: a cut over ``over``, where there is such a role, and one near
    the agent. ``seed`` settles place, size and mirroring.
    """

    base: int
    kind: ViewKind
    cuts: tuple[Cut, ...]
    seed: int
    over: str | None = None


def usable_boxes(image: AnnotatedImage) -> dict[str, BoxXyxy]:
    """Role -> box inside the picture, pixels of the annotated size, for boxes large enough to show something.

    Of several situations the first counts.
    """
    if not image.situations:
        return {}
    found: dict[str, BoxXyxy] = {}
    least = max(_LEAST_PIXELS, _LEAST_SIDE * min(image.width, image.height))
    for role, noun in image.situations[0].nouns.items():
        if noun.box_xyxy is None:
            continue
        left, top, right, bottom = _clipped(noun.box_xyxy, image)
        if right - left >= least and bottom - top >= least:
            found[role] = (left, top, right, bottom)
    return found


def agent_role(image: AnnotatedImage) -> str | None:
    """The grounded role called agent, else the first grounded role, else None."""
    boxes = usable_boxes(image)
    return _AGENT if _AGENT in boxes else next(iter(boxes), None)


def item_roles(image: AnnotatedImage) -> tuple[str, ...]:
    """The grounded roles that are neither the agent nor the surroundings."""
    agent = agent_role(image)
    return tuple(
        role
        for role, (left, top, right, bottom) in usable_boxes(image).items()
        if role not in (agent, _PLACE)
        and not (right - left > _WHOLE_PICTURE * image.width and bottom - top > _WHOLE_PICTURE * image.height)
    )


def plan_views(images: Sequence[AnnotatedImage], count: int, seed: int, start: int = 0) -> Iterator[ViewPlan]:
    """The plans number ``start`` to ``start + count - 1`` of a seed; any stretch of them can be made on its own.

    Raises ViewError where no picture has a usable box, or a number is negative.
    """
    for field, value in (("count", count), ("seed", seed), ("start", start)):
        if value < 0:
            raise ViewError(f"the field {field!r} of the views must not be negative, not {value}")
    agents = tuple(agent_role(image) for image in images)
    items = tuple(item_roles(image) for image in images)
    sources = ViewSources.of(images, items, agents)
    if not sources.with_agent:
        raise ViewError(
            f"none of the {len(images)} pictures has a box that could be cut out; views need a data set with boxes"
        )
    return (_plan(images, sources, agents, items, seed, index) for index in range(start, start + count))


def _plan(
    images: Sequence[AnnotatedImage],
    sources: ViewSources,
    agents: Sequence[str | None],
    items: Sequence[Sequence[str]],
    seed: int,
    index: int,
) -> ViewPlan:
    generator = np.random.Generator(np.random.PCG64([seed, index]))
    kind = get_args(ViewKind)[int(generator.choice(len(KIND_SHARES), p=list(KIND_SHARES.values())))]
    base = sources.verb_picture(generator)
    over = None
    if kind != "agent" and not sources.fillers:
        kind = "agent"
    if kind == "agent":
        source = _elsewhere(lambda: sources.verb_picture(generator), base)
        cuts: tuple[Cut, ...] = (Cut(source, str(agents[source])),)
    else:
        first = _elsewhere(lambda: Cut(*sources.filler(generator)), base)
        others = [role for role in items[first.picture] if role != first.role]
        cuts = (first,)
        if kind == "two" and others and generator.random() < 0.5:
            # What belongs together, in another scene.
            cuts = (first, Cut(first.picture, others[int(generator.integers(len(others)))]))
        elif kind == "two":
            cuts = (first, _elsewhere(lambda: Cut(*sources.filler(generator)), base))
        if kind in ("replace", "two") and items[base]:
            over = sources.role_to_cover(images[base].situation.verb, items[base], generator)
        elif kind == "replace":
            kind = "near"
    return ViewPlan(base, kind, cuts, int(generator.integers(2**32)), over)


def _elsewhere(draw: Callable[[], _Choice], base: int) -> _Choice:
    """Draws anew, a few times, while what comes is of the base picture itself."""
    for _ in range(_DRAWS):
        drawn = draw()
        if (drawn.picture if isinstance(drawn, Cut) else drawn) != base:
            break
    return drawn


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cut goes in a view: what is in ``box_xyxy`` of its source, ``scale`` times as large, about ``centre``.

    ``covers`` is the base's role that it is put over, None where it stands near the agent.
    """

    cut: Cut
    box_xyxy: BoxXyxy
    scale: float
    centre: tuple[float, float]
    mirrored: bool
    covers: str | None

    @property
    def placed_xyxy(self) -> BoxXyxy:
        """The cut's box in the view; it may reach beyond the view's edges."""
        left, top, right, bottom = self.box_xyxy
        (x, y), across, down = self.centre, self.scale * (right - left) / 2, self.scale * (bottom - top) / 2
        return x - across, y - down, x + across, y + down


def placements(
    plan: ViewPlan, images: Sequence[AnnotatedImage], size_of: Callable[[int], tuple[int, int]]
) -> list[Placement]:
    """Where the cuts of a plan go; ``size_of`` gives width and height of the picture at a position, as opened.

    A picture may have another size than its annotation says: boxes are scaled to it. Raises ViewError for a plan that
    was made from other pictures.
    """
    _require_pictures(plan, images)
    generator = np.random.Generator(np.random.PCG64(plan.seed))
    base, size = images[plan.base], size_of(plan.base)
    boxes = _scaled(base, *size)
    agent = agent_role(base)
    if agent is None:
        raise _other_pictures(plan, f"{base.file_name} has no box")
    if plan.over is not None and plan.over not in item_roles(base):
        raise _other_pictures(plan, f"{base.file_name} has no filler of {plan.over!r} to replace")
    found = []
    for number, cut in enumerate(plan.cuts):
        source, own = images[cut.picture], size_of(cut.picture)
        box_xyxy = _scaled(source, *own)[cut.role]
        mirrored = bool(generator.random() < 0.5)
        covered = agent if plan.kind == "agent" else plan.over if number == 0 else None
        if covered is None:
            scale = _beside_scale(source, cut, own, boxes[agent], size) * generator.uniform(0.85, 1.15)
            scale = _bounded(scale, box_xyxy, size)
            sides = (scale * (box_xyxy[2] - box_xyxy[0]), scale * (box_xyxy[3] - box_xyxy[1]))
            centre = _inside(_beside(boxes[agent], sides, generator), sides, size)
        else:
            target = boxes[covered]
            scale = _covering(box_xyxy, target) * generator.uniform(1.0, 1.15)
            centre = ((target[0] + target[2]) / 2, (target[1] + target[3]) / 2)
        found.append(Placement(cut, box_xyxy, scale, centre, mirrored, covered))
    return found


def roles_in_view(plan: ViewPlan, images: Sequence[AnnotatedImage]) -> dict[str, GroundedNoun]:
    """What fills the base's roles in the view of a plan and where, cut off at its edges, in pixels of the base.

    A cut stands for the role that it is put over; one that is put near the agent for its own role, unless another cut
    stands for that.
    """
    base = images[plan.base]
    found = {role: GroundedNoun(base.situation.nouns[role].noun, box) for role, box in usable_boxes(base).items()}
    for placed in reversed(placements(plan, images, lambda index: (images[index].width, images[index].height))):
        noun = images[placed.cut.picture].situation.nouns[placed.cut.role].noun
        found[placed.covers or placed.cut.role] = GroundedNoun(noun, _clipped(placed.placed_xyxy, base))
    return found


def compose(
    plan: ViewPlan, images: Sequence[AnnotatedImage], open_picture: Callable[[int], Image.Image]
) -> Image.Image:
    """The view of a plan: RGB, of the base picture's size. ``open_picture`` gives the picture at a position.

    Raises ViewError for a plan that was made from other pictures.
    """
    _require_pictures(plan, images)
    pictures = {i: open_picture(i).convert("RGB") for i in (plan.base, *(cut.picture for cut in plan.cuts))}
    canvas = np.array(pictures[plan.base])
    for placed in placements(plan, images, lambda index: pictures[index].size):
        _paste(canvas, pictures[placed.cut.picture], placed)
    return Image.fromarray(canvas)


def _require_pictures(plan: ViewPlan, images: Sequence[AnnotatedImage]) -> None:
    for index in (plan.base, *(cut.picture for cut in plan.cuts)):
        if not 0 <= index < len(images):
            raise _other_pictures(plan, f"there is no picture {index} among {len(images)}")
    for cut in plan.cuts:
        if cut.role not in usable_boxes(images[cut.picture]):
            raise _other_pictures(plan, f"{images[cut.picture].file_name} has no box for the role {cut.role!r}")


def _other_pictures(plan: ViewPlan, reason: str) -> ViewError:
    return ViewError(f"{plan}: {reason}; this plan was made from other pictures, so plan the views anew")


def _scaled(image: AnnotatedImage, width: int, height: int) -> dict[str, BoxXyxy]:
    """The usable boxes in pixels of the opened picture."""
    across, down = width / image.width, height / image.height
    return {
        role: (left * across, top * down, right * across, bottom * down)
        for role, (left, top, right, bottom) in usable_boxes(image).items()
    }


def _clipped(box_xyxy: BoxXyxy, image: AnnotatedImage) -> BoxXyxy:
    """A box cut off at the picture's edges, in pixels of the annotated size."""
    left, right = (min(max(x, 0.0), float(image.width)) for x in box_xyxy[0::2])
    top, bottom = (min(max(y, 0.0), float(image.height)) for y in box_xyxy[1::2])
    return left, top, right, bottom


def _covering(box_xyxy: BoxXyxy, target_xyxy: BoxXyxy) -> float:
    """The scale at which a cut covers its target."""
    across = (target_xyxy[2] - target_xyxy[0]) / (box_xyxy[2] - box_xyxy[0])
    down = (target_xyxy[3] - target_xyxy[1]) / (box_xyxy[3] - box_xyxy[1])
    return min(max(across, down), _MOST_OVERSIZED * math.sqrt(across * down), _MOST_ENLARGED)


def _beside_scale(
    source: AnnotatedImage, cut: Cut, source_wh: tuple[int, int], agent_xyxy: BoxXyxy, view_wh: tuple[int, int]
) -> float:
    """The scale that keeps a thing's size relative to its agent; relative to the picture where it has none."""
    own = agent_role(source)
    if own is None or own == cut.role:
        return min(view_wh[0] / source_wh[0], view_wh[1] / source_wh[1])
    own_xyxy = _scaled(source, *source_wh)[own]
    # Areas: a lying agent is as large as a standing one.
    wanted = (agent_xyxy[2] - agent_xyxy[0]) * (agent_xyxy[3] - agent_xyxy[1])
    return math.sqrt(wanted / ((own_xyxy[2] - own_xyxy[0]) * (own_xyxy[3] - own_xyxy[1])))


def _bounded(scale: float, box_xyxy: BoxXyxy, view_wh: tuple[int, int]) -> float:
    """The scale, such that the cut is neither a speck nor most of the picture."""
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    smallest = _SMALLEST_SHARE * min(view_wh) / max(width, height)
    largest = _LARGEST_SHARE * min(view_wh[0] / width, view_wh[1] / height)
    return min(max(scale, smallest), largest, _MOST_ENLARGED)


def _beside(agent_xyxy: BoxXyxy, size: tuple[float, float], generator: np.random.Generator) -> tuple[float, float]:
    """A centre for a cut of this size (width, height): beside the agent, at hand, head or feet, or overhead."""
    left, top, right, bottom = agent_xyxy
    width, height = right - left, bottom - top
    x, y = (left + right) / 2, (top + bottom) / 2
    side = -1.0 if generator.random() < 0.5 else 1.0
    near, far = generator.random(2).tolist()
    where = int(generator.integers(5))
    if where == 0:
        return x + side * (width / 2 + size[0] * (0.3 + 0.3 * near)), y + height * (0.4 * far - 0.05)
    if where == 1:
        return x + side * width * (0.3 + 0.25 * near), y + height * (0.2 * far - 0.1)
    if where == 2:
        return x + side * width * (0.1 + 0.3 * near), top + height * (0.1 + 0.12 * far)
    if where == 3:
        return x + side * width * 0.2 * near, top - size[1] * (0.3 + 0.3 * far)
    return x + side * width * 0.5 * near, bottom - size[1] * (0.2 + 0.3 * far)


def _inside(centre: tuple[float, float], size: tuple[float, float], view_wh: tuple[int, int]) -> tuple[float, float]:
    """The centre, moved so that most of the cut is in the picture."""
    keep = 0.5 - _MOST_OUTSIDE
    x = min(max(centre[0], keep * size[0]), view_wh[0] - keep * size[0])
    return x, min(max(centre[1], keep * size[1]), view_wh[1] - keep * size[1])


def _paste(canvas: NDArray[np.uint8], picture: Image.Image, placed: Placement) -> None:
    """Blends what is in the box of the picture onto the canvas (H, W, 3)."""
    box_xyxy, scale = placed.box_xyxy, placed.scale
    margins = (_MARGIN * (box_xyxy[2] - box_xyxy[0]), _MARGIN * (box_xyxy[3] - box_xyxy[1]))
    left, top = (max(0, math.floor(box_xyxy[axis] - margins[axis])) for axis in (0, 1))
    right = min(picture.width, math.ceil(box_xyxy[2] + margins[0]))
    bottom = min(picture.height, math.ceil(box_xyxy[3] + margins[1]))
    size = (max(2, round((right - left) * scale)), max(2, round((bottom - top) * scale)))
    resampling = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    cut = np.asarray(picture.crop((left, top, right, bottom)).resize(size, resampling), dtype=np.float32)
    middle = ((box_xyxy[0] + box_xyxy[2]) / 2 - left, (box_xyxy[1] + box_xyxy[3]) / 2 - top)
    radii = tuple((0.5 + _MARGIN) * (box_xyxy[axis + 2] - box_xyxy[axis]) for axis in (0, 1))
    steps = (size[0] / (right - left), size[1] / (bottom - top))
    mask = _mask(
        size, [m * s for m, s in zip(middle, steps, strict=True)], [r * s for r, s in zip(radii, steps, strict=True)]
    )
    anchor = middle[0] * steps[0]
    if placed.mirrored:
        cut, mask, anchor = cut[:, ::-1], mask[:, ::-1], size[0] - anchor
    x, y = round(placed.centre[0] - anchor), round(placed.centre[1] - middle[1] * steps[1])
    rows = slice(max(0, y), min(canvas.shape[0], y + size[1]))
    columns = slice(max(0, x), min(canvas.shape[1], x + size[0]))
    shown = (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
    weight = mask[shown][..., None]
    blended = canvas[rows, columns] * (1 - weight) + cut[shown] * weight
    canvas[rows, columns] = np.rint(blended).astype(np.uint8)


def _mask(size: tuple[int, int], middle: Sequence[float], radii: Sequence[float]) -> NDArray[np.float32]:
    """Weights (height, width) in 0..1: an ellipse with a soft edge, soft as well where the cut itself ends."""
    axes = [np.arange(length, dtype=np.float32) + 0.5 for length in size]
    x, y = ((axis - m) / r for axis, m, r in zip(axes, middle, radii, strict=True))
    distance = np.sqrt(x[None, :] ** 2 + y[:, None] ** 2)
    ellipse = np.clip((1 - distance) / (1 - _SOFT_FROM), 0, 1)
    across, down = (
        np.clip(np.minimum(axis, length - axis) / max(1.0, _RAMP * length), 0, 1)
        for axis, length in zip(axes, size, strict=True)
    )
    weights: NDArray[np.float32] = np.minimum(ellipse, np.minimum(across[None, :], down[:, None])).astype(np.float32)
    return weights
