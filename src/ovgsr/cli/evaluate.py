"""``ovgsr evaluate``: scores a model, or a predictions file of any system."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovgsr.cli import teacher_options as options

if TYPE_CHECKING:
    from rich.table import Table

    from ovgsr.evaluation.evaluate import EvaluationReport
    from ovgsr.evaluation.scores import SituationScores
    from ovgsr.models.checkpoint import Calibration
    from ovgsr.situation import AnnotatedImage, ImagePrediction
    from ovgsr.verb_split import VerbSplit
    from ovgsr.vocabulary import Vocabulary

_METRICS = ("value", "value-all", "grounded", "grounded-all")


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of the data set, in the layout of SWiG or HICO-DET, or a file.")],
    model: Annotated[str | None, typer.Option(help="Student to run: folder, hub name, or 'sketch'.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Predictions of any system (JSON Lines, .mat).")] = None,
    fold: Annotated[str | None, typer.Option(help="train, dev or test (the default, but for a file named so).")] = None,
    split: Annotated[
        Path | None, typer.Option(help="Split file, ov_swig, or HICO-DET's rf_uc, uv ...; default: the data set's own.")
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="official, coformer, situformer; may be repeated. Default: the first two.")
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option(help="HICO-DET: official, upt, gen-vlkt; may be repeated. Default: all.")
    ] = None,
    all_combinations: Annotated[
        bool, typer.Option("--all-combinations", help="HICO-DET, --model: every verb with every object.")
    ] = False,
    boxes: Annotated[
        Path | None, typer.Option(help="HICO-DET, --model: a detector's boxes (JSON Lines) in place of the student's.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the results file here.")] = None,
    save_predictions: Annotated[Path | None, typer.Option(help="Write the model's predictions file here.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    teacher: options.Teacher = None,
    teacher_precision: options.Precision = "auto",
    teacher_verbs: options.Verbs = "likelihood",
    teacher_roles: options.Roles = "json",
    teacher_calibration: options.Calibration = "none",
) -> None:
    """Verb top-1 / top-5, value and grounded value in the three verb settings, for seen, rare and unseen verbs.

    A model's table is printed without and with its constant for unseen verbs, which was chosen on dev pictures of
    seen verbs. On HICO-DET: mean average precision of interactions, full, rare, non-rare, and by zero-shot split.
    """
    from ovgsr.cli.evaluate_pair_model import PairModel
    from ovgsr.cli.evaluate_pairs import evaluate_interactions
    from ovgsr.data.hoi_check import holds_interactions

    _require_one_source(model, predictions, teacher, save_predictions)
    if holds_interactions(data):
        student = PairModel(model, device, all_combinations, boxes, save_predictions) if model else None
        evaluate_interactions(student or predictions, data, fold, split, profile, mode, json_out)
        return
    if mode or all_combinations or boxes:
        raise _not_interactions(data)
    fold = fold or "test"
    profiles = tuple(profile or ("official", "coformer"))
    notices: tuple[str, ...] = ()
    if predictions is not None:
        report = _of_file(predictions, data, split, fold, profiles)
    elif teacher is not None:
        asked = (teacher, teacher_precision, teacher_verbs, teacher_roles, teacher_calibration)
        report, notices = _of_teacher(asked, data, split, fold, profiles, save_predictions, device)
    else:
        report, notices = _of_model(str(model), data, split, fold, profiles, save_predictions, device)
    print_report(report)
    _publish(report, notices, profile[0] if profile and len(profile) == 1 else None, json_out)


def _require_one_source(
    model: str | None, predictions: Path | None, teacher: str | None, save_predictions: Path | None
) -> None:
    from ovgsr.errors import OvgsrError

    if sum(given is not None for given in (model, predictions, teacher)) != 1:
        raise OvgsrError("give either --model, --teacher or --predictions")
    if predictions is not None and save_predictions is not None:
        raise OvgsrError("--save-predictions is for --model and --teacher; --predictions is a predictions file already")


def _not_interactions(data: Path) -> Exception:
    from ovgsr.errors import OvgsrError

    return OvgsrError(
        f"{data}: --mode, --all-combinations and --boxes are for human-object interactions, which are not there; "
        "SWiG has --profile"
    )


def _publish(report: EvaluationReport, notices: tuple[str, ...], only: str | None, json_out: Path | None) -> None:
    """Prints notes and warnings, and writes the results file where one is asked for."""
    from ovgsr.cli.progress import console, messages
    from ovgsr.files import write_text_atomically

    for notice in notices:
        messages.print(f"note: {notice}", highlight=False, markup=False)
    for warning in report.warnings:
        messages.print(f"warning: {warning}", highlight=False, markup=False)
    if json_out is not None:
        results = report.to_json(only) | ({"notices": list(notices)} if notices else {})
        write_text_atomically(json_out, json.dumps(results, indent=2))
        console.print(f"results: {json_out}")


def print_report(report: EvaluationReport) -> None:
    """One table a profile, metrics down and subsets across; then the numbers that an open vocabulary adds."""
    from ovgsr.cli.progress import console

    for name, scores in report.profiles.items():
        console.print(_table(f"{report.fold}, profile {name}, percent", scores))
        if name in report.with_offset:
            rare = f", rare verbs +{report.rare_offset:.2f}" if report.rare_offset else ""
            title = f"{report.fold}, profile {name}, unseen verbs +{report.offset:.2f}{rare}"
            console.print(_table(title, report.with_offset[name]))
        if name in report.nouns:
            told = [f"{g} {n.value:.2f} / {n.grnd_value:.2f} of {n.roles} roles" for g, n in report.nouns[name].items()]
            console.print(f"nouns given the verb, value / grounded: {', '.join(told)}", highlight=False, soft_wrap=True)
    opened = report.open_vocabulary
    if opened is not None and opened.ausuc is not None:
        console.print(
            f"AUSUC {opened.ausuc:.2f}; unseen among unseen {opened.unseen_among_unseen:.2f} "
            f"(chance {opened.chance_unseen_among_unseen:.2f})"
        )


def _table(title: str, scores: SituationScores) -> Table:
    """The fourteen numbers of each subset under the profile's own average; per-image averages where they differ."""
    from rich.table import Table

    names = [f"{setting} {metric}" for setting in ("top-1", "top-5", "gold verb") for metric in _METRICS]
    columns = {f"{group}\n{result.images}": result.numbers.flat() for group, result in scores.groups.items()}
    for group, result in scores.groups.items():
        other = result.per_image.flat()
        if any(abs(x - y) > 0.005 for x, y in zip(other, result.numbers.flat(), strict=True)):
            columns[f"{group}\nper image"] = other
    table = Table(title=title, title_justify="left")
    table.add_column("\nimages")
    for heading in columns:
        table.add_column(heading, justify="right")
    for row, name in enumerate(["verb top-1", "verb top-5", *names]):
        table.add_row(name, *(f"{numbers[row]:.2f}" for numbers in columns.values()))
    if not math.isnan(scores.harmonic_mean_verb_top1):
        table.caption = f"harmonic mean of seen and unseen verb top-1: {scores.harmonic_mean_verb_top1:.2f}"
    return table


