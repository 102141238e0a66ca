"""``ovgsr demo``: the whole path on the embedded data set, in minutes on a laptop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovgsr.recognizers.student import SituationRecognizer
    from ovgsr.situation import AnnotatedImage
    from ovgsr.vocabulary import Vocabulary


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, run, predictions and report.")] = Path("demo_output"),
    pictures: Annotated[int, typer.Option(min=100, help="Training pictures to draw.")] = 3000,
    recipe: Annotated[str, typer.Option(help="Recipe to train.")] = "sketch_demo",
    seed: Annotated[int, typer.Option(help="Seed of the pictures and of the training.")] = 0,
) -> None:
    """Draw SketchSWiG, train a student, score it on seen, rare and unseen verbs, predict, and write one HTML report.

    Run again, it goes on where it stopped.
    """
    from ovgsr.cli.progress import progress_bar
    from ovgsr.cli.training_bar import TrainingBar
    from ovgsr.config import load_config
    from ovgsr.sketch.write import write_sketch_swig
    from ovgsr.training.loop import train
    from ovgsr.training.run_dir import RunDir

    data, run = out / "sketch_swig", out / "run"
    config = load_config(recipe, [f"data.root={data}", f"train.seed={seed}"])
    finished = (run / "student" / "config.json").exists()
    if finished:  # the report must not tell of another recipe than the student was trained with
        RunDir(run).require_settings(config)
    with progress_bar("drawing") as progress:
        write_sketch_swig(data, seed=seed, train=pictures, dev_per_verb=10, test_per_verb=25, progress=progress)
    if not finished:
        with TrainingBar("training") as bar:
            train(config, run, resume=run.exists(), observer=bar)
    show_run(out, data, run, f"ovgsr demo --pictures {pictures} --recipe {recipe} --seed {seed}")


def show_run(out: Path, data: Path, run: Path, command: str) -> None:
    """Scores the student on test, prints the table, predicts a dozen pictures and writes the report."""
    from ovgsr.cli.evaluate import print_report
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.data.swig import image_folder, read_annotations, read_split, read_vocabulary
    from ovgsr.evaluation.evaluate import evaluate_predictions
    from ovgsr.evaluation.predictions import write_predictions
    from ovgsr.recognizers.annotated import predict_annotated
    from ovgsr.recognizers.student import SituationRecognizer
    from ovgsr.report import write_report
    from ovgsr.training.run_dir import RunDir
    from ovgsr.training.run_report import run_report

    split, annotated = read_split(data), read_annotations(data, "test")
    assert split is not None  # SketchSWiG carries one
    recognizer = SituationRecognizer.from_pretrained(run / "student")
    vocabulary = read_vocabulary(data).with_verbs(split.candidates("test"))
    with progress_bar("predicting") as progress:
        predicted = predict_annotated(recognizer, annotated, image_folder(data), vocabulary, top_k=1, progress=progress)
        found = list(predicted)
    write_predictions(out / "predictions.jsonl", found)
    constants = recognizer.checkpoint.calibration.constants()
    results = evaluate_predictions(found, annotated, split, "test", ("official", "coformer"), **constants)
    print_report(results)
    _predict_some(recognizer, vocabulary, annotated[:: max(1, len(annotated) // 12)], data, out / "predictions")
    page = run_report(RunDir(run), data, vocabulary, split, results, found, annotated, command=command)
    write_report(out / "report.html", page)
    console.print(f"drawn predictions: {out / 'predictions'}; report: {out / 'report.html'}")


def _predict_some(
    recognizer: SituationRecognizer,
    vocabulary: Vocabulary,
    annotated: Sequence[AnnotatedImage],
    data: Path,
    out: Path,
) -> None:
    from ovgsr.cli.predict import write_result
    from ovgsr.cli.progress import console
    from ovgsr.data.swig import image_path
    from ovgsr.models.preprocess import load_image

    for image in annotated:
        picture = load_image(image_path(data, image.file_name))
        prediction = recognizer.predict([picture], vocabulary, file_names=[image.file_name])[0]
        sentence = write_result(recognizer, vocabulary, prediction, picture, out / Path(image.file_name).stem, True)
        console.print(f"{image.file_name}: {sentence}", highlight=False, markup=False)
