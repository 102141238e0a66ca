"""A small SketchSWiG with traps, and the settings of a first stage of seconds on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ovgsr.config import Config, validate_config
from ovgsr.verb_split import VerbSplit

SEEN, RARE, DEV_UNSEEN, UNSEEN = 6, 2, 2, 3
PICTURES = {"train": 4, "dev": 1, "test": 1}
"""Pictures of a verb that are kept of each fold."""


def write_small(source: Path, root: Path) -> VerbSplit:
    """A few verbs of the drawn data set at ``source``, as a careless user might have them.

    The training records hold dev's and the test's pictures too, and pictures of the test's unseen verbs are no
    pictures: whoever opens one of them ends in an error.
    """
    whole = json.loads((source / "SWiG_jsons" / "open_vocabulary_split.json").read_text(encoding="utf-8"))
    sizes = {"seen": SEEN, "rare": RARE, "dev_unseen": DEV_UNSEEN, "unseen": UNSEEN}
    record = whole | {part: whole[part][:size] for part, size in sizes.items()}
    split = VerbSplit.from_json(record)
    (root / "SWiG_jsons").mkdir(parents=True)
    (root / "images_512").mkdir()
    (root / "sketch_swig.json").write_bytes((source / "sketch_swig.json").read_bytes())
    space = (source / "SWiG_jsons" / "imsitu_space.json").read_bytes()
    (root / "SWiG_jsons" / "imsitu_space.json").write_bytes(space)
    (root / "SWiG_jsons" / "open_vocabulary_split.json").write_text(json.dumps(record), encoding="utf-8")
    everything: dict[str, Any] = {}
    for fold in ("test", "dev", "train"):
        chosen = _some(json.loads((source / "SWiG_jsons" / f"{fold}.json").read_text(encoding="utf-8")), split, fold)
        everything |= chosen
        told = everything if fold == "train" else chosen
        (root / "SWiG_jsons" / f"{fold}.json").write_text(json.dumps(told), encoding="utf-8")
    for name, picture in everything.items():
        file = root / "images_512" / name
        if picture["verb"] in split.unseen:
            file.write_bytes(b"no picture")
        else:
            file.symlink_to(source / "images_512" / name)
    return split


def _some(records: dict[str, Any], split: VerbSplit, fold: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for name, picture in records.items():
        verb = picture["verb"]
        if verb in (*split.training, *split.unseen, *split.dev_unseen) and counts.get(verb, 0) < PICTURES[fold]:
            counts[verb] = counts.get(verb, 0) + 1
            kept[name] = picture
    return kept


def stage_config(root: Path, **sections: dict[str, Any]) -> Config:
    """Settings of both stages, as small as they can be; keyword arguments replace fields of their sections."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "data": {"root": str(root), "image_size": 32, "cache_images": True},
        "model": {"width": 16, "heads": 2, "readout_layers": 1, "decoder_layers": 1},
        "views": {"count": 10, "candidates": 2},
        "prompts": {
            "steps": 3,
            "pictures": 16,
            "batch_size": 4,
            "roles": 4,
            "views": 2,
            "check_every": 1,
            "dev_pictures": 8,
        },
        "train": {"epochs": 2, "batch_size": 12, "precision": "no", "log_every": 1, "threads": 1},
    }
    for name, fields in sections.items():
        plain[name] = plain.get(name, {}) | fields
    return validate_config(plain, "a test")