def _of_file(
    predictions: Path, data: Path, split: Path | None, fold: str, profiles: tuple[str, ...]
) -> EvaluationReport:
    from ovgsr.data.swig import read_annotations, read_split
    from ovgsr.evaluation.evaluate import evaluate_file

    chosen = read_split(data, split)
    annotated = read_annotations(data, fold)  # type: ignore[arg-type]
    return evaluate_file(predictions, annotated, chosen, fold, profiles, uses=_noun_uses(data, chosen))


def _of_model(
    model: str,
    data: Path,
    split: Path | None,
    fold: str,
    profiles: tuple[str, ...],
    save: Path | None,
    device: str | None,
) -> tuple[EvaluationReport, tuple[str, ...]]:
    from ovgsr.cli.progress import progress_bar
    from ovgsr.data.swig import image_folder
    from ovgsr.recognizers.annotated import predict_annotated
    from ovgsr.recognizers.student import SituationRecognizer

    chosen, vocabulary, images = _competing(data, split, fold)
    recognizer = SituationRecognizer.from_pretrained(model, device=device)
    calibration = recognizer.checkpoint.calibration if chosen is not None else None
    with progress_bar("predicting") as progress:
        found = predict_annotated(recognizer, images, image_folder(data), vocabulary, progress=progress)
        report = _scored(found, data, images, chosen, fold, profiles, save, calibration)
    met = [] if chosen is None else [v for v in chosen.groups(fold)["unseen"] if v in recognizer.vocabulary]
    if not met:
        return report, recognizer.notices
    leak = f"the student was trained on {len(met)} of the split's unseen verbs ({met[0]} first): to it they are seen"
    return report, (*recognizer.notices, leak)


