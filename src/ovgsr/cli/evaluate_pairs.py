"""The part of ``ovgsr evaluate`` for human-object interactions: HICO-DET and data in its format."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.table import Table

    from ovgsr.data.hico_det import HicoDetFold
    from ovgsr.data.swig import Fold
    from ovgsr.evaluation.hico_det import InteractionReport, KnownObjects
    from ovgsr.hoi_vocabulary import HoiSplit, Interaction


class System(Protocol):
    """What can be scored without a predictions file (``evaluate_pair_model.PairModel``)."""

    def report(self, data: Path, test: PairTest, /) -> tuple[InteractionReport, tuple[str, ...]]:
        """The scores, and sentences that belong to them."""


def evaluate_interactions(
    source: Path | System | None,
    data: Path,
    fold: str | None,
    split: Path | None,
    profile: Sequence[str] | None,
    mode: Sequence[str] | None,
    json_out: Path | None,
) -> None:
    """What ``ovgsr evaluate`` does with data that hold interactions; ``source`` is a file, or a system to run."""
    from ovgsr.errors import OvgsrError

    if profile or source is None:
        raise OvgsrError(f"{data}: interactions are scored with --model or --predictions, and --mode if need be")
    test = pair_test(data, fold, split, mode or ())
    if isinstance(source, Path):
        publish(report_of_file(source, test), json_out)
    else:
        report, notices = source.report(data, test)
        publish(report, json_out, notices)


@dataclass(frozen=True, slots=True)
class PairTest:
    """A fold of interactions with all that its evaluation needs to know beside the predictions."""

    fold: Fold
    read: HicoDetFold
    splits: dict[str, frozenset[Interaction]]
    """Name -> what is unseen on this fold."""
    left_out: dict[str, frozenset[Interaction]]
    """Name -> what is kept from training for another fold's sake."""
    known_objects: KnownObjects
    modes: Sequence[str]


def pair_test(data: Path, fold: str | None, split: Path | None, modes: Sequence[str]) -> PairTest:
    """Reads what predictions are scored against; without a fold, what a file's name tells of, or test."""
    from ovgsr.data.errors import DataError
    from ovgsr.data.hico_det import fold_of, read_hico_det
    from ovgsr.data.hico_labels import labelled_objects, labels_path
    from ovgsr.data.swig import FOLDS
    from ovgsr.evaluation.hico_det import MODES, KnownObjects, mode_named
    from ovgsr.hoi_vocabulary import hico_det_interactions

    asked = fold_of(data) if fold is None else next((known for known in FOLDS if known == fold), None)
    if asked is None:
        raise DataError(f"the fold {fold!r} does not exist; choose train, dev or test")
    named = fold_of(data, otherwise=asked)
    if named != asked:
        raise DataError(f"{data}: this file's name says {named}, --fold says {fold}; give the file of that fold")
    for name in modes:
        mode_named(name)
    read = read_hico_det(data, named)
    original = read.interactions == hico_det_interactions()
    labels = labels_path(data) if original else None
    if labels is None:
        known_objects = KnownObjects.of_rows(read.images)
    else:
        objects_of = labelled_objects(labels, named, read.interactions)
        known_objects = KnownObjects(f"a picture has the objects of its positive labels in {labels.name}", objects_of)
    splits = _splits(data, split, read, original)
    unseen = {each.name or "own": each.unseen_on(named) for each in splits if each.unseen_on(named)}
    left_out = {each.name or "own": each.held_out - each.unseen_on(named) for each in splits}
    return PairTest(named, read, unseen, left_out, known_objects, modes or tuple(MODES))


