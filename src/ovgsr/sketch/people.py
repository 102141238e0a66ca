"""Posed people: joints of the body from a pose, and clothes colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from ovgsr.sketch.scene import Colour, Person, Point

HEAD_SIZE = 0.34
TRUNK = 0.27
NECK = 0.47
UPPER_ARM = 0.19
FOREARM = 0.19
ARM_STRETCH = 1.12

SHIRTS = MappingProxyType(
    {
        "red": (208, 48, 52),
        "blue": (52, 94, 200),
        "green": (44, 146, 76),
        "yellow": (240, 190, 40),
        "purple": (134, 66, 168),
        "orange": (240, 124, 40),
        "grey": (110, 112, 124),
        "white": (236, 236, 236),
        "turquoise": (24, 166, 176),
        "pink": (236, 120, 168),
    }
)
TROUSERS = MappingProxyType(
    {
        "dark blue": (42, 54, 104),
        "brown": (104, 70, 44),
        "black": (48, 48, 54),
        "khaki": (160, 134, 88),
        "olive": (88, 98, 52),
    }
)


@dataclass(frozen=True, slots=True)
class Pose:
    """Height of the hip and the joints of the near and the far leg relative to it."""

    hip: float
    near: tuple[Point, ...]
    far: tuple[Point, ...]


LEGS = MappingProxyType(
    {
        "stand": Pose(0.36, ((0.05, -0.18), (0.07, -0.35)), ((-0.04, -0.18), (-0.07, -0.35))),
        "walk": Pose(0.36, ((0.1, -0.17), (0.17, -0.34)), ((-0.05, -0.18), (-0.19, -0.32))),
        "run": Pose(0.36, ((0.18, -0.1), (0.2, -0.3)), ((-0.08, -0.17), (-0.3, -0.2))),
        "kick": Pose(0.36, ((0.19, -0.08), (0.37, -0.2)), ((-0.05, -0.18), (-0.09, -0.35))),
        "push": Pose(0.34, ((0.1, -0.16), (0.04, -0.33)), ((-0.12, -0.16), (-0.3, -0.32))),
        "brace": Pose(0.33, ((0.14, -0.15), (0.26, -0.32)), ((0.08, -0.17), (0.1, -0.32))),
        "sit": Pose(0.24, ((0.2, 0.0), (0.21, -0.22)), ((0.17, 0.01), (0.15, -0.22))),
        "sit low": Pose(0.09, ((0.2, 0.05), (0.4, -0.05)), ((0.16, 0.1), (0.34, -0.05))),
        "straddle": Pose(0.2, ((0.12, -0.08), (0.1, -0.26)), ((0.1, -0.06), (0.14, -0.24))),
        "kneel": Pose(0.2, ((0.08, -0.16), (-0.14, -0.17)), ((0.17, -0.01), (0.17, -0.19))),
        "squat": Pose(0.17, ((0.16, 0.03), (0.06, -0.16)), ((0.13, 0.05), (0.0, -0.16))),
        "crawl": Pose(0.25, ((0.04, -0.21), (-0.2, -0.22)), ((-0.08, -0.2), (-0.31, -0.22))),
        "climb": Pose(0.3, ((0.17, 0.05), (0.13, -0.12)), ((0.02, -0.18), (0.08, -0.3))),
        "jump": Pose(0.36, ((0.17, -0.03), (0.05, -0.19)), ((0.0, -0.13), (-0.19, -0.2))),
        "skate": Pose(0.31, ((0.14, -0.11), (0.08, -0.3)), ((-0.14, -0.14), (-0.32, -0.2))),
        "wide": Pose(0.34, ((0.12, -0.16), (0.16, -0.33)), ((-0.12, -0.16), (-0.16, -0.33))),
        "straight": Pose(0.36, ((0.04, -0.18), (0.05, -0.35)), ((-0.03, -0.18), (-0.04, -0.35))),
        "flail": Pose(0.36, ((0.19, -0.08), (0.28, -0.24)), ((-0.15, -0.13), (-0.3, -0.06))),
    }
)


@dataclass(frozen=True, slots=True)
class Body:
    """Joints of a person in scene coordinates. Arms are shoulder, elbow, hand; legs are hip, knee, foot."""

    trunk: tuple[Point, ...]
    head: Point
    head_angle: float
    near_arm: tuple[Point, Point, Point]
    far_arm: tuple[Point, Point, Point]
    near_leg: tuple[Point, ...]
    far_leg: tuple[Point, ...]


def bend_arm(shoulder: Point, hand: Point, bend: float) -> tuple[Point, Point, Point]:
    """Shoulder, elbow and hand of a two-segment arm; a hand out of reach is drawn in along the line to it."""
    dx, dy = hand[0] - shoulder[0], hand[1] - shoulder[1]
    distance = math.hypot(dx, dy)
    longest = (UPPER_ARM + FOREARM) * ARM_STRETCH
    if distance > longest:
        dx, dy = dx * longest / distance, dy * longest / distance
        distance = longest
    end = (shoulder[0] + dx, shoulder[1] + dy)
    half = distance / 2
    height = math.sqrt(max(UPPER_ARM * UPPER_ARM - half * half, 0.0))
    if distance < 1e-6:
        return shoulder, (shoulder[0], shoulder[1] - height), end
    elbow = (
        shoulder[0] + dx / 2 + bend * height * dy / distance,
        shoulder[1] + dy / 2 - bend * height * dx / distance,
    )
    return shoulder, elbow, end


def body_of(person: Person) -> Body:
    """Where every joint of the person is."""
    pose = LEGS[person.legs]
    lean = math.radians(person.lean)
    up = (math.sin(lean), math.cos(lean))
    side = (math.cos(lean), -math.sin(lean))
    turn = math.radians(person.turn)
    cosine, sine = math.cos(turn), math.sin(turn)

    def place(point: Point) -> Point:
        x, y = point[0] * person.facing, point[1]
        return (person.x + x * cosine - y * sine, person.y + x * sine + y * cosine)

    def on_trunk(along: float, across: float) -> Point:
        return (up[0] * along + side[0] * across, pose.hip + up[1] * along + side[1] * across)

    def leg(joints: tuple[Point, ...], across: float) -> tuple[Point, ...]:
        hip = (across, pose.hip)
        return tuple(place(p) for p in (hip, *((x, pose.hip + y) for x, y in joints)))

    near = bend_arm(on_trunk(TRUNK - 0.03, 0.06), person.hands[0], 1.0)
    far = bend_arm(on_trunk(TRUNK - 0.03, -0.06), person.hands[1], 1.0)
    corners = (on_trunk(TRUNK, -0.105), on_trunk(TRUNK, 0.105), on_trunk(-0.03, 0.085), on_trunk(-0.03, -0.085))
    return Body(
        trunk=tuple(place(p) for p in corners),
        head=place(on_trunk(NECK, 0.01)),
        head_angle=person.turn - (person.lean * 0.8 + person.nod) * person.facing,
        near_arm=(place(near[0]), place(near[1]), place(near[2])),
        far_arm=(place(far[0]), place(far[1]), place(far[2])),
        near_leg=leg(pose.near, 0.035),
        far_leg=leg(pose.far, -0.035),
    )


def shirt_colour(person: Person) -> Colour:
    """RGB of the shirt."""
    return SHIRTS[person.shirt]


def trousers_colour(person: Person) -> Colour:
    """RGB of the trousers."""
    return TROUSERS[person.trousers]
