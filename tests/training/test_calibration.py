"""How the two readouts are mixed and the constant is chosen: cases worked out by hand, and who is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ovgsr.config import Config
from ovgsr.models.checkpoint import Calibration
from ovgsr.models.decode import split_scores
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.tensors import TextEmbeddings, VerbScores
from ovgsr.training import calibration as module
from ovgsr.training.calibration import (
    DISTILLED_SCALES,
    OFFSETS,
    RARE_OFFSETS,
    RECOGNITION_WEIGHTS,
    DevScores,
    best_offsets,
    calibrate,
    choose,
    dev_scores,
    harmonic_mean,
)
from ovgsr.training.training_data import TrainingData, read_training_data
from ovgsr.vocabulary import Vocabulary

Make = Callable[..., Config]


def _dev(
    recognition: list[list[float]],
    gold: list[int],
    groups: dict[str, list[int]],
    *,
    classes: Sequence[int] = (0, 1, -1),
    distilled: list[list[float]] | None = None,
    scale: float = 1.0,
) -> DevScores:
    count = len(classes)
    text = TextEmbeddings(
        torch.zeros(count, 2),
        torch.zeros(count, 1, 2),
        torch.ones(count, 1, dtype=torch.bool),
        torch.zeros(1, 2),
        "",
        verb_classes=torch.tensor(classes),
    )
    rows = range(len(gold))
    return DevScores(
        VerbScores(torch.tensor(recognition), None if distilled is None else torch.tensor(distilled)),
        text,
        torch.tensor(gold),
        {name: torch.tensor([row in chosen for row in rows]) for name, chosen in groups.items()},
        scale,
    )


GROUPS = {"seen": [0], "unseen": [1]}
OFFSET_CASES = [
    # logits of a seen and an unseen verb's picture (verb 2 is the unseen one), the constant; grid of quarters
    ([[3.0, 0.0, 0.0], [3.0, 0.0, 1.1]], 2.0),  # above 1.9, below 3; the smallest on the grid
    ([[3.0, 0.0, 0.0], [0.0, 0.0, 1.0]], 0.0),  # both right as they are
    ([[0.0, -9.0, 2.1], [0.0, -9.0, 9.0]], -2.25),  # the unseen verb wins everywhere: it has to go down, not up
    ([[0.0, 0.0, 9.0], [9.0, 0.0, -40.0]], 0.0),  # nothing on the grid makes both right: no constant
]


@pytest.mark.parametrize(("logits", "offset"), OFFSET_CASES)
def test_the_constant_by_hand(logits: list[list[float]], offset: float) -> None:
    dev = _dev(logits, [0, 2], GROUPS)
    chosen, scale = choose(dev, taught=False)
    assert (chosen.unseen_offset, chosen.recognition_weight, scale) == (offset, 1.0, 1.0)
    best = best_offsets(torch.tensor(logits).log_softmax(dim=-1), dev)
    assert best == (offset, 0.0, 100.0 if offset or logits[1][2] == 1 else 0.0)


def test_groups_count_the_same_whatever_their_number_of_pictures() -> None:
    """A constant of 2 would win one of one unseen picture and lose one of three seen ones: 3 / (1 + 1/1 + 3/2)."""
    logits = [[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 0.0, 1.5], [3.0, 0.0, 1.1]]
    dev = _dev(logits, [0, 0, 0, 2], {"seen": [0, 1, 2], "unseen": [3]})
    offset, rare_offset, value = best_offsets(torch.tensor(logits).log_softmax(dim=-1), dev)
    assert (offset, rare_offset) == (2.0, 0.0)
    assert value == pytest.approx(2 / (1 / 100 + 3 / 200))


MEANS = [([50.0, 50.0], 50.0), ([100.0, 50.0], 200 / 3), ([100.0, 0.0, 100.0], 0.0), ([30.0], 30.0)]


@pytest.mark.parametrize(("values", "mean"), MEANS)
def test_harmonic_means_by_hand(values: list[float], mean: float) -> None:
    assert harmonic_mean(values) == pytest.approx(mean)


def _mixture() -> DevScores:
    """Two seen pictures. In the first the recognizer is wrong by 1, in the second right by 1.

    The distilled readout is right by a cosine of 0.09 in the first and wrong by 0.06 in the second. With equal weights
    both come out right at scales between 1 / 0.09 = 11.1 and 1 / 0.06 = 16.7: at 15, of those on the grid. The scores
    were made at scale 40.
    """
    recognition = [[0.0, 1.0, -9.0], [0.0, 1.0, -9.0]]
    cosines = [[0.09, 0.0, -1.0], [0.06, 0.0, -1.0]]
    distilled = [[40 * value for value in row] for row in cosines]
    return _dev(recognition, [0, 1], {"seen": [0, 1]}, distilled=distilled, scale=40.0)


def test_the_mixture_by_hand() -> None:
    assert choose(_mixture(), taught=True) == (Calibration(0.0, recognition_weight=0.5), 15.0)


def test_a_readout_that_nobody_taught_has_no_say() -> None:
    assert choose(_mixture(), taught=False) == (Calibration(), 40.0)
    alone = replace(_mixture(), scores=VerbScores(_mixture().scores.recognition))
    assert choose(alone, taught=True) == (Calibration(), 40.0)


def test_the_best_of_the_grid_against_trying_everything() -> None:
    generator = torch.Generator().manual_seed(5)
    gold = torch.randint(6, (30,), generator=generator)
    signal = torch.nn.functional.one_hot(gold, 6)
    classes = torch.tensor([0, 1, 2, -1, -1, 3])
    recognition = 2 * torch.randn(30, 6, generator=generator) + 3 * signal * (classes >= 0) - 3.0 * (classes < 0)
    cosines = 0.2 * torch.randn(30, 6, generator=generator) + 0.3 * signal
    groups = {
        "seen": [i for i, verb in enumerate(gold.tolist()) if verb in (0, 1, 2)],
        "rare": [i for i, verb in enumerate(gold.tolist()) if verb == 5],
        "unseen": [i for i, verb in enumerate(gold.tolist()) if verb in (3, 4)],
    }
    assert all(groups.values())
    dev = _dev(
        recognition.tolist(),
        gold.tolist(),
        groups,
        classes=classes.tolist(),
        distilled=(12 * cosines).tolist(),
        scale=12.0,
    )
    chosen, scale = choose(dev, taught=True)

    def value(weight: float, at: float, offset: float) -> float:
        mixture = Calibration(offset, recognition_weight=weight)
        fused = split_scores(VerbScores(recognition, at * cosines), dev.text, mixture).fused
        winners = fused.argmax(dim=-1).tolist()
        right = [winner == verb for winner, verb in zip(winners, gold.tolist(), strict=True)]
        shares = [100 * sum(right[row] for row in rows) / len(rows) for rows in groups.values()]
        return harmonic_mean(shares)

    tried = [value(w, s, o) for w in RECOGNITION_WEIGHTS for s in DISTILLED_SCALES for o in OFFSETS]
    assert value(chosen.recognition_weight, scale, chosen.unseen_offset) == pytest.approx(max(tried))
    assert max(tried) > value(0.9, 7.0, 0.0) + 1, "the choice matters"


def test_rare_verbs_have_a_constant_of_their_own() -> None:
    """Verb 0 is seen, 1 rare, 2 unseen. The rare picture needs more than 0.9, the unseen one more than 1.4 over that.

    The seen picture bears less than 3 for each. The smallest pair on the grid that makes all three right.
    """
    logits = [[3.0, 0.0, 0.0], [2.0, 1.1, -1.0], [0.0, 2.0, 0.6]]
    dev = _dev(logits, [0, 1, 2], {"seen": [0], "rare": [1], "unseen": [2]})
    dev = replace(dev, text=replace(dev.text, rare_verbs=torch.tensor([False, True, False])))
    assert best_offsets(torch.tensor(logits), dev) == (2.5, 1.0, 100.0)
    chosen, _ = choose(dev, taught=False)
    assert (chosen.unseen_offset, chosen.rare_offset) == (2.5, 1.0)
    fused = split_scores(dev.scores, dev.text, chosen).fused
    assert fused.argmax(dim=-1).tolist() == [0, 1, 2]


def test_both_constants_against_trying_everything() -> None:
    generator = torch.Generator().manual_seed(8)
    gold = torch.randint(6, (40,), generator=generator)
    logits = 2 * torch.randn(40, 6, generator=generator) + 2 * torch.nn.functional.one_hot(gold, 6)
    logits -= torch.tensor([0.0, 0.0, 1.5, 1.5, 4.0, 4.0])
    groups = {
        name: [row for row, verb in enumerate(gold.tolist()) if verb in verbs]
        for name, verbs in (("seen", (0, 1)), ("rare", (2, 3)), ("unseen", (4, 5)))
    }
    dev = _dev(logits.tolist(), gold.tolist(), groups, classes=[0, 1, 2, 3, -1, -1])
    rare = torch.tensor([False, False, True, True, False, False])
    dev = replace(dev, text=replace(dev.text, rare_verbs=rare))
    found = best_offsets(logits, dev)
    unseen = torch.tensor([False] * 4 + [True] * 2)
    means = {}
    for offset in OFFSETS:
        for rare_offset in RARE_OFFSETS:
            right = (logits + offset * unseen + rare_offset * rare).argmax(dim=-1) == gold
            shares = [100 * float(right[torch.tensor(rows)].float().mean()) for rows in groups.values()]
            means[offset, rare_offset] = harmonic_mean(shares)
    assert found[2] == pytest.approx(max(means.values()))
    assert means[found[0], found[1]] == pytest.approx(found[2])
    assert found[2] > means[0.0, 0.0] + 1


@pytest.fixture(scope="module")
def data(tiny_config: Make) -> TrainingData:
    return read_training_data(tiny_config().data)


def _nobody() -> Any:
    return SimpleNamespace(checkpoint=SimpleNamespace(calibration=Calibration(0.25, recognition_weight=0.8)))


def _told(data: TrainingData, lead: float) -> list[ImagePrediction]:
    """Each picture's own verb is ``lead`` times as probable as every unseen one, and the other seen ones hopeless."""
    unseen, predictions = data.split.dev_unseen, []
    for image in data.dev:
        gold = image.situation.verb
        weights = dict.fromkeys(data.split.candidates("dev"), 1e-09) | dict.fromkeys(unseen, 1.0) | {gold: lead}
        total = sum(weights.values())
        ranking = sorted(((verb, weight / total) for verb, weight in weights.items()), key=lambda pair: -pair[1])
        predictions.append(ImagePrediction(image.file_name, tuple(ranking), {}))
    return predictions


