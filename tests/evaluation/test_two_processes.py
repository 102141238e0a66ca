"""Two real processes give what one gives; a picture counted in both is refused in both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from evaluation.builders import random_world
from ovgsr.evaluation.columns import EvaluationError
from ovgsr.evaluation.swig import SituationMetrics

VERBS = tuple(f"v{i}" for i in range(12))
GROUPS = {"seen": VERBS[:6], "unseen": VERBS[6:]}


def paired():
    annotated, predicted, _ = random_world(80, 5)
    by_name = {p.file_name: p for p in predicted}
    return [(image, by_name[image.file_name]) for image in annotated if image.file_name in by_name]


def count(metric, pairs, valid_mask=None):
    metric.update([p for _, p in pairs], [g for g, _ in pairs], valid_mask)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    pairs = paired()
    report = {}
    metric = SituationMetrics("coformer", verbs=VERBS, groups=GROUPS)
    # uneven shares, several batches, and a sampler's padding: process 1 gets picture 0 again
    for start in range(rank, len(pairs), 14):
        count(metric, pairs[start : start + 14 : 2])
    if rank == 1:
        count(metric, pairs[:1], valid_mask=[False])
    report["shared"] = metric.compute().to_json()
    # everything in one process, nothing at all in the other
    lonely = SituationMetrics("coformer", verbs=VERBS, groups=GROUPS)
    if rank == 0:
        count(lonely, pairs)
    report["lonely"] = lonely.compute().to_json()
    # the same picture in both, not named as padding
    doubled = SituationMetrics("coformer", verbs=VERBS, groups=GROUPS)
    count(doubled, pairs[rank : rank + 2])
    try:
        doubled.compute()
    except EvaluationError as error:
        report["doubled"] = str(error)
    Path(folder, f"{rank}.json").write_text(json.dumps(report))
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_equal_one(tmp_path):
    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=2)
    alone = SituationMetrics("coformer", verbs=VERBS, groups=GROUPS)
    count(alone, paired())
    expected = alone.compute().to_json()
    for rank in range(2):
        report = json.loads((tmp_path / f"{rank}.json").read_text())
        assert report["shared"] == expected  # exactly: the states are whole numbers
        assert report["lonely"] == expected
        assert report["doubled"].startswith("1 pictures were counted twice across processes")
