"""What a perfect system would get: HICO-DET's annotated rows, scored as predictions.

    python benchmarks/hoi_ceiling.py instances_test2015.json

Each row has a score of its own. The last line is GEN-VLKT's suppression alone, on rows as inclusive pixels.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from ovgsr.data.hico_det import read_hico_det
from ovgsr.evaluation.hico_det import MODES, KnownObjects, score
from ovgsr.evaluation.hoi_columns import ScoredPairs, encode_gold


def main(path: str) -> None:
    """Prints mAP in the Default setting under every mode."""
    fold = read_hico_det(Path(path))
    gold = encode_gold(fold.images, fold.interactions)
    known = KnownObjects.of_rows(fold.images).flags(gold)
    rows = ScoredPairs(gold.image, gold.interaction, gold.boxes_xyxy, 1 / np.arange(2.0, len(gold.image) + 2))
    for name, settings in score(rows, gold, known, list(MODES.values())).items():
        print(f"{name:10s} {100 * settings['default'].mean():.2f}")
    inclusive = replace(rows, boxes_xyxy=rows.boxes_xyxy - np.array([0.0, 0.0, 1.0, 1.0]))
    alone = replace(MODES["gen-vlkt"], most_per_picture=None)
    kept = len(alone.chosen(inclusive, inclusive.best_first(), gold))
    precision = 100 * score(inclusive, gold, known, [alone])["gen-vlkt"]["default"].mean()
    print(f"suppression alone: {precision:.2f}, {len(rows) - kept} of {len(rows)} rows lost")


if __name__ == "__main__":
    main(sys.argv[1])
