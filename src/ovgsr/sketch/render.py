"""Drawing of a scene: background, clutter, elements, light; with the pixel box of every drawn role."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageEnhance

from ovgsr.sketch.camera import Camera, fit, outline, whole
from ovgsr.sketch.figures import OUTLINE, Figure, PixelBox
from ovgsr.sketch.places import draw_place
from ovgsr.sketch.scene import Dots, Drawn, Effect, Part, Patch, Person, Scene, Stroke, ThingAt
from ovgsr.sketch.sprites import sprite
from ovgsr.sketch.things import things

PICTURE_SIZE = 96
CANVAS = 192
TURN_STEP = 5
FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RenderedScene:
    """The picture (96 x 96 RGB), role -> box in its pixels (xyxy) or None, and the clutter really drawn."""

    image: Image.Image
    boxes_xyxy: Mapping[str, FloatBox | None]
    clutter: tuple[str, ...]


def sprite_id(name: str) -> str:
    """The id of a thing's sprite."""
    return name.replace(" ", "-")


@lru_cache(maxsize=6000)
def _stamp(name: str, pixels: int, turn: int, mirrored: bool) -> Image.Image:
    image = sprite(name)
    longest = max(image.size)
    size = (max(2, image.width * pixels // longest), max(2, image.height * pixels // longest))
    image = image.resize(size, Image.Resampling.BOX if pixels < longest else Image.Resampling.BILINEAR)
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if turn:
        image = image.rotate(turn, resample=Image.Resampling.BILINEAR, expand=True)
        box = image.getbbox()
        image = image.crop(box) if box else image
    return image


def stamp(name: str, pixels: int, turn: float, mirrored: bool) -> Image.Image:
    """A sprite with a longest side of about `pixels`, turned counterclockwise, in coarse steps that are cached."""
    pixels = max(4, pixels // 2 * 2)
    return _stamp(sprite_id(name), pixels, whole(turn / TURN_STEP) * TURN_STEP % 360, mirrored)


def _union(a: PixelBox | None, b: PixelBox) -> PixelBox:
    return b if a is None else (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def _part_of_thing(part: Part, box: PixelBox, mirrored: bool) -> PixelBox:
    """Box of a region of a sprite that faces right unless mirrored."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    spans = {
        "head": (0.58, 0.0, 1.0, 0.55),
        "mouth": (0.75, 0.2, 1.0, 0.5),
        "back": (0.15, 0.1, 0.7, 0.5),
        "rear": (0.0, 0.15, 0.35, 0.7),
        "under": (0.25, 0.5, 0.75, 0.85),
    }
    left, top, right, bottom = spans.get(part.region, (0.0, 0.0, 1.0, 1.0))
    if mirrored:
        left, right = 1 - right, 1 - left
    return (
        x1 + whole(left * width),
        y1 + whole(top * height),
        x1 + whole(right * width),
        y1 + whole(bottom * height),
    )


class Canvas:
    """The picture while it is drawn, at twice its final size."""

    def __init__(self, image: Image.Image, camera: Camera) -> None:
        self.image = image
        self.camera = camera
        self.draw = ImageDraw.Draw(image)
        self.boxes: dict[str, PixelBox] = {}

    def _fill_role(self, role: str, box: PixelBox) -> None:
        if role:
            self.boxes[role] = _union(self.boxes.get(role), box)

    def _finish(self, element: Drawn, box: PixelBox) -> None:
        if isinstance(element, Effect):
            return
        self._fill_role(element.role, box)
        for part in element.parts:
            self._fill_role(part.role, box)

    def paste(self, name: str, x: float, y: float, size: float, turn: float, mirrored: bool) -> PixelBox:
        """Paste a sprite with its centre at a point of the scene; its pixel box."""
        flipped = mirrored ^ (self.camera.side < 0)
        image = stamp(name, self.camera.length(size), turn * self.camera.side, flipped)
        cx, cy = self.camera((x, y))
        corner = (cx - image.width // 2, cy - image.height // 2)
        self.image.paste(image, corner, image)
        return (corner[0], corner[1], corner[0] + image.width, corner[1] + image.height)

    def thing(self, thing: ThingAt) -> None:
        """Draw a sprite."""
        box = self.paste(thing.noun, thing.x, thing.y, thing.size, thing.turn, thing.mirrored)
        self._fill_role(thing.role, box)
        for part in thing.parts:
            self._fill_role(part.role, _part_of_thing(part, box, thing.mirrored ^ (self.camera.side < 0)))

    def stroke(self, stroke: Stroke) -> None:
        """Draw a polyline."""
        pixels = [self.camera(p) for p in stroke.points]
        width = self.camera.length(stroke.width, least=2)
        self.draw.line(pixels, fill=stroke.colour, width=width, joint="curve")
        xs, ys = [p[0] for p in pixels], [p[1] for p in pixels]
        half = width // 2 + 1
        self._finish(stroke, (min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half))

    def patch(self, patch: Patch) -> None:
        """Draw a polygon."""
        pixels = [self.camera(p) for p in patch.points]
        self.draw.polygon(pixels, fill=patch.colour)
        if patch.outlined:
            self.draw.line([*pixels, pixels[0]], fill=OUTLINE, width=2)
        xs, ys = [p[0] for p in pixels], [p[1] for p in pixels]
        self._finish(patch, (min(xs), min(ys), max(xs), max(ys)))

    def dots(self, dots: Dots) -> None:
        """Draw discs."""
        radius = self.camera.length(dots.radius, least=2)
        pixels = [self.camera(p) for p in dots.points]
        for x, y in pixels:
            outline = OUTLINE if dots.outlined else None
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=dots.colour, outline=outline)
        xs, ys = [p[0] for p in pixels], [p[1] for p in pixels]
        self._finish(dots, (min(xs) - radius, min(ys) - radius, max(xs) + radius, max(ys) + radius))

    def person(self, person: Person) -> Figure:
        """Draw a person; the near arm of one who reaches over is left to the caller."""
        figure = Figure(person, self.camera)
        figure.draw_body(self.image, self.draw, stamp)
        if not person.reaches_over:
            figure.draw_near_arm(self.draw)
        return figure

    def close(self, figure: Figure) -> None:
        """Draw what is left of a person and take down the boxes."""
        if figure.person.reaches_over:
            figure.draw_near_arm(self.draw)
        self._fill_role(figure.person.role, figure.box_xyxy())
        for part in figure.person.parts:
            self._fill_role(part.role, figure.part_box_xyxy(part.region))

    def element(self, element: Drawn) -> None:
        """Draw anything but a person."""
        if isinstance(element, ThingAt):
            self.thing(element)
        elif isinstance(element, Stroke):
            self.stroke(element)
        elif isinstance(element, Patch):
            self.patch(element)
        elif isinstance(element, Dots):
            self.dots(element)
        elif isinstance(element, Effect):
            self.paste(element.name, element.x, element.y, element.size, element.turn, False)


def draw_elements(canvas: Canvas, elements: tuple[Drawn, ...]) -> None:
    """Draw elements in their order, near arms and elements in front last; the canvas collects the boxes of roles."""
    figures: list[Figure] = []
    front: list[Drawn] = []
    for element in elements:
        if isinstance(element, Person):
            figures.append(canvas.person(element))
        elif element.front:
            front.append(element)
        else:
            canvas.element(element)
    for figure in figures:
        canvas.close(figure)
    for element in front:
        canvas.element(element)


def _overlaps(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _scatter_clutter(
    canvas: Canvas, names: tuple[str, ...], taken: list[PixelBox], rng: random.Random, horizon: int
) -> list[str]:
    """Paste bystander things where they touch nothing of the action; those that find no room are left out."""
    placed = []
    for name in names:
        pixels = whole(things()[name].size * rng.uniform(62, 104))
        image = stamp(name, pixels, rng.choice((-15, -10, -5, 0, 0, 5, 10, 15)), rng.random() < 0.5)
        for _ in range(8):
            lowest = CANVAS - image.height - 2
            top = (
                rng.randint(min(max(horizon - image.height, 2), lowest), lowest)
                if rng.random() < 0.6
                else rng.randint(2, lowest)
            )
            left = rng.randint(2, CANVAS - image.width - 2)
            box = (left, top, left + image.width, top + image.height)
            if not any(_overlaps(box, other) for other in taken):
                canvas.image.paste(image, (left, top), image)
                taken.append(box)
                placed.append(name)
                break
    return placed


def _action_boxes(scene: Scene, camera: Camera) -> list[PixelBox]:
    """Pixel boxes of the elements, for keeping clutter out of the action."""
    boxes = []
    for element in scene.elements:
        pixels = [camera(p) for p in outline(element)]
        xs, ys = [p[0] for p in pixels], [p[1] for p in pixels]
        boxes.append((min(xs) - 3, min(ys) - 3, max(xs) + 3, max(ys) + 3))
    return boxes


def jitter_light(image: Image.Image, rng: random.Random) -> Image.Image:
    """Jitter of brightness, contrast, tint and saturation."""
    gain, offset = rng.uniform(0.86, 1.1), rng.uniform(-16, 14)
    tables: list[int] = []
    for _ in range(3):
        own = gain * rng.uniform(0.97, 1.03)
        tables.extend(min(255, max(0, whole((value - 128) * own + 128 + offset))) for value in range(256))
    return ImageEnhance.Color(image.point(tables)).enhance(round(rng.uniform(0.75, 1.25), 2))


def render(scene: Scene, rng: random.Random) -> RenderedScene:
    """Draw a scene. The same scene and generator state give the same bytes with the same version of Pillow."""
    background, horizon = draw_place(scene.place, rng, CANVAS)
    camera = fit(scene.elements, rng, CANVAS, horizon)
    canvas = Canvas(background, camera)
    clutter = _scatter_clutter(canvas, scene.clutter, _action_boxes(scene, camera), rng, horizon)
    draw_elements(canvas, scene.elements)
    image = canvas.image.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX)
    boxes: dict[str, FloatBox | None] = {}
    for role in scene.roles:
        box = canvas.boxes.get(role)
        boxes[role] = None if box is None else _to_picture(box)
    return RenderedScene(jitter_light(image, rng), boxes, tuple(clutter))


def _to_picture(box: PixelBox) -> FloatBox | None:
    """Canvas pixels to picture pixels, cut at the border; None when nothing of it is inside."""
    ratio = CANVAS / PICTURE_SIZE
    x1, y1, x2, y2 = (min(max(value / ratio, 0.0), float(PICTURE_SIZE)) for value in box)
    return (x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None
