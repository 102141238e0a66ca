"""A tiny data set in the SWiG format, made anew for each test that asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SPACE: dict[str, Any] = {
    "nouns": {
        "n10287213": {"gloss": ["man"], "def": "a grown male"},
        "n02084071": {"gloss": ["dog", "domestic dog"], "def": "an animal that barks"},
        "n02778669": {"gloss": ["ball"], "def": "a round thing to throw"},
    },
    "verbs": {
        "throwing": {
            "framenet": "Cause_motion",
            "def": "to send something through the air",
            "abstract": "An AGENT throws an ITEM at a PLACE.",
            "order": ["agent", "item", "place"],
            # Another order than `order`, as in the original file.
            "roles": {
                "place": {"framenet": "place", "def": "where it happens"},
                "item": {"framenet": "theme", "def": "what flies"},
                "agent": {"framenet": "agent", "def": "who throws"},
            },
        },
        "barking": {
            "framenet": "Make_noise",
            "def": "to make a dog's sound",
            "abstract": "An AGENT barks.",
            "order": ["agent"],
            "roles": {"agent": {"framenet": "agent", "def": "who barks"}},
        },
    },
}
MAN, DOG, BALL = "n10287213", "n02084071", "n02778669"


def throwing() -> dict[str, Any]:
    return {
        "verb": "throwing",
        "width": 40,
        "height": 20,
        # Role keys in another order than `order`; the item's majority answer is the second annotator's.
        "frames": [
            {"place": "", "item": BALL, "agent": MAN},
            {"item": DOG, "place": "", "agent": MAN},
            {"agent": MAN, "item": DOG, "place": BALL},
        ],
        "bb": {"item": [30, 5, 40, 15], "place": [-1, -1, -1, -1], "agent": [0, 0, 20, 20]},
    }


def barking() -> dict[str, Any]:
    return {
        "verb": "barking",
        "width": 40,
        "height": 20,
        "frames": [{"agent": DOG}, {"agent": DOG}, {"agent": ""}],
        "bb": {"agent": [5, 2, 35, 20]},
    }


Write = Callable[..., Path]


@pytest.fixture
def write_swig(tmp_path: Path) -> Write:
    """Writes a data set; keyword arguments replace a file's JSON: train, dev, test, space, split."""

    def write(**replaced: Any) -> Path:
        root = tmp_path / "tiny"
        (root / "SWiG_jsons").mkdir(parents=True, exist_ok=True)
        (root / "images_512").mkdir(exist_ok=True)
        files = {
            "train": {"throwing_1.jpg": throwing(), "barking_1.jpg": barking()},
            "dev": {"throwing_2.jpg": throwing()},
            "test": {"barking_2.jpg": barking()},
            "space": SPACE,
        } | replaced
        names = {"space": "imsitu_space", "split": "open_vocabulary_split"}
        for key, value in files.items():
            path = root / "SWiG_jsons" / f"{names.get(key, key)}.json"
            path.write_text(json.dumps(value), encoding="utf-8")
        shade = 0
        for fold in ("train", "dev", "test"):
            for name in files[fold] if isinstance(files[fold], dict) else ():
                shade += 20  # so that no two files are the same
                if "/" not in name:
                    Image.new("RGB", (40, 20), (shade, 100, 50)).save(root / "images_512" / name)
        return root

    return write
