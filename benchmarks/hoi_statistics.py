"""What a data set in HICO-DET layout shows: a table by fold of pictures, pairs and interactions.

python benchmarks/hoi_statistics.py DIR
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from ovgsr.data.hico_det import HicoDetFold, read_hico_det
from ovgsr.data.hoi_pairs import merge_rows
from ovgsr.data.hoi_splits import read_hoi_split
from ovgsr.data.swig import Fold
from ovgsr.hoi_vocabulary import Interaction

FOLDS: tuple[Fold, ...] = ("train", "dev", "test")


def counts(fold: HicoDetFold, held_out: frozenset[Interaction]) -> dict[str, int]:
    """Numbers of one fold by name."""
    found: Counter[str] = Counter()
    shown: set[Interaction] = set()
    for image in fold.images:
        pairs = merge_rows(image)
        acting = [pair for pair in pairs if pair.verbs != ("no_interaction",)]
        found["pictures"] += 1
        found["pictures without a row"] += not image.situations
        found["pictures with several interacting pairs"] += len(acting) > 1
        found["rows"] += len(image.situations)
        found["pairs"] += len(pairs)
        found["pairs with several verbs"] += sum(len(pair.verbs) > 1 for pair in pairs)
        found["pairs without interaction"] += len(pairs) - len(acting)
        shown |= {(verb, pair.object) for pair in pairs for verb in pair.verbs}
    found["combinations shown"] = len(shown)
    found["of them unseen in training"] = len(shown & held_out)
    found["of them rare in training"] = len(shown & fold.rare)
    return dict(found)


def main() -> None:
    """Reads every fold that is there and prints the table in Markdown."""
    root = Path(sys.argv[1])
    split = read_hoi_split(root)
    held_out = split.held_out if split else frozenset()
    folds = [fold for fold in FOLDS if (root / f"instances_{fold}2015.json").is_file()]
    columns = [counts(read_hico_det(root, fold), held_out) for fold in folds]
    print("| | " + " | ".join(folds) + " |")
    print("| --- |" + " --- |" * len(folds))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:,}" for column in columns) + " |")


if __name__ == "__main__":
    main()
