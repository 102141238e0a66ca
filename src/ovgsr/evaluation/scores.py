"""The fourteen numbers of the SWiG metrics, and the integer sums they all derive from.

Every sum is a whole number kept for each annotated verb, so results add up exactly whatever the number of processes
and the order of the pictures, and one set of sums gives the macro, the per-image and the micro averages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Average = Literal["macro", "per_image", "micro"]
SETTINGS = ("top1", "top5", "ground_truth_verb")
MEAN_UNIT = 232_792_560
"""The least common multiple of 1..22: hits / roles of a picture is a whole number of its parts (frames of 22 roles)."""
COMMON = ("images", "slots", "verb_top1", "verb_top5")
OF_SETTING = ("hits", "mean", "all", "grounded_hits", "grounded_mean", "grounded_all")
ROLE_COLUMNS = frozenset({"hits", "mean", "grounded_hits", "grounded_mean"})
COLUMNS = (*COMMON, *(f"{setting}.{name}" for setting in SETTINGS for name in OF_SETTING))
"""The columns of the sums, one row a verb: 22 whole numbers; ``mean`` columns count in parts of 1 / MEAN_UNIT."""
POSITION = {name: position for position, name in enumerate(COLUMNS)}


@dataclass(frozen=True, slots=True)
class SettingScores:
    """Nouns and boxes under one gate, percent; nan where there is no picture."""

    value: float
    value_all: float
    grnd_value: float
    grnd_value_all: float


@dataclass(frozen=True, slots=True)
class FourteenNumbers:
    """What the SWiG benchmark reports of a set of pictures, percent; nan where there is no picture."""

    verb_top1: float
    verb_top5: float
    top1: SettingScores
    top5: SettingScores
    ground_truth_verb: SettingScores

    def to_json(self) -> dict[str, Any]:
        """The block of a results file; null where there is no picture."""
        return {name: _block(value) for name, value in asdict(self).items()}

    def flat(self) -> tuple[float, ...]:
        """The fourteen in table order."""
        settings = (self.top1, self.top5, self.ground_truth_verb)
        each = [(s.value, s.value_all, s.grnd_value, s.grnd_value_all) for s in settings]
        return (self.verb_top1, self.verb_top5, *each[0], *each[1], *each[2])


def _block(value: float | dict[str, float]) -> Any:
    if isinstance(value, dict):
        return {name: number_or_null(number) for name, number in value.items()}
    return number_or_null(value)


def number_or_null(number: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(number) else number


@dataclass(frozen=True, slots=True)
class GroupScores:
    """A subset's numbers under the profile's own average, and under the two averages that subsets are compared in."""

    images: int
    numbers: FourteenNumbers
    macro: FourteenNumbers
    per_image: FourteenNumbers

    def to_json(self) -> dict[str, Any]:
        """The block of a results file: the profile's own numbers, then ``macro`` and ``per_image``."""
        averages = {"macro": self.macro.to_json(), "per_image": self.per_image.to_json()}
        return {"images": self.images, **self.numbers.to_json(), **averages}


class SituationScores:
    """A profile's results. ``groups`` holds "all" and every subset asked for.

    No dataclass on purpose: torchmetrics rebuilds the dataclasses that ``compute`` returns, and refuses frozen ones.
    """

    __slots__ = ("groups", "profile")

    def __init__(self, profile: str, groups: Mapping[str, GroupScores]) -> None:
        self.profile = profile
        self.groups = dict(groups)

    @property
    def all(self) -> GroupScores:
        """Every picture."""
        return self.groups["all"]

    @property
    def harmonic_mean_verb_top1(self) -> float:
        """Of the subsets seen and unseen; nan where one of them is absent or empty."""
        if not {"seen", "unseen"} <= self.groups.keys():
            return math.nan
        return harmonic_mean(self.groups["seen"].numbers.verb_top1, self.groups["unseen"].numbers.verb_top1)

    def to_json(self) -> dict[str, Any]:
        """The results file of one profile (``docs/evaluation.md``), percent."""
        groups = {name: group.to_json() for name, group in self.groups.items()}
        harmonic = number_or_null(self.harmonic_mean_verb_top1)
        return {"profile": self.profile, **groups, "harmonic_mean_verb_top1": harmonic}


def harmonic_mean(first: float, second: float) -> float:
    """2ab / (a + b); 0 where both are 0."""
    return 0.0 if first + second == 0 else 2 * first * second / (first + second)


def scores_from_sums(
    sums: Tensor, verbs: Sequence[str], groups: Mapping[str, Sequence[str]], profile: str, average: Average
) -> SituationScores:
    """Results from the sums (V, 22), one row a verb of ``verbs``.

    A group's verb that is not in ``verbs`` has no picture and changes nothing.
    """
    sums = sums.cpu()
    row_of = {verb: row for row, verb in enumerate(verbs)}
    rows = {"all": list(range(len(verbs)))}
    rows |= {name: [row_of[verb] for verb in members if verb in row_of] for name, members in groups.items()}
    return SituationScores(profile, {name: _group(sums[chosen], average) for name, chosen in rows.items()})


def _group(sums: Tensor, average: Average) -> GroupScores:
    """``sums`` (v, 22) of one group's verbs; verbs without pictures leave the macro average alone."""
    sums = sums[sums[:, POSITION["images"]] > 0]
    by_average = {
        "macro": _numbers(sums, "macro"),
        "per_image": _numbers(sums.sum(dim=0, keepdim=True), "per_image"),
        "micro": _numbers(sums.sum(dim=0, keepdim=True), "micro"),
    }
    # Every profile reports the verb itself per image, as all evaluators in use do.
    own, per_image = by_average[average], by_average["per_image"]
    numbers = FourteenNumbers(per_image.verb_top1, per_image.verb_top5, own.top1, own.top5, own.ground_truth_verb)
    return GroupScores(int(sums[:, POSITION["images"]].sum()), numbers, by_average["macro"], per_image)


def _numbers(rows: Tensor, average: Average) -> FourteenNumbers:
    """The mean over ``rows`` (one a verb for macro, one in all otherwise) of the ratios within a row."""
    if not len(rows) or int(rows[:, POSITION["images"]].sum()) == 0:
        nothing = SettingScores(math.nan, math.nan, math.nan, math.nan)
        return FourteenNumbers(math.nan, math.nan, nothing, nothing, nothing)
    table = rows.to(torch.float64)
    images, slots = table[:, :1], table[:, 1:2]
    over_roles = images * MEAN_UNIT if average == "per_image" else slots
    of_setting = [over_roles if name in ROLE_COLUMNS else images for name in OF_SETTING]
    over = torch.cat([images, slots, images, images, *of_setting * len(SETTINGS)], dim=1)
    percent = dict(zip(COLUMNS, (100.0 * (table / over).mean(dim=0)).tolist(), strict=True))
    hits = "mean" if average == "per_image" else "hits"

    def setting(name: str) -> SettingScores:
        return SettingScores(
            percent[f"{name}.{hits}"],
            percent[f"{name}.all"],
            percent[f"{name}.grounded_{hits}"],
            percent[f"{name}.grounded_all"],
        )

    top1, top5, ground_truth_verb = map(setting, SETTINGS)
    return FourteenNumbers(percent["verb_top1"], percent["verb_top5"], top1, top5, ground_truth_verb)
