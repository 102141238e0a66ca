"""A data set of SWiG's 504 verbs with made-up records, and no picture unless a test adds some."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from ovgsr.vocabulary import swig_vocabulary

VOCABULARY = swig_vocabulary()
COMMON_NOUNS = 700
"""Nouns that records draw from, the commonest first: unseen ones are among them."""


BROKEN = "snowing"
"""The verb whose test pictures have broken boxes: an unseen one."""


def write_swig_records(root: Path, pictures: Mapping[str, int], seed: int = 0) -> Path:
    """Writes the JSON files with ``pictures`` (fold -> number) of each verb, by three annotators.

    All boxes lie inside their picture, but for those of BROKEN, which are inverted.
    """
    folder = root / "SWiG_jsons"
    folder.mkdir(parents=True)
    (root / "images_512").mkdir()
    draw = Random(seed)
    keys = [noun.key for noun in VOCABULARY.nouns[:COMMON_NOUNS]]
    weights = [1 / (rank + 10) for rank in range(COMMON_NOUNS)]
    number = 0
    for fold in ("train", "dev", "test"):
        records: dict[str, Any] = {}
        for verb in VOCABULARY.verbs:
            for _ in range(pictures[fold]):
                number += 1
                # Any two annotators' answers may differ; most agree.
                drawn = {role: draw.choices(keys, weights, k=2) for role in verb.roles}
                frames = [{role: drawn[role][0 if annotator < 2 else 1] for role in drawn} for annotator in range(3)]
                boxes = {role: [4, 4, 28, 20] if draw.random() < 0.6 else [-1] * 4 for role in verb.roles}
                record = {"verb": verb.name, "width": 32, "height": 24, "frames": frames, "bb": boxes}
                records[f"{verb.name}_{number}.jpg"] = record
                if fold == "test" and verb.name == BROKEN:
                    record["bb"] = {role: [20, 4, 10, 20] for role in verb.roles}
        (folder / f"{fold}.json").write_text(json.dumps(records), encoding="utf-8")
    verbs = {
        verb.name: {
            "framenet": f"Frame_{place % 70}",
            "def": verb.definition,
            "abstract": verb.abstract,
            "order": list(verb.roles),
        }
        for place, verb in enumerate(VOCABULARY.verbs)
    }
    nouns = {noun.key: {"gloss": list(noun.words), "def": ""} for noun in VOCABULARY.nouns}
    (folder / "imsitu_space.json").write_text(json.dumps({"verbs": verbs, "nouns": nouns}), encoding="utf-8")
    return root
