from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ovgsr.config import DistillSettings, LossSettings
from ovgsr.losses.criterion import distillation_losses, task_losses
from ovgsr.losses.distillation import instance_loss, relation_loss, scene_loss, token_loss
from ovgsr.losses.recognition import log_prior, verb_loss
from ovgsr.tensors import Batch, RoleOutputs, Targets, TeacherSignals, TextEmbeddings, VerbScores, Views

COUNTS = torch.tensor([50.0, 5.0, 1.0])


def _case() -> tuple[VerbScores, RoleOutputs, Targets]:
    torch.manual_seed(0)
    roles = RoleOutputs(
        noun_logits=torch.randn(2, 2, 4, requires_grad=True),
        boxes_cxcywh=torch.rand(2, 2, 4, requires_grad=True),
        grounded_logits=torch.randn(2, 2, requires_grad=True),
        features=torch.zeros(2, 2, 8),
    )
    targets = Targets(
        verb_index=torch.tensor([2, 0]),
        role_mask=torch.tensor([[True, True], [True, False]]),
        noun_index=torch.tensor([[[1, 1], [0, 2]], [[3, 3], [-1, -1]]]),
        boxes_cxcywh=torch.rand(2, 2, 4),
        grounded=torch.tensor([[True, False], [True, False]]),
    )
    scores = VerbScores(torch.randn(2, 3, requires_grad=True), distilled=torch.randn(2, 3, requires_grad=True))
    return scores, roles, targets


def test_terms_are_weighted_and_the_report_is_not() -> None:
    scores, roles, targets = _case()
    settings = LossSettings(verb=2, noun=3, box_l1=5, box_giou=7, grounded=11)
    losses, report = task_losses(scores.recognition, roles, targets, settings, COUNTS)
    assert list(losses) == list(report) == ["verb", "noun", "box_l1", "box_giou", "grounded"]
    for name, weight in (("verb", 2), ("noun", 3), ("box_l1", 5), ("box_giou", 7), ("grounded", 11)):
        assert losses[name].item() == pytest.approx(weight * report[name].item(), rel=1e-6)
        assert not report[name].requires_grad


BALANCE = [
    # setting, strength, the prior it stands for
    ("none", 1.0, None),
    ("balanced_softmax", 0.3, log_prior(COUNTS)),  # has no strength of its own
    ("logit_adjustment", 0.3, log_prior(COUNTS, 0.3)),
    ("logit_adjustment", 1.0, log_prior(COUNTS)),  # tau 1 is balanced softmax
]


@pytest.mark.parametrize(("balance", "tau", "prior"), BALANCE)
def test_the_balance_chooses_the_prior(balance: str, tau: float, prior: torch.Tensor | None) -> None:
    scores, roles, targets = _case()
    settings = LossSettings.model_validate({"balance": balance, "adjustment": tau})
    losses, _ = task_losses(scores.recognition, roles, targets, settings, COUNTS)
    assert losses["verb"].item() == pytest.approx(verb_loss(scores.recognition, targets.verb_index, prior).item())