@pytest.mark.parametrize("lead", [2.0, 5.0])
def test_without_dev_pictures_of_unseen_verbs_seen_ones_bound_the_constant(
    tiny_config: Make, data: TrainingData, monkeypatch: pytest.MonkeyPatch, lead: float
) -> None:
    trained = tuple(image for image in data.dev if image.situation.verb in data.split.training)
    data = replace(data, dev=trained)
    monkeypatch.setattr(module, "predict_dev", lambda *_: _told(data, lead))
    found = calibrate(_nobody(), data, tiny_config())
    assert found.unseen_offset == pytest.approx(math.log(lead), abs=1e-3)
    assert found.recognition_weight == 0.8, "the mixture stays"


def test_where_there_is_nothing_to_choose_nothing_changes(tiny_config: Make, data: TrainingData) -> None:
    before = _nobody().checkpoint.calibration
    assert calibrate(_nobody(), data, tiny_config(model={"head": "closed"})) == before
    assert calibrate(_nobody(), replace(data, dev=()), tiny_config()) == before
    no_seen = tuple(image for image in data.dev if image.situation.verb not in data.split.seen)
    assert calibrate(_nobody(), replace(data, dev=no_seen), tiny_config()) == before
    assert calibrate(_nobody(), replace(data, split=replace(data.split, dev_unseen=())), tiny_config()) == before


