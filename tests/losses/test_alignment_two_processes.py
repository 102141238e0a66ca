"""Two real processes that share their positives give the loss of one process with the joined batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from ovgsr.losses.alignment import NO_RATIONALE, AlignedRoles, gather_pool, gaze_loss, glimpse_loss

CASES = [
    # what, the rows of each process
    ("uneven", (9, 4)),
    ("one has nothing", (13, 0)),
    ("both have nothing", (0, 0)),
]


def batch(rows: int) -> AlignedRoles:
    generator = torch.Generator().manual_seed(rows)
    groups = torch.randint(NO_RATIONALE, 4, (rows,), generator=generator)
    return AlignedRoles(
        readings=torch.randn(rows, 6, generator=generator, dtype=torch.double),
        positives=torch.randn(rows, 6, generator=generator, dtype=torch.double),
        negatives=torch.randn(rows, 2, 6, generator=generator, dtype=torch.double),
        negative_mask=torch.rand(rows, 2, generator=generator) < 0.7,
        groups=groups,
        role_types=torch.randint(0, 2, (rows,), generator=generator),
        pictures=torch.arange(rows) // 3,
    )


def share(roles: AlignedRoles, rank: int, shares: tuple[int, int]) -> AlignedRoles:
    """Whole pictures only: the first process' share ends with a picture."""
    assert shares[0] == len(roles.groups) or shares[0] % 3 == 0
    part = slice(0, shares[0]) if rank == 0 else slice(shares[0], sum(shares))
    return AlignedRoles(**{name: value[part] for name, value in vars(roles).items()})


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    report = {}
    for what, shares in CASES:
        roles = share(batch(sum(shares)), rank, shares)
        roles.readings.requires_grad_()
        roles.positives.requires_grad_()
        scenes, fillers = (gather_pool(roles.positives, roles.groups, types) for types in (None, roles.role_types))
        glimpse, gaze = glimpse_loss(roles, 0.1, scenes), gaze_loss(roles, 0.1, fillers)
        gradients = torch.autograd.grad(glimpse, (roles.readings, roles.positives))
        kept = roles.groups != NO_RATIONALE
        report[what] = {
            "glimpse": glimpse.item(),
            "gaze": gaze.item(),
            "alone": glimpse_loss(roles, 0.1).item(),
            "rows": int(kept.sum()),
            "pictures": len(roles.pictures[kept].unique()),
            "gradient": gradients[0].tolist(),
            "text_gradient": gradients[1].tolist(),
            "order": scenes.positives.tolist(),
        }
    half = gather_pool(torch.full((rank + 1, 2), rank + 0.5, dtype=torch.bfloat16), torch.tensor([rank] * (rank + 1)))
    report["half"] = {"positives": half.positives.tolist(), "groups": half.groups.tolist()}
    Path(folder, f"{rank}.json").write_text(json.dumps(report))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(work, args=(str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize(("what", "shares"), CASES, ids=[case[0] for case in CASES])
def test_two_processes_equal_one(what: str, shares: tuple[int, int], reports: list[dict]) -> None:
    joined = batch(sum(shares))
    joined.readings.requires_grad_()
    parts = [report[what] for report in reports]
    for name, loss, counted in (
        ("glimpse", glimpse_loss(joined, 0.1), "rows"),
        ("gaze", gaze_loss(joined, 0.1), "pictures"),
    ):
        total = sum(part[counted] for part in parts)
        mean = sum(part[name] * part[counted] for part in parts) / max(total, 1)
        assert mean == pytest.approx(loss.item(), rel=1e-9)
    # The gradient is that of the joined batch too, weighted the same way.
    (expected,) = torch.autograd.grad(glimpse_loss(joined, 0.1), joined.readings)
    rows = sum(part["rows"] for part in parts)
    found = [
        torch.tensor(part["gradient"], dtype=torch.double) * part["rows"] / max(rows, 1)
        for part in parts
        if part["gradient"]
    ]
    if found:
        torch.testing.assert_close(torch.cat(found), expected)
    for part in parts:
        assert part["order"] == joined.positives.tolist()  # both see the rows in the order of the ranks


def test_a_gradient_flows_through_own_positives_in_the_pool_too(reports: list[dict]) -> None:
    joined = batch(13)
    joined.positives.requires_grad_()
    (expected,) = torch.autograd.grad(glimpse_loss(joined, 0.1), joined.positives)
    # Every row is the first process', so nothing is missing; the second has no row and takes part all the same.
    first, second = (torch.tensor(report["one has nothing"]["text_gradient"], dtype=torch.double) for report in reports)
    torch.testing.assert_close(first, expected)
    assert len(second) == 0


def test_the_other_process_makes_a_difference(reports: list[dict]) -> None:
    for report in reports:
        assert report["uneven"]["glimpse"] > report["uneven"]["alone"] + 1e-3


def test_short_floats_travel_unchanged(reports: list[dict]) -> None:
    for report in reports:
        assert report["half"] == {"positives": [[0.5, 0.5], [1.5, 1.5], [1.5, 1.5]], "groups": [0, 1, 1]}
