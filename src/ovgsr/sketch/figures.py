"""Drawing of one posed person with Pillow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw

from ovgsr.sketch.camera import Camera
from ovgsr.sketch.people import HEAD_SIZE, Body, body_of, shirt_colour, trousers_colour
from ovgsr.sketch.scene import Colour, Person, Point, Region
from ovgsr.sketch.sprites import sprite

OUTLINE: Colour = (34, 30, 34)
SHOE: Colour = (58, 40, 34)
PALE: Colour = (250, 238, 228)
ARM_WIDTH = 0.062
LEG_WIDTH = 0.085
TRUNK_ROUNDING = 0.05

Stamp = Callable[[str, int, float, bool], Image.Image]
PixelBox = tuple[int, int, int, int]


@cache
def skin_colour(head: str) -> Colour:
    """The commonest warm bright colour of a head sprite, so that the hands match the face."""
    image = sprite(head)
    found: dict[Colour, int] = {}
    for count, pixel in image.getcolors(image.width * image.height) or []:
        assert isinstance(pixel, tuple)
        red, green, blue, alpha = pixel
        if (
            alpha == 255
            and red > 120
            and 1.05 * green < red < 1.9 * green
            and green >= blue
            and red - blue < 150
            and green > 70
        ):
            found[(red, green, blue)] = count
    best = max(found, key=lambda colour: (found[colour], colour), default=PALE)
    return best if found.get(best, 0) > 0.1 * image.width * image.height else PALE


class Figure:
    """One person on the canvas: draws body and arms, knows the pixel boxes of the parts."""

    def __init__(self, person: Person, camera: Camera) -> None:
        self.person = person
        self.camera = camera
        self.body: Body = body_of(person)
        self.skin = skin_colour(f"head-{person.noun.replace(' ', '-')}")
        self._boxes: list[PixelBox] = []

    def _limb(
        self, draw: ImageDraw.ImageDraw, joints: tuple[Point, ...], colours: tuple[Colour, ...], width: float
    ) -> None:
        """A chain of round-ended segments with a dark outline, one colour for each segment."""
        pixels = [self.camera(joint) for joint in joints]
        inner = self.camera.length(width, least=3)
        for thickness, outlined in ((inner + 3, True), (inner, False)):
            radius = thickness // 2
            for i, (start, end) in enumerate(pairwise(pixels)):
                colour = OUTLINE if outlined else colours[i]
                draw.line([start, end], fill=colour, width=thickness)
                for x, y in (start, end):
                    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        self._note(pixels, inner // 2 + 1)

    def _note(self, pixels: list[tuple[int, int]], around: int) -> None:
        xs, ys = [p[0] for p in pixels], [p[1] for p in pixels]
        self._boxes.append((min(xs) - around, min(ys) - around, max(xs) + around, max(ys) + around))

    def _arm(self, draw: ImageDraw.ImageDraw, arm: tuple[Point, Point, Point]) -> None:
        self._limb(draw, arm, (shirt_colour(self.person), self.skin), ARM_WIDTH)
        x, y = self.camera(arm[2])
        radius = self.camera.length(0.042, least=3)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=self.skin, outline=OUTLINE)
        self._note([(x, y)], radius)

    def _leg(self, draw: ImageDraw.ImageDraw, leg: tuple[Point, ...]) -> None:
        colour = trousers_colour(self.person)
        self._limb(draw, leg, (colour, colour), LEG_WIDTH)
        x, y = self.camera(leg[-1])
        radius = self.camera.length(0.05, least=3)
        forward = whole_sign(self.person.facing * self.camera.side) * radius // 2 if not self.person.turn else 0
        draw.ellipse((x - radius + forward, y - radius // 2, x + radius + forward, y + radius // 2 + 1), fill=SHOE)
        self._note([(x + forward, y)], radius)

    def draw_body(self, image: Image.Image, draw: ImageDraw.ImageDraw, stamp: Stamp) -> None:
        """Everything but the near arm."""
        self._arm(draw, self.body.far_arm)
        self._leg(draw, self.body.far_leg)
        self._leg(draw, self.body.near_leg)
        trunk = [self.camera(p) for p in self.body.trunk]
        edge = self.camera.length(TRUNK_ROUNDING, least=2)
        draw.line([*trunk, trunk[0], trunk[1]], fill=OUTLINE, width=edge + 3, joint="curve")
        draw.polygon(trunk, fill=shirt_colour(self.person))
        draw.line([*trunk, trunk[0], trunk[1]], fill=shirt_colour(self.person), width=edge, joint="curve")
        self._note(trunk, edge // 2 + 1)
        mirrored = self.person.facing * self.camera.side < 0
        head = stamp(
            f"head-{self.person.noun}", self.camera.length(HEAD_SIZE), self.body.head_angle * self.camera.side, mirrored
        )
        x, y = self.camera(self.body.head)
        corner = (x - head.width // 2, y - head.height // 2)
        image.paste(head, corner, head)
        self._boxes.append((corner[0], corner[1], corner[0] + head.width, corner[1] + head.height))

    def draw_near_arm(self, draw: ImageDraw.ImageDraw) -> None:
        """The arm on the side of the viewer."""
        self._arm(draw, self.body.near_arm)

    def box_xyxy(self) -> PixelBox:
        """Box of everything drawn so far."""
        return (
            min(b[0] for b in self._boxes),
            min(b[1] for b in self._boxes),
            max(b[2] for b in self._boxes),
            max(b[3] for b in self._boxes),
        )

    def part_box_xyxy(self, region: Region) -> PixelBox:
        """Box of a part of the body."""
        body = self.body
        around = {"hand": 0.07, "far hand": 0.07, "foot": 0.09, "mouth": 0.08, "head": HEAD_SIZE / 2, "back": 0.15}.get(
            region, 0.05
        )
        points: dict[str, tuple[Point, ...]] = {
            "hand": (body.near_arm[2],),
            "far hand": (body.far_arm[2],),
            "arm": body.near_arm,
            "foot": (body.near_leg[-1],),
            "head": (body.head,),
            "mouth": ((body.head[0] + 0.04 * self.person.facing, body.head[1] - 0.08),),
            "back": body.trunk,
        }
        if region not in points:
            return self.box_xyxy()
        pixels = [self.camera(p) for p in points[region]]
        edge = self.camera.length(around)
        xs, ys = [p[0] for p in pixels], [p[1] for p in pixels]
        return (min(xs) - edge, min(ys) - edge, max(xs) + edge, max(ys) + edge)


def whole_sign(value: int) -> int:
    """-1 or 1."""
    return -1 if value < 0 else 1