def _splits(data: Path, split: Path | None, read: HicoDetFold, original: bool) -> list[HoiSplit]:
    """The split asked for; else HICO-DET's own, where the data is HICO-DET, and the one beside the data."""
    from ovgsr.data.hoi_splits import read_hoi_split, require_known_interactions
    from ovgsr.hoi_vocabulary import HICO_DET_SPLITS, hico_det_split

    splits = [hico_det_split(name) for name in HICO_DET_SPLITS] if original and split is None else []
    chosen = read_hoi_split(data, split)
    if chosen is not None:
        require_known_interactions(chosen, read.interactions)
        splits.append(chosen)
    return splits


def report_of_file(predictions: Path, test: PairTest) -> InteractionReport:
    """Scores a predictions file of any system."""
    from ovgsr.cli.progress import progress_bar
    from ovgsr.evaluation.columns import Findings
    from ovgsr.evaluation.hico_det import evaluate_columns
    from ovgsr.evaluation.hoi_columns import encode_gold
    from ovgsr.evaluation.hoi_predictions import read_pairs
    from ovgsr.hoi_vocabulary import coco91_ids

    findings, read = Findings(), test.read
    gold = encode_gold(read.images, read.interactions)
    with progress_bar("reading predictions", "steps") as progress:
        pairs = read_pairs(predictions, gold, tuple(coco91_ids()), findings, progress)
    against = (test.known_objects, read.rare, test.splits, test.modes, test.fold)
    return evaluate_columns(pairs, gold, *against, findings, left_out=test.left_out)


def publish(report: InteractionReport, json_out: Path | None, notices: Sequence[str] = ()) -> None:
    """Prints the table, notes and warnings, and writes the results file where one is asked for."""
    from ovgsr.cli.progress import console, messages
    from ovgsr.evaluation.hico_det import SETTINGS
    from ovgsr.files import write_text_atomically

    for setting in SETTINGS:
        console.print(_table(report, setting))
    results = [means for settings in report.modes.values() for means in settings.values()]
    if results[0].splits:
        apart = max(means.largest_disagreement for means in results)
        check = f"check: full = w unseen + (1 - w) seen in every split, largest difference {apart:.0e}"
        console.print(check, highlight=False, soft_wrap=True)
    console.print(f"Known Object: {report.known_objects}", highlight=False, soft_wrap=True)
    for kind, sentences in (("note", notices), ("warning", report.warnings)):
        for sentence in sentences:
            messages.print(f"{kind}: {sentence}", highlight=False, markup=False)
    if json_out is not None:
        record = report.to_json() | ({"notices": list(notices)} if notices else {})
        write_text_atomically(json_out, json.dumps(record, indent=2))
        console.print(f"results: {json_out}")


def _table(report: InteractionReport, setting: str) -> Table:
    """Means down, modes across; the five random splits by their mean, unless only some are there."""
    from rich.table import Table

    from ovgsr.evaluation.hico_det import SETTINGS, UC_SETS

    table = Table(title=f"{report.fold}, {SETTINGS[setting]}, mean average precision, percent", title_justify="left")
    table.add_column("mean over")
    table.add_column("classes", justify="right")
    for mode in report.modes:
        table.add_column(mode, justify="right")
    results = [settings[setting] for settings in report.modes.values()]

    def row(name: str, classes: int | None, numbers: Sequence[float]) -> None:
        cells = ("-" if math.isnan(number) else f"{number:.2f}" for number in numbers)
        table.add_row(name, "" if classes is None else str(classes), *cells)

    for name in ("full", "rare", "non_rare"):
        row(name.replace("_", "-"), report.classes[name], [getattr(means, f"map_{name}") for means in results])
    splits = [name for name in results[0].splits if "uc" not in results[0].splits or name not in UC_SETS]
    for split in splits:
        table.add_section()
        for part in ("unseen", "seen"):
            numbers = [getattr(means.splits[split], f"map_{part}") for means in results]
            row(f"{split} {part}", report.classes.get(f"{split}_{part}"), numbers)
        row(f"{split} harmonic mean", None, [means.splits[split].harmonic_mean for means in results])
    if "uc" in splits:
        table.caption = "uc: the means of uc0 to uc4"
    return table
