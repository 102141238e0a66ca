"""``ovgsr demo``: the main job on the embedded data set, in minutes on a laptop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovgsr.evaluation.evaluate import EvaluationReport
    from ovgsr.recognizers.student import SituationRecognizer
    from ovgsr.report import TableSection
    from ovgsr.situation import ImagePrediction
    from ovgsr.training.ablation import Ablation, Cell
    from ovgsr.training.ablation_situations import ScoredFold

ROWS = ("mipd", "no_teacher")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, runs, predictions and report.")] = Path("demo_output"),
    pictures: Annotated[int, typer.Option(min=100, help="Training pictures to draw.")] = 3000,
    seed: Annotated[int, typer.Option(help="Seed of the pictures and of the training.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=2, help="Students trained at a time, one thread each.")] = 2,
    override: Annotated[
        list[str] | None, typer.Option(help="A setting for both students, section.key=value; may be repeated.")
    ] = None,
) -> None:
    """Train a student without a teacher and one with MIPD, score both on seen, rare and unseen verbs, write a report.

    Draws SketchSWiG; lets the shipped multimodal LLM read it, rationales and prompts included; trains both students on
    the same pictures for as many steps; prints both tables and the gain; draws pictures that only one of them gets
    right. Run again, it goes on where it stopped.
    """
    from ovgsr.cli.ablate import fill_cells
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.sketch.write import write_sketch_swig
    from ovgsr.training.ablation import Ablation
    from ovgsr.training.ablation_plan import load_plan

    data = out / "sketch_swig"
    changes = tuple(override or ())
    ablation = Ablation(load_plan("demo"), data, out / "runs", changes)
    cells = [ablation.cell(row, seed) for row in reversed(ROWS)]
    with progress_bar("drawing") as progress:
        write_sketch_swig(data, seed=seed, train=pictures, dev_per_verb=10, test_per_verb=25, progress=progress)
    arguments = ["demo", "--data", str(data), "--out", str(out / "runs")]
    arguments += [part for change in changes for part in ("--override", change)]
    failed = fill_cells(ablation, cells, jobs, arguments, lambda: None)
    if failed:
        console.print(f"see {failed[0].folder / 'log.txt'}", highlight=False, markup=False)
        raise typer.Exit(1)
    command = f"ovgsr demo --pictures {pictures} --seed {seed}"
    show_both(ablation, cells[::-1], out, command)


def show_both(ablation: Ablation, cells: list[Cell], out: Path, command: str) -> None:
    """Predicts test with both students, prints both tables and the gain, draws some pictures, writes the report."""
    from ovgsr.cli.evaluate import print_report
    from ovgsr.cli.progress import console
    from ovgsr.recognizers.student import SituationRecognizer
    from ovgsr.report import Report, write_report
    from ovgsr.training.ablation_situations import read_fold
    from ovgsr.training.comparison import compare_pictures, side_by_side

    fold = read_fold(ablation.data, None, "test")
    titles = (cells[0].row.title, cells[1].row.title)
    results, predictions = [], []
    for cell in cells:
        recognizer = SituationRecognizer.from_pretrained(cell.run.student)
        scored, found = _scored(recognizer, fold, ablation.data)
        console.print(f"\n{cell.row.title}", style="bold")
        print_report(scored)
        results.append(scored)
        predictions.append(found)
    gain = side_by_side(results[0], results[1], titles)
    _print_section(gain)
    pictures = compare_pictures(
        ablation.data, fold.vocabulary, fold.split, fold.images, predictions[0], predictions[1], titles, 9
    )
    report = Report(
        title="ovgsr demo: the same student without a teacher, and with MIPD",
        paragraphs=[
            "Both students saw the same annotated drawings of seen and rare verbs, for as many steps; unseen verbs "
            "were kept from both in every form. One of them also learned what a frozen multimodal LLM reads in those "
            "drawings and in composites of them. At test time both choose among all verbs by their words, and neither "
            "needs the LLM.",
            *sorted({notice for prediction in predictions[0] for notice in prediction.notices}),
        ],
        facts=[],
        sections=[gain, *pictures],
        command=command,
        config=(cells[0].run.path / "config.json").read_text(encoding="utf-8"),
    )
    write_report(out / "report.html", report)
    best = SituationRecognizer.from_pretrained(cells[0].run.student)
    _predict_some(best, fold, ablation.data, out / "predictions")
    console.print(f"drawn predictions: {out / 'predictions'}; report: {out / 'report.html'}", soft_wrap=True)


def _scored(
    recognizer: SituationRecognizer, fold: ScoredFold, data: Path
) -> tuple[EvaluationReport, list[ImagePrediction]]:
    """The scores of a student, and its calibrated predictions with the best verb's frame."""
    from ovgsr.cli.progress import progress_bar
    from ovgsr.data.swig import image_folder
    from ovgsr.evaluation.evaluate import evaluate_predictions
    from ovgsr.recognizers.annotated import predict_annotated

    folder, constants = image_folder(data), recognizer.checkpoint.calibration.constants()
    with progress_bar("predicting") as progress:
        found = predict_annotated(recognizer, fold.images, folder, fold.vocabulary, progress=progress)
        results = evaluate_predictions(found, fold.images, fold.split, fold.name, **constants)
    with progress_bar("filling the best verbs' frames") as progress:
        shown = predict_annotated(
            recognizer, fold.images, folder, fold.vocabulary, top_k=1, calibrated=True, progress=progress
        )
        return results, list(shown)


def _print_section(section: TableSection) -> None:
    from rich.table import Table

    from ovgsr.cli.progress import console

    table = Table(title=section.title, title_justify="left", caption=section.note)
    for index, column in enumerate(section.columns):
        table.add_column(column, justify="left" if index in (0, 2) else "right")
    for row in section.rows:
        table.add_row(
            *("" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
        )
    console.print(table)


def _predict_some(recognizer: SituationRecognizer, fold: ScoredFold, data: Path, out: Path) -> None:
    """Draws a dozen predictions, as ``ovgsr predict`` does."""
    from ovgsr.cli.predict import write_result
    from ovgsr.cli.progress import console
    from ovgsr.data.swig import image_path
    from ovgsr.models.preprocess import load_image

    for image in fold.images[:: max(1, len(fold.images) // 12)]:
        picture = load_image(image_path(data, image.file_name))
        prediction = recognizer.predict([picture], fold.vocabulary, file_names=[image.file_name])[0]
        sentence = write_result(
            recognizer, fold.vocabulary, prediction, picture, out / Path(image.file_name).stem, True
        )
        console.print(f"{image.file_name}: {sentence}", highlight=False, markup=False)