def test_dev_scores_are_of_dev_pictures_and_devs_own_verbs(
    trained_run: Path, tiny_config: Make, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = SituationRecognizer.from_pretrained(trained_run / "student", device="cpu")
    asked: list[tuple[Sequence[AnnotatedImage], Vocabulary]] = []
    real = module.score_annotated

    def spied(recognizer: SituationRecognizer, images: Any, folder: Path, vocabulary: Vocabulary, **named: Any) -> Any:
        asked.append((images, vocabulary))
        return real(recognizer, images, folder, vocabulary, **named)

    monkeypatch.setattr(module, "score_annotated", spied)
    dev = dev_scores(recognizer, data, tiny_config())
    ((images, vocabulary),) = asked
    assert set(vocabulary.verb_names) == {*data.split.training, *data.split.dev_unseen}
    assert set(data.split.unseen).isdisjoint(image.situation.verb for image in images)
    assert dev.scores.recognition.shape == (len(data.dev), len(vocabulary.verbs))
    names = [vocabulary.verb_names[index] for index in dev.verb_index.tolist()]
    assert names == [image.situation.verb for image in data.dev]
    for group, verbs in (("seen", data.split.seen), ("rare", data.split.rare), ("unseen", data.split.dev_unseen)):
        assert dev.groups[group].tolist() == [name in verbs for name in names]
    assert dev.text.verb_classes is not None
    unknown = {vocabulary.verb_names[i] for i in (dev.text.verb_classes < 0).nonzero()[:, 0].tolist()}
    assert unknown == set(data.split.dev_unseen)
    # What comes out of it is what the student is given.
    assert calibrate(recognizer, data, tiny_config()) == choose(dev, taught=False)[0]


def test_the_distilled_readouts_scale_is_written_into_the_student(
    make_checkpoint: Any, tiny_config: Make, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint(distilled_readout=True)
    recognizer: Any = SimpleNamespace(checkpoint=checkpoint, model=checkpoint.model)
    monkeypatch.setattr(module, "dev_scores", lambda *_: _mixture())
    found = calibrate(recognizer, data, tiny_config(distill={"label_text": True}))
    assert found == Calibration(0.0, recognition_weight=0.5)
    assert checkpoint.model.distilled_scores.log_scale.exp().item() == pytest.approx(15)
    untaught = make_checkpoint(distilled_readout=True)
    recognizer = SimpleNamespace(checkpoint=untaught, model=untaught.model)
    before = untaught.model.distilled_scores.log_scale.item()
    assert calibrate(recognizer, data, tiny_config()) == Calibration()
    assert untaught.model.distilled_scores.log_scale.item() == before
