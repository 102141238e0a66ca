"""A task: what is summed up, who has a gradient, and what the projections are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ovgsr.config import DistillSettings, LossSettings
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import Batch, Targets, TeacherSignals, TextEmbeddings, Views
from ovgsr.training.tasks import SituationTask

Student = Callable[..., SituationTransformer]
TEXT_WIDTH, COUNTS = 12, torch.tensor([5.0, 3.0, 1.0])
TAUGHT = DistillSettings(signals="readings", instance=0.5)


def _batch(*, views: int = 2, teacher: bool = True, tokens: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    targets = Targets(
        verb_index=torch.tensor([1, 0]),
        role_mask=torch.tensor([[True, True, True], [True, True, False]]),
        noun_index=torch.randint(5, (2, 3, 3), generator=generator),
        boxes_cxcywh=torch.rand(2, 3, 4, generator=generator),
        grounded=torch.tensor([[True, False, True], [True, False, False]]),
    )
    pixels, seen = random(2, 3, 32, 32), Views(random(views, 3, 32, 32), random(views, TEXT_WIDTH)) if views else None
    signals = TeacherSignals(
        random(2, TEXT_WIDTH), random(2, 4, 6), random(2, 4, 7) if tokens else None, (2, 2) if tokens else None
    )
    return Batch(pixels, torch.ones(2, 2), torch.arange(2), targets, signals if teacher else None, seen)


def _task(make: Student, distill: DistillSettings, *, tokens: int = 0, **settings: Any) -> SituationTask:
    torch.manual_seed(0)
    student = make(distilled_readout=True, **settings)
    roles = 6 if distill.signals else 0  # as a teacher's folder has them
    return SituationTask(student, LossSettings(), distill, role_width=roles, token_width=tokens).eval()


def test_terms_and_report_with_and_without_a_teacher(
    make_student: Student, random_text: Callable[..., TextEmbeddings]
) -> None:
    plain = ["verb", "noun", "box_l1", "box_giou", "grounded"]
    losses, report = _task(make_student, DistillSettings())(_batch(views=0, teacher=False), random_text(), COUNTS)
    assert list(losses) == plain
    assert list(report) == [*plain, "verb_top1"]
    losses, report = _task(make_student, TAUGHT)(_batch(), random_text(), COUNTS)
    assert list(losses) == [*plain, "scene", "relation", "instance"]
    assert set(report) == {*losses, "verb_top1"}
    with_tokens = DistillSettings(tokens=1.0, token_cache="cache")
    losses, _ = _task(make_student, with_tokens, tokens=7)(_batch(tokens=True), random_text(), COUNTS)
    assert list(losses) == [*plain, "tokens"]
    with pytest.raises(ValueError, match="training needs a batch with targets"):
        _task(make_student, TAUGHT)(replace(_batch(), targets=None), random_text(), COUNTS)


def _gradients(task: SituationTask, names: tuple[str, ...], text: TextEmbeddings, batch: Batch) -> set[str]:
    task.zero_grad(set_to_none=True)
    losses, _ = task(batch, text, COUNTS)
    torch.stack([losses[name] for name in names]).sum().backward()  # type: ignore[no-untyped-call]
    return {name for name, value in task.named_parameters() if value.grad is not None and bool(value.grad.any())}


def test_who_learns_from_what(make_student: Student, random_text: Callable[..., TextEmbeddings]) -> None:
    task, text, batch = _task(make_student, TAUGHT), random_text(), _batch()

    def parts(*losses: str) -> set[str]:
        return {name.removeprefix("model.").split(".")[0] for name in _gradients(task, losses, text, batch)}

    of_annotations = parts("verb", "noun", "box_l1", "box_giou", "grounded")
    assert {"distilled", "distilled_scores", "projections"}.isdisjoint(of_annotations)
    of_scenes = parts("scene", "relation")
    assert of_scenes == {"tower", "encoder", "distilled", "distilled_scores"}
    of_roles = parts("instance")
    assert {"projections", "role_decoder", "merge"} <= of_roles
    assert {"recognition", "verb_scores", "distilled"}.isdisjoint(of_roles)


def test_every_trainable_weight_has_a_gradient(
    make_student: Student, random_text: Callable[..., TextEmbeddings]
) -> None:
    """Data-parallel training waits for each of them."""
    every = ("verb", "noun", "box_l1", "box_giou", "grounded")
    cases = [
        (_task(make_student, TAUGHT), _batch(), (*every, "scene", "relation", "instance")),
        (_task(make_student, TAUGHT), _batch(views=0), (*every, "scene", "relation", "instance")),
        (_task(make_student, DistillSettings()), _batch(views=0, teacher=False), every),
        (_task(make_student, DistillSettings(label_text=True)), _batch(views=0, teacher=False), (*every, "scene")),
    ]
    for task, batch, names in cases:
        found = _gradients(task, names, random_text(), batch)
        trainable = {name for name, value in task.named_parameters() if value.requires_grad}
        # A constant added to every key changes no softmax: the gradient is there, and nothing.
        silent = {name for name in trainable - found if task.get_parameter(name).grad is None}
        assert silent == set()


def test_the_distilled_readout_stands_still_without_a_teacher(make_student: Student) -> None:
    task = _task(make_student, DistillSettings())
    frozen = {name for name, value in task.named_parameters() if not value.requires_grad}
    readout = {name for name, _ in task.named_parameters() if name.startswith("model.distilled")}
    assert readout <= frozen
    assert len(task.projections) == 0
    taught = _task(make_student, TAUGHT)
    frozen = {name for name, value in taught.named_parameters() if not value.requires_grad}
    assert frozen == {"model.distilled_scores.log_scale"}, "dev chooses the scale"


def test_views_are_seen_by_the_distilled_readout_alone(
    make_student: Student, random_text: Callable[..., TextEmbeddings]
) -> None:
    """In evaluation mode, where batch statistics are fixed: other views, the same terms of the annotations."""
    task, text = _task(make_student, TAUGHT), random_text()
    with torch.no_grad():
        first, _ = task(_batch(), text, COUNTS)
        without, _ = task(replace(_batch(), views=None), text, COUNTS)
    for name in ("verb", "noun", "box_l1", "box_giou", "grounded", "instance"):
        torch.testing.assert_close(first[name], without[name])
    assert abs(float(first["scene"] - without["scene"])) > 1e-3


def test_a_term_without_weight_has_no_projection(make_student: Student) -> None:
    off = TAUGHT.model_copy(update={"instance": 0.0})
    assert len(_task(make_student, off).projections) == 0
    assert set(_task(make_student, TAUGHT).projections) == {"roles"}
    no_roles = SituationTask(make_student(distilled_readout=True), LossSettings(), TAUGHT, role_width=0)
    assert len(no_roles.projections) == 0