def test_a_batch_with_nothing_grounded_and_no_known_noun_is_finite() -> None:
    scores, roles, targets = _case()
    bare = replace(
        targets,
        noun_index=torch.full((2, 2, 2), -1),
        boxes_cxcywh=torch.zeros(2, 2, 4),
        grounded=torch.zeros(2, 2, dtype=torch.bool),
    )
    losses, _ = task_losses(scores.recognition, roles, bare, LossSettings(), COUNTS)
    assert losses["noun"].item() == losses["box_l1"].item() == losses["box_giou"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    for tensor in (scores.recognition, roles.noun_logits, roles.boxes_cxcywh, roles.grounded_logits):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


TEXT = TextEmbeddings(torch.eye(3, 5), torch.zeros(3, 2, 5), torch.ones(3, 2, dtype=torch.bool), torch.zeros(4, 5), "")
RANDOM = torch.Generator().manual_seed(1)
READ = {
    "scene": torch.randn(2, 5, generator=RANDOM),
    "roles": torch.randn(2, 4, 6, generator=RANDOM),
    "tokens": torch.randn(2, 4, 7, generator=RANDOM),
}


def _batch(targets: Targets, *, views: bool = True, **signals: torch.Tensor) -> Batch:
    seen = Views(torch.zeros(3, 3, 8, 8), torch.eye(3, 5)) if views else None
    teacher = TeacherSignals(**signals, tokens_grid=(2, 2)) if signals else None  # type: ignore[arg-type]
    return Batch(torch.zeros(2, 3, 8, 8), torch.ones(2, 2), torch.arange(2), targets, teacher, seen)


class Centred:
    """A text turned round, to tell it from the text itself: what the distilled readout would call its words."""

    def words(self, texts: torch.Tensor) -> torch.Tensor:
        return texts.flip(-1)


def test_the_teachers_terms_are_those_of_the_losses_and_views_have_a_scene_only() -> None:
    _, _, targets = _case()
    settings = DistillSettings(
        signals="s", scene=2, relation=3, relation_temperature=0.5, instance=5, tokens=7, token_cache="t"
    )
    scene, roles, tokens = torch.randn(5, 5, requires_grad=True), torch.randn(2, 2, 6), torch.randn(2, 16, 7)
    losses, report = distillation_losses(
        settings,
        _batch(targets, **READ),
        targets.verb_index,
        TEXT,
        scene=scene,
        roles=roles,
        tokens=tokens,
        grid=(4, 4),
        words=Centred(),
    )
    read = torch.cat([READ["scene"], torch.eye(3, 5)])
    expected = {
        "scene": scene_loss(scene, read),
        "relation": relation_loss(scene, read, read, temperature=0.5),
        "instance": instance_loss(roles, READ["roles"][:, :2], targets.role_mask),  # the batch's frames are shorter
        "tokens": token_loss(tokens, READ["tokens"], (4, 4), (2, 2)),
    }
    assert list(losses) == list(report) == list(expected)
    for (name, value), weight in zip(expected.items(), (2, 3, 5, 7), strict=True):
        assert report[name].item() == pytest.approx(value.item())
        assert losses[name].item() == pytest.approx(weight * value.item())
    losses["scene"].backward()
    assert scene.grad is not None
    assert (scene.grad != 0).any(dim=1).all(), "views teach as pictures do"


def test_the_control_learns_the_text_of_the_annotated_verb_and_needs_no_teacher() -> None:
    _, _, targets = _case()  # verbs 2 and 0
    scene = TEXT.verbs.flip(-1)[[2, 0]]
    settings = DistillSettings(label_text=True)
    batch = _batch(targets, views=False)
    for given, loss in ((scene, 0.0), (-scene, 2.0)):
        _, report = distillation_losses(
            settings,
            batch,
            targets.verb_index,
            TEXT,
            scene=given,
            roles=None,
            tokens=None,
            grid=(1, 1),
            words=Centred(),
        )
        assert list(report) == ["scene", "relation"]
        assert report["scene"].item() == pytest.approx(loss, abs=1e-6)


def test_what_neither_side_has_makes_no_term() -> None:
    _, _, targets = _case()
    settings = DistillSettings(signals="s")
    for batch in (_batch(targets, views=False), _batch(targets, views=False, scene=READ["scene"])):
        losses, _ = distillation_losses(
            settings,
            batch,
            targets.verb_index,
            TEXT,
            scene=None,
            roles=torch.zeros(2, 2, 6),
            tokens=torch.zeros(2, 4, 7),
            grid=(2, 2),
            words=None,
        )
        assert losses == {}


def test_pictures_the_teacher_did_not_read_do_not_count() -> None:
    """Rows of zeros: the loss is that of the other picture alone."""
    _, _, targets = _case()
    settings = DistillSettings(signals="s")
    half = READ["scene"].clone()
    half[0] = 0
    scene = torch.randn(2, 5)
    found = distillation_losses(
        settings,
        _batch(targets, views=False, scene=half),
        targets.verb_index,
        TEXT,
        scene=scene,
        roles=None,
        tokens=None,
        grid=(1, 1),
        words=None,
    )[1]
    assert found["scene"].item() == pytest.approx(scene_loss(scene[1:], half[1:]).item())
    assert found["relation"].item() == pytest.approx(0, abs=1e-6)  # one anchor: nothing to be closer to