def _of_teacher(
    asked: tuple[str, str, str, str, str],
    data: Path,
    split: Path | None,
    fold: str,
    profiles: tuple[str, ...],
    save: Path | None,
    device: str | None,
) -> tuple[EvaluationReport, tuple[str, ...]]:
    from ovgsr.cli.progress import progress_bar
    from ovgsr.data.swig import image_folder
    from ovgsr.recognizers.annotated_pictures import predict_annotated_pictures

    chosen, vocabulary, images = _competing(data, split, fold)
    recognizer = options.prompted_recognizer(*asked, device)
    size = recognizer.settings.batch_pictures
    with progress_bar("predicting") as progress:
        found = predict_annotated_pictures(
            recognizer, images, image_folder(data), vocabulary, batch_size=size, progress=progress
        )
        report = _scored(found, data, images, chosen, fold, profiles, save)
    return report, recognizer.notices


def _scored(
    found: Iterator[ImagePrediction],
    data: Path,
    images: Sequence[AnnotatedImage],
    chosen: VerbSplit | None,
    fold: str,
    profiles: tuple[str, ...],
    save: Path | None,
    calibration: Calibration | None = None,
) -> EvaluationReport:
    """Scores predictions as they come, writing them to ``save`` on the way."""
    from ovgsr.evaluation.evaluate import evaluate_predictions
    from ovgsr.evaluation.predictions import PredictionsWriter

    with ExitStack() as stack:
        kept = found if save is None else stack.enter_context(PredictionsWriter(save)).passed_on(found)
        constants = {} if calibration is None else calibration.constants()
        uses = _noun_uses(data, chosen)
        return evaluate_predictions(kept, images, chosen, fold, profiles, uses=uses, **constants)


def _noun_uses(data: Path, chosen: VerbSplit | None) -> Mapping[str, int] | None:
    """How often the split's training pictures show each noun; None without a split or a training fold."""
    from ovgsr.data.swig import annotation_path, read_annotations
    from ovgsr.evaluation.noun_groups import noun_uses

    if chosen is None or not annotation_path(data, "train").is_file():
        return None
    return noun_uses(chosen.pictures(read_annotations(data, "train", faults=[]), "train"))


def _competing(
    data: Path, split: Path | None, fold: str
) -> tuple[VerbSplit | None, Vocabulary, Sequence[AnnotatedImage]]:
    """The split, the verbs that compete on the fold with the data's nouns, and the pictures of those verbs."""
    from ovgsr.data.swig import read_annotations, read_split, read_vocabulary, require_known_verbs

    chosen = read_split(data, split)
    vocabulary = read_vocabulary(data)
    images = read_annotations(data, fold)  # type: ignore[arg-type]
    if chosen is not None:
        require_known_verbs(chosen, vocabulary)
        vocabulary = vocabulary.with_verbs(chosen.candidates(fold))
        images = chosen.pictures(images, fold)
    return chosen, vocabulary, images
