"""Tuning prompts: which terms there are, which roles are drawn, when dev says stop. The teacher is a linear map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ovgsr.config import PromptSettings
from ovgsr.distillation.prompts import PromptReader, Readings, RoleInputs
from ovgsr.losses.alignment import NO_RATIONALE, Aligned, AlignedRoles, gaze_loss, glimpse_loss
from ovgsr.losses.distillation import scene_loss
from ovgsr.teacher.visual_tokens import VisualTokens
from ovgsr.training import prompt_tuning
from ovgsr.training.prompt_tuning import HeldOut, PromptTuning, TuningData, zero_shot

WIDTH, ROLES = 4, 3
SETTINGS = PromptSettings(steps=4, batch_size=3, roles=100, views=2, check_every=2, anchor=0.5, learning_rate=0.1)


class Linear(PromptReader):
    """Reads the first token of a picture through a matrix; a role's reading has its text added."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.matrix = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.told: list[RoleInputs | None] = []

    def forward(self, teacher: Any, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
        self.told.append(roles)
        scene = torch.stack([picture.tokens[0] for picture in visual]) @ self.matrix
        return Readings(scene, None if roles is None else (scene[:, None] + roles.texts) * roles.mask[..., None])


class Texts:
    """Rationales of eight pictures by hand; picture 2 has none, and picture 5 none of its first role."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(2)
        self.images = tuple(range(8))
        self.positives = torch.randn(8, WIDTH, generator=generator)
        self.of_roles = torch.randn(8, ROLES, WIDTH, generator=generator)

    def _rows(self, indices: Sequence[int]) -> list[tuple[int, int]]:
        rows = [(row, place) for row, index in enumerate(indices) if index != 2 for place in range(ROLES)]
        return [(row, place) for row, place in rows if (indices[row], place) != (5, 0)]

    def places(self, indices: Sequence[int]) -> Tensor:
        return torch.tensor([place for _, place in self._rows(indices)], dtype=torch.long)

    def glimpses(self, indices: Sequence[int], readings: Tensor) -> Aligned:
        count = len(indices)
        groups = torch.tensor([NO_RATIONALE if index == 2 else index % 3 for index in indices])
        none = torch.zeros(count, 0, WIDTH), torch.zeros(count, 0, dtype=torch.bool)
        return Aligned(readings, self.positives[list(indices)], *none, groups)

    def gazes(self, indices: Sequence[int], readings: Tensor) -> AlignedRoles:
        rows, places = torch.tensor(self._rows(indices), dtype=torch.long).reshape(-1, 2).unbind(1)
        pictures = torch.tensor(list(indices))[rows]
        count = len(rows)
        none = torch.zeros(count, 0, WIDTH), torch.zeros(count, 0, dtype=torch.bool)
        return AlignedRoles(readings[rows, places], self.of_roles[pictures, places], *none, pictures, places, rows)


TOKENS = torch.randn(20, 2, WIDTH, generator=torch.Generator().manual_seed(4))


def _visual(indices: Sequence[int]) -> list[VisualTokens]:
    return [VisualTokens(TOKENS[index], (1, 2)) for index in indices]


def _roles(indices: Sequence[int]) -> RoleInputs:
    count = len(indices)
    texts = torch.randn(8, ROLES, WIDTH, generator=torch.Generator().manual_seed(3))[list(indices)]
    return RoleInputs(
        texts,
        torch.ones(count, ROLES, dtype=torch.bool),
        torch.zeros(count, ROLES, 4),
        torch.zeros(count, ROLES, dtype=torch.bool),
    )


def _held_out() -> HeldOut:
    return HeldOut(_visual(range(4)), torch.tensor([0, 1, 2, 3]), torch.eye(WIDTH), {"seen": torch.tensor([True] * 4)})


def _tuning(settings: PromptSettings = SETTINGS, *, views: bool = True, held_out: HeldOut | None = None) -> Any:
    data: Any = TuningData(
        _visual,
        _roles,  # type: ignore[arg-type]
        Texts(),  # type: ignore[arg-type]
        (lambda places: _visual([10 + place for place in places])) if views else None,
        5 if views else 0,
        held_out,
    )
    teacher: Any = None
    return PromptTuning(Linear(), Linear(), teacher, data, settings)


def test_the_terms_are_those_of_the_losses() -> None:
    tuning, texts = _tuning(), Texts()
    with torch.no_grad():
        tuning.prompts.matrix.add_(0.3 * torch.eye(WIDTH))
    indices = [0, 2, 5, 6]
    found = tuning.losses(indices, [1, 3], np.random.default_rng(0))
    read = tuning.prompts(None, _visual(indices), _roles(indices))
    held = tuning.anchor(None, _visual(indices), None)
    assert list(found) == ["glimpse", "anchor", "gaze", "anchor_views"]
    torch.testing.assert_close(found["glimpse"], glimpse_loss(texts.glimpses(indices, read.scene), 0.1))
    torch.testing.assert_close(found["gaze"], gaze_loss(texts.gazes(indices, read.roles), 0.1))
    torch.testing.assert_close(found["anchor"], 0.5 * scene_loss(read.scene, held.scene))
    seen = _visual([11, 13])
    expected = 0.5 * scene_loss(tuning.prompts(None, seen, None).scene, tuning.anchor(None, seen, None).scene)
    torch.testing.assert_close(found["anchor_views"], expected)
    assert found["anchor"].item() > 0.001
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert tuning.prompts.matrix.grad is not None
    assert tuning.anchor.matrix.grad is None


def test_terms_that_nobody_asks_for_are_left_out() -> None:
    generator = np.random.default_rng(0)
    no_roles = _tuning(SETTINGS.model_copy(update={"roles": 0}), views=False)
    assert list(no_roles.losses([0, 1], [], generator)) == ["glimpse", "anchor"]
    assert no_roles.prompts.told[0] is None
    unwritten = _tuning(views=False).losses([2], [], generator)
    assert list(unwritten) == ["glimpse", "anchor"]
    assert unwritten["glimpse"].item() == 0


def test_a_share_of_the_roles_is_drawn_and_only_these_are_aligned() -> None:
    tuning = _tuning(SETTINGS.model_copy(update={"roles": 4}))
    indices, texts = [0, 1, 5, 6], Texts()
    found = tuning.losses(indices, [], np.random.default_rng(7))
    kept = tuning.prompts.told[0].mask
    assert int(kept.sum()) == 4
    read = tuning.prompts(None, _visual(indices), _roles(indices))
    gazes = texts.gazes(indices, read.roles)
    drawn = kept[gazes.pictures, texts.places(indices)]
    assert 0 < int(drawn.sum()) <= 4
    chosen = AlignedRoles(**{name: value[drawn] for name, value in vars(gazes).items()})
    torch.testing.assert_close(found["gaze"], gaze_loss(chosen, 0.1))
    again = _tuning(SETTINGS.model_copy(update={"roles": 4}))
    again.losses(indices, [], np.random.default_rng(7))
    assert torch.equal(again.prompts.told[0].mask, kept)
    again.losses(indices, [], np.random.default_rng(8))
    assert not torch.equal(again.prompts.told[1].mask, kept)


def test_a_run_goes_to_the_last_step_and_the_same_again() -> None:
    heard: list[tuple[int, set[str]]] = []
    first, again = _tuning(held_out=_held_out()), _tuning(held_out=_held_out())
    state = first.run(lambda step, numbers: heard.append((step, set(numbers))))
    terms, scores = {"glimpse", "anchor", "gaze", "anchor_views"}, {"zero_shot_seen", "harmonic_mean"}
    assert heard == [(0, scores), (1, terms), (2, terms), (2, scores), (3, terms), (4, terms), (4, scores)]
    assert [entry["step"] for entry in state.history] == [0, 2, 4]
    again.run()
    assert torch.equal(first.prompts.matrix, again.prompts.matrix)
    assert not torch.equal(first.prompts.matrix, Linear().matrix)
    assert torch.equal(first.anchor.matrix, Linear().matrix), "the anchor stands still"


def test_tuning_lowers_what_it_is_for() -> None:
    heard: list[dict[str, float]] = []
    tuning = _tuning(SETTINGS.model_copy(update={"steps": 30, "batch_size": 8, "anchor": 0.0}), views=False)
    tuning.run(lambda step, numbers: heard.append(numbers))
    assert heard[-1]["glimpse"] < 0.7 * heard[0]["glimpse"]


def test_no_step_keeps_the_start() -> None:
    tuning = _tuning(SETTINGS.model_copy(update={"steps": 0}), held_out=_held_out())
    assert tuning.run().step == 0
    assert torch.equal(tuning.prompts.matrix, Linear().matrix)


def test_the_temperature_is_learned_only_where_asked_for() -> None:
    for learn in (False, True):
        tuning = _tuning(SETTINGS.model_copy(update={"learn_temperature": learn, "temperature": 0.2}))
        assert tuning.temperature.exp().item() == pytest.approx(0.2)
        tuning.run()
        assert (tuning.temperature.exp().item() != pytest.approx(0.2, rel=1e-4)) == learn


def test_the_check_on_dev_by_hand() -> None:
    """Readings are centred over the pictures: of what they share, nothing counts."""

    class Known(PromptReader):
        def forward(self, teacher: Any, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
            assert roles is None
            return Readings(torch.stack([picture.tokens[0] for picture in visual]) + 100)

    right = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 2, 1]), WIDTH).float()
    held_out = HeldOut(
        [VisualTokens(row[None], (1, 1)) for row in right],
        torch.tensor([0, 1, 2, 0, 1]),
        torch.eye(WIDTH),
        {"seen": torch.tensor([1, 0, 0, 1, 0]) > 0, "unseen": torch.tensor([0, 1, 1, 0, 1]) > 0},
    )
    teacher: Any = None
    for batch in (100, 2):
        found = zero_shot(Known(), teacher, held_out, batch)
        assert found == pytest.approx({"zero_shot_seen": 50, "zero_shot_unseen": 100, "harmonic_mean": 200 / 3})


KEPT = [
    # dev before the first step, after two and after four; whose prompts are kept
    ([10.0, 30.0, 20.0], 2),
    ([10.0, 30.0, 30.0], 4),  # of equals the later
    ([30.0, 20.0, 10.0], 0),
]


@pytest.mark.parametrize(("scores", "step"), KEPT)
def test_the_best_on_dev_is_kept(monkeypatch: pytest.MonkeyPatch, scores: list[float], step: int) -> None:
    tuning = _tuning(held_out=_held_out())
    states: dict[int, Tensor] = {}

    def looked_at(prompts: Linear, *_: object) -> dict[str, float]:
        states[tuning.state.step] = prompts.matrix.detach().clone()
        return {"harmonic_mean": scores[tuning.state.step // 2]}

    monkeypatch.setattr(prompt_tuning, "zero_shot", looked_at)

    def watch(at: int, numbers: dict[str, float]) -> None:
        if "harmonic_mean" in numbers:  # whoever keeps the state now keeps the best of this look, too
            assert tuning.state.best_score == max(scores[: at // 2 + 1])

    tuning.run(watch)
    assert torch.equal(tuning.prompts.matrix, states[step])
    assert tuning.state.best_score == max(scores)
