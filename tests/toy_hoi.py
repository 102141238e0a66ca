"""A toy data set in the HICO-DET format that a tiny model learns in seconds: orange people, red balls, blue crates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

OBJECTS = ["ball", "crate", "person"]
VERBS = ["hold", "kick", "sit_on", "stand_on"]
INTERACTIONS = [("hold", "ball"), ("hold", "crate"), ("kick", "ball"), ("sit_on", "crate"), ("stand_on", "crate")]
COLOURS = {"ball": (220, 30, 40), "crate": (40, 60, 220)}
PLACES = {"hold": (7, -9), "kick": (7, 3), "sit_on": (0, 7)}
"""Where the middle of the object is, from the person's; who sits on a crate stands on it as well."""
SIDE = 48

Box = tuple[float, float, float, float]


def _picture(rng: np.random.Generator, shown: list[tuple[str, str]], slots: int) -> tuple[Image.Image, dict[str, Any]]:
    image = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in rng.integers(120, 200, 3)))
    draw = ImageDraw.Draw(image)
    rows: dict[str, Any] = {"boxes_h": [], "boxes_o": [], "hoi": [], "object": [], "verb": []}
    for slot in rng.permutation(slots)[: rng.integers(1, slots + 1)].tolist():
        verb, thing = shown[int(rng.integers(len(shown)))]
        x, y = 10 + 24 * slot + int(rng.integers(-2, 3)), 22 + int(rng.integers(-6, 6))
        human = (x - 3, y - 10, x + 3, y + 6)
        dx, dy = PLACES[verb]
        other = (x + dx - 4, y + dy - 3, x + dx + 4, y + dy + 3)
        draw.rectangle(human, fill=(250, 150, 20))
        draw.rectangle(other, fill=COLOURS[thing])
        for name in (verb, "stand_on") if verb == "sit_on" else (verb,):
            for field, box in (("boxes_h", human), ("boxes_o", other)):
                rows[field].append([side + 1 for side in box])
            rows["hoi"].append(INTERACTIONS.index((name, thing)))
            rows["object"].append(OBJECTS.index(thing))
            rows["verb"].append(VERBS.index(name))
    return image, rows


def write_toy_hoi(root: Path, *, train: int = 24, dev: int = 8, test: int = 8, seed: int = 0) -> Path:
    """The folder, with folds of so many pictures; every interaction is shown in each of them."""
    rng = np.random.default_rng(seed)
    shown = [(verb, thing) for verb, thing in INTERACTIONS if verb in PLACES]
    for fold, count in (("train", train), ("dev", dev), ("test", test)):
        folder = root / "images" / f"{fold}2015"
        folder.mkdir(parents=True)
        names, entries = [f"toy_{fold}_{number}.png" for number in range(count)], []
        for name in names:
            image, rows = _picture(rng, shown, 2)
            image.save(folder / name)
            entries.append(rows)
        record = {
            "filenames": names,
            "size": [[SIDE, SIDE]] * count,
            "annotation": entries,
            "empty": [],
            "objects": OBJECTS,
            "verbs": VERBS,
            "correspondence": [
                [number, OBJECTS.index(thing), VERBS.index(verb)] for number, (verb, thing) in enumerate(INTERACTIONS)
            ],
            "rare": [1],
            "non_rare": [0, 2, 3, 4],
        }
        (root / f"instances_{fold}2015.json").write_text(json.dumps(record))
    return root
