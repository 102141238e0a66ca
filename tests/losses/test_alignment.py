from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ovgsr.losses.alignment import (
    NO_RATIONALE,
    Aligned,
    AlignedRoles,
    Pool,
    contrast,
    gather_pool,
    gaze_loss,
    glimpse_loss,
    unit_rows,
)


def cosine(one: list[float], other: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths


def plain(reading: list[float], right: list[float], wrong: list[list[float]], temperature: float) -> float:
    """The formula as it is written: -log of the positive's share."""
    own = math.exp(cosine(reading, right) / temperature)
    return -math.log(own / (own + sum(math.exp(cosine(reading, each) / temperature) for each in wrong)))


def random_roles(seed: int, rows: int, negatives: int, width: int = 5) -> AlignedRoles:
    """Rows of few groups, role types and pictures, so that every kind of coincidence is there."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(high: int, low: int = 0) -> Tensor:
        return torch.randint(low, high, (rows,), generator=generator)

    return AlignedRoles(
        readings=torch.randn(rows, width, generator=generator),
        positives=torch.randn(rows, width, generator=generator),
        negatives=torch.randn(rows, negatives, width, generator=generator),
        negative_mask=torch.rand(rows, negatives, generator=generator) < 0.7,
        groups=numbers(4, NO_RATIONALE),
        role_types=numbers(3),
        pictures=numbers(5),
    )


def own_negatives(rows: Aligned, row: int) -> list[list[float]]:
    kept = rows.negative_mask[row].tolist()
    return [each for each, keep in zip(rows.negatives[row].tolist(), kept, strict=True) if keep]


def plain_glimpse(scene: Aligned, temperature: float) -> float:
    positives, terms = scene.positives.tolist(), []
    for row, verb in enumerate(scene.groups.tolist()):
        if verb >= 0:
            others = [positives[j] for j, other in enumerate(scene.groups.tolist()) if other >= 0 and other != verb]
            reading = scene.readings[row].tolist()
            terms.append(plain(reading, positives[row], own_negatives(scene, row) + others, temperature))
    return sum(terms) / len(terms) if terms else 0.0


def plain_gaze(roles: AlignedRoles, temperature: float) -> float:
    positives, labels = (
        roles.positives.tolist(),
        list(zip(roles.groups.tolist(), roles.role_types.tolist(), strict=True)),
    )
    of_picture: dict[int, list[float]] = {}
    for row, (filler, role) in enumerate(labels):
        if filler >= 0:
            wrong = own_negatives(roles, row)
            for column, (other, other_role) in enumerate(labels):
                if other >= 0 and other_role == role and other != filler:
                    wrong.append(positives[column])
            loss = plain(roles.readings[row].tolist(), positives[row], wrong, temperature)
            of_picture.setdefault(int(roles.pictures[row]), []).append(loss)
    means = [sum(terms) / len(terms) for terms in of_picture.values()]
    return sum(means) / len(means) if means else 0.0


# rows, own negatives, temperature
SIZES = [
    (12, 3, 0.1),  # the usual
    (12, 0, 0.1),  # no own negatives: the batch alone
    (1, 3, 0.2),  # one row: its own negatives alone
    (1, 0, 0.2),  # one row and nothing against it
    (30, 2, 1.0),  # many rows of the same verb and filler
    (7, 4, 0.02),  # sharp
]


@pytest.mark.parametrize(("rows", "negatives", "temperature"), SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_against_loops_from_the_formula(seed: int, rows: int, negatives: int, temperature: float) -> None:
    roles = random_roles(seed, rows, negatives)
    if rows > 4:
        assert (roles.groups == NO_RATIONALE).any()  # rows without a rationale are among them
    assert glimpse_loss(roles, temperature).item() == pytest.approx(
        plain_glimpse(roles, temperature), rel=1e-4, abs=1e-6
    )
    assert gaze_loss(roles, temperature).item() == pytest.approx(plain_gaze(roles, temperature), rel=1e-4, abs=1e-6)


def contrast_of(rows: Aligned, temperature: Tensor | float = 0.5, same: Tensor | None = None) -> Tensor:
    if same is None:
        same = rows.groups[:, None] == rows.groups
    return contrast(rows.readings, rows.positives, rows.negatives, rows.negative_mask, same, temperature=temperature)


def test_values_by_hand() -> None:
    # cos with the own positive 1, with the negative 0 (the padded one would be 1), with the other picture's -1; t = 1
    rows = Aligned(
        readings=torch.tensor([[3.0, 0.0], [0.0, 2.0]]),
        positives=torch.tensor([[0.5, 0.0], [-1.0, 0.0]]),
        negatives=torch.tensor([[[0.0, 4.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]),
        negative_mask=torch.tensor([[True, False], [True, True]]),
        groups=torch.tensor([0, 1]),
    )
    e = math.e
    first = -math.log(e / (e + 1 + 1 / e))
    second = -math.log(1 / (1 + e + 1 / e + 1))  # own 0, negatives 1 and -1, the other picture's 0
    torch.testing.assert_close(contrast_of(rows, 1.0), torch.tensor([first, second]))
    assert glimpse_loss(rows, 1.0).item() == pytest.approx((first + second) / 2)


def test_pictures_of_the_same_verb_are_no_negatives() -> None:
    # Two pictures of one verb with the same rationale and one of another verb: without masking, log 3 instead of log 2.
    same = torch.ones(3, 2)
    scene = Aligned(same, same, torch.zeros(3, 0, 2), torch.zeros(3, 0, dtype=torch.bool), torch.tensor([4, 4, 9]))
    of_row = contrast_of(scene)
    torch.testing.assert_close(of_row, torch.tensor([2.0, 2.0, 3.0]).log())
    assert glimpse_loss(scene, 0.5).item() == pytest.approx((2 * math.log(2) + math.log(3)) / 3)


def test_roles_meet_other_fillers_of_their_own_role_type_only() -> None:
    # Everything alike, so that a row's loss is the log of 1 + its number of negatives.
    roles = AlignedRoles(
        readings=torch.ones(5, 2),
        positives=torch.ones(5, 2),
        negatives=torch.ones(5, 1, 2),
        negative_mask=torch.zeros(5, 1, dtype=torch.bool),
        groups=torch.tensor([0, 1, 1, 2, NO_RATIONALE]),
        role_types=torch.tensor([0, 0, 0, 1, 0]),
        pictures=torch.tensor([0, 0, 1, 1, 2]),
    )
    # Row 0 meets rows 1 and 2, rows 1 and 2 meet row 0, row 3 is alone in its role type, row 4 has no rationale.
    per_picture = [(math.log(3) + math.log(2)) / 2, (math.log(2) + 0) / 2]
    assert gaze_loss(roles, 0.5).item() == pytest.approx(sum(per_picture) / 2)


def test_the_mean_is_over_a_pictures_roles_first() -> None:
    # Picture 8 has three roles without anything against them (0), picture 3 one with one negative as good (log 2).
    roles = AlignedRoles(
        readings=torch.ones(4, 2),
        positives=torch.ones(4, 2),
        negatives=torch.ones(4, 1, 2),
        negative_mask=torch.tensor([[False], [False], [False], [True]]),
        groups=torch.zeros(4, dtype=torch.long),
        role_types=torch.tensor([0, 1, 2, 3]),
        pictures=torch.tensor([8, 8, 8, 3]),
    )
    assert gaze_loss(roles, 1.0).item() == pytest.approx(math.log(2) / 2)


def test_rows_without_a_rationale_change_nothing_whatever_they_hold() -> None:
    roles = random_roles(3, 12, 3)
    kept = roles.groups != NO_RATIONALE
    rest = AlignedRoles(**{name: value[kept] for name, value in vars(roles).items()})
    dirty = replace(
        roles,
        readings=roles.readings.masked_fill(~kept[:, None], math.nan).requires_grad_(),
        positives=roles.positives.masked_fill(~kept[:, None], math.nan),
        negatives=roles.negatives.masked_fill(~roles.negative_mask[..., None], math.nan),  # and what is padded
    )
    for loss in (glimpse_loss, gaze_loss):
        found = loss(dirty, 0.1)
        assert found.item() == pytest.approx(loss(rest, 0.1).item(), rel=1e-6)
        (gradient,) = torch.autograd.grad(found, dirty.readings)
        assert gradient.isfinite().all()
        assert (gradient.abs().sum(dim=1) > 0).tolist() == kept.tolist()


def test_no_rationale_at_all_is_zero_and_trains_nothing() -> None:
    temperature = torch.tensor(0.1, requires_grad=True)
    bare = random_roles(0, 4, 2)
    bare = replace(bare, readings=bare.readings.requires_grad_(), groups=torch.full((4,), NO_RATIONALE))
    for loss in (glimpse_loss, gaze_loss):
        found = loss(bare, temperature)
        gradients = torch.autograd.grad(found, (bare.readings, temperature))
        assert found.item() == 0
        assert all(torch.equal(each, torch.zeros_like(each)) for each in gradients)


def test_nothing_against_a_row_is_zero_with_a_finite_gradient() -> None:
    temperature = torch.tensor(0.1, requires_grad=True)
    rows = random_roles(0, 4, 2)
    rows = replace(rows, readings=rows.readings.requires_grad_(), negative_mask=torch.zeros(4, 2, dtype=torch.bool))
    found = contrast_of(rows, temperature, same=torch.ones(4, 4, dtype=torch.bool))
    assert found.tolist() == [0, 0, 0, 0]
    for gradient in torch.autograd.grad(found.sum(), (rows.readings, temperature)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_gradients_of_readings_and_of_a_learned_temperature() -> None:
    rows = random_roles(1, 6, 2)
    texts = rows.positives.double(), rows.negatives.double(), rows.negative_mask
    same = rows.groups[:, None] == rows.groups
    same[0] = True
    inputs = (rows.readings.double().requires_grad_(), torch.tensor(0.3, dtype=torch.double, requires_grad=True))
    assert torch.autograd.gradcheck(lambda u, t: contrast(u, *texts, same, temperature=t), inputs)


def test_a_sharp_temperature_neither_overflows_nor_loses_small_losses() -> None:
    # exp(1 / 0.005) is beyond float32. The best positive against the worst negative, and the other way round.
    ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    rows = Aligned(
        ends[:1].repeat(2, 1), ends, ends.flip(0)[:, None], torch.ones(2, 1, dtype=torch.bool), torch.zeros(2)
    )
    assert contrast_of(rows, 0.005).tolist() == pytest.approx([0, 400])
    # cosines 1 and -1 at t = 1/6: log(1 + exp(-12)), the last digits of which a plain difference of sums would drop
    assert contrast_of(rows, 1 / 6)[0].item() == pytest.approx(math.log1p(math.exp(-12)), rel=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_short_inputs_compute_in_float32(dtype: torch.dtype) -> None:
    rows = random_roles(2, 12, 3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = contrast_of(rows, 0.05)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, contrast_of(rows, 0.05))
    short = replace(rows, **{n: getattr(rows, n).to(dtype) for n in ("readings", "positives", "negatives")})
    wide = replace(rows, **{n: getattr(short, n).float() for n in ("readings", "positives", "negatives")})
    assert torch.equal(contrast_of(short, 0.05), contrast_of(wide, 0.05))


def test_lengths_do_not_matter_and_a_zero_vector_is_harmless() -> None:
    rows = random_roles(4, 6, 2)
    longer = replace(rows, readings=rows.readings * 7, positives=rows.positives / 3, negatives=rows.negatives * 11)
    torch.testing.assert_close(contrast_of(longer), contrast_of(rows))
    assert unit_rows(torch.zeros(2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    empty = torch.zeros(6, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(contrast_of(replace(rows, readings=empty)).sum(), empty)
    assert gradient.isfinite().all()


def test_a_wider_pool_counts_and_its_group_without_a_rationale_does_not() -> None:
    # One row; elsewhere: another verb, the same verb, and a picture nobody wrote about. Only the first is a negative.
    one = torch.ones(1, 2)
    scene = Aligned(one, one, torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.bool), torch.tensor([5]))
    pool = Pool(torch.ones(4, 2), torch.tensor([5, 6, 5, NO_RATIONALE]))
    assert glimpse_loss(scene, 1.0).item() == 0
    assert glimpse_loss(scene, 1.0, pool).item() == pytest.approx(math.log(2))


def test_one_process_gathers_what_it_has() -> None:
    roles = random_roles(0, 4, 1)
    pool = gather_pool(roles.positives, roles.groups, roles.role_types)
    assert pool.positives is roles.positives
    assert pool.role_types is roles.role_types
    assert gaze_loss(roles, 0.1, pool).item() == gaze_loss(roles, 0.1).item()


def test_misuse_is_a_sentence() -> None:
    roles = random_roles(0, 4, 1)
    with pytest.raises(ValueError, match="pass them to gather_pool"):
        gaze_loss(roles, 0.1, gather_pool(roles.positives, roles.groups))
    with pytest.raises(ValueError, match=r"same is \(4, 1\); 4 rows and a pool of 4"):
        contrast_of(roles, same=torch.ones(4, 1, dtype=torch.bool))


def test_it_moves_as_one() -> None:
    moved = random_roles(0, 4, 1).to("meta")
    assert all(value.device.type == "meta" for value in vars(moved).values())
