"""``ovgsr evaluate``: scores a model, or a predictions file of any system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovgsr.evaluation.evaluate import EvaluationReport


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of the data set, in SWiG layout.")],
    model: Annotated[str | None, typer.Option(help="Student to run: folder, hub name, or 'sketch'.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Predictions file (JSON Lines) of any system.")] = None,
    fold: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    split: Annotated[Path | None, typer.Option(help="Seen / rare / unseen verbs; default: the data set's own.")] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="official, coformer, situformer; may be repeated. Default: the first two.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the results file here.")] = None,
    save_predictions: Annotated[Path | None, typer.Option(help="Write the model's predictions file here.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
) -> None:
    """Verb top-1 / top-5, value and grounded value in the three verb settings, for seen, rare and unseen verbs.

    A model's table is printed without and with its constant for unseen verbs, which was chosen on dev pictures of
    seen verbs.
    """
    from ovgsr.cli.progress import console, messages
    from ovgsr.errors import OvgsrError
    from ovgsr.files import write_text_atomically

    if (model is None) == (predictions is None):
        raise OvgsrError("give either --model or --predictions")
    profiles = tuple(profile or ("official", "coformer"))
    if predictions is not None:
        report = _of_file(predictions, data, split, fold, profiles)
    else:
        report = _of_model(str(model), data, split, fold, profiles, save_predictions, device)
    print_report(report)
    for warning in report.warnings:
        messages.print(f"warning: {warning}", highlight=False, markup=False)
    if json_out is not None:
        only = profile[0] if profile and len(profile) == 1 else None
        write_text_atomically(json_out, json.dumps(report.to_json(only), indent=2))
        console.print(f"results: {json_out}")


def print_report(report: EvaluationReport) -> None:
    """The results as a table, and the open-vocabulary numbers under it."""
    from rich.table import Table

    from ovgsr.cli.progress import console
    from ovgsr.evaluation.evaluate import TABLE_HEADER

    table = Table(title=f"fold {report.fold}, split {report.split or 'none'}, percent")
    for position, name in enumerate(TABLE_HEADER):
        table.add_column(name, justify="left" if position < 3 else "right", overflow="fold")
    for row in report.table_rows():
        table.add_row(*row)
    console.print(table)
    for name, scores in report.profiles.items():
        if scores.harmonic_mean_verb_top1 == scores.harmonic_mean_verb_top1:  # no number without seen and unseen verbs
            console.print(f"{name}: harmonic mean of seen and unseen verb top-1 {scores.harmonic_mean_verb_top1:.2f}")
    opened = report.open_vocabulary
    if opened is not None and opened.ausuc is not None:
        console.print(
            f"AUSUC {opened.ausuc:.2f}; unseen among unseen {opened.unseen_among_unseen:.2f} "
            f"(chance {opened.chance_unseen_among_unseen:.2f})"
        )


def _of_file(
    predictions: Path, data: Path, split: Path | None, fold: str, profiles: tuple[str, ...]
) -> EvaluationReport:
    from ovgsr.data.swig import read_annotations, read_split, read_split_file
    from ovgsr.evaluation.evaluate import evaluate_file

    chosen = read_split_file(split) if split else read_split(data)
    return evaluate_file(predictions, read_annotations(data, fold), chosen, fold, profiles)  # type: ignore[arg-type]


def _of_model(
    model: str,
    data: Path,
    split: Path | None,
    fold: str,
    profiles: tuple[str, ...],
    save: Path | None,
    device: str | None,
) -> EvaluationReport:
    from ovgsr.cli.progress import progress_bar
    from ovgsr.data.swig import image_folder, read_annotations, read_split, read_split_file, read_vocabulary, with_verbs
    from ovgsr.evaluation.evaluate import evaluate_predictions
    from ovgsr.evaluation.predictions import write_predictions
    from ovgsr.recognizers.annotated import predict_annotated
    from ovgsr.recognizers.student import SituationRecognizer

    chosen = read_split_file(split) if split else read_split(data)
    vocabulary = read_vocabulary(data)
    images = read_annotations(data, fold)  # type: ignore[arg-type]
    if chosen is not None:
        vocabulary = vocabulary.with_verbs(chosen.candidates(fold))
        images = with_verbs(images, vocabulary.verb_names)
    recognizer = SituationRecognizer.from_pretrained(model, device=device)
    with progress_bar("predicting") as progress:
        found = list(predict_annotated(recognizer, images, image_folder(data), vocabulary, progress=progress))
    if save is not None:
        write_predictions(save, found)
    offset = recognizer.checkpoint.calibration.unseen_offset or None if chosen is not None else None
    return evaluate_predictions(found, images, chosen, fold, profiles, offset=offset)
