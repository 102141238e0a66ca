"""``ovgsr predict``: situations in pictures, as JSON and drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from ovgsr.cli import teacher_options as options
from ovgsr.cli.picture_files import find_pictures, output_names, with_ending

if TYPE_CHECKING:
    from PIL.Image import Image

    from ovgsr.recognizers.prompted import PromptedRecognizer
    from ovgsr.recognizers.student import SituationRecognizer
    from ovgsr.situation import ImagePrediction
    from ovgsr.vocabulary import Vocabulary

Task = Literal["situations", "hoi"]
_BATCH = 16
_BATCH_PIXELS = 40_000_000
"""Large photos go through one by one, so that memory does not grow with their size times the batch's."""


def predict(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    model: Annotated[
        str | None, typer.Option(help="Student: folder, hub name, or 'sketch' (shipped; drawn pictures only; default).")
    ] = None,
    verbs: Annotated[str | None, typer.Option(help="Verbs to choose from: 'feeding,riding', or a file.")] = None,
    nouns: Annotated[str | None, typer.Option(help="Nouns to choose from: 'dog,woman', or a file.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Verbs whose frames are filled.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder for NAME.json and NAME.png, one of each a picture.")] = Path(
        "predictions"
    ),
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Write annotated pictures.")] = True,
    skip_done: Annotated[
        bool, typer.Option("--skip-done", help="Leave out pictures whose JSON is there already.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    task: Annotated[
        Task | None, typer.Option(help="situations or hoi; the model knows its own, so this only checks it.")
    ] = None,
    all_combinations: Annotated[
        bool, typer.Option("--all-combinations", help="hoi: every verb with every object, not those of training only.")
    ] = False,
    boxes: Annotated[
        Path | None, typer.Option(help="hoi: a detector's boxes (JSON Lines) in place of the student's own.")
    ] = None,
    teacher: options.Teacher = None,
    teacher_precision: options.Precision = "auto",
    teacher_verbs: options.Verbs = "likelihood",
    teacher_roles: options.Roles = "json",
    teacher_calibration: options.Calibration = "none",
) -> None:
    """Say what is going on in pictures: the verb, who and what takes part, and where.

    A student for human-object interactions says who does what to which object instead, for any --verbs and --nouns.
    A picture that cannot be read is named and left out; the others are done, and the exit code is 1.
    """
    from ovgsr.errors import OvgsrError

    if model is not None and teacher is not None:
        raise OvgsrError("give either --model or --teacher")
    found = find_pictures(pictures, out)
    work = [pair for pair in output_names(found, out) if not (skip_done and _is_done(*pair))]
    if draw:
        _require_other_files(found, work)
    predictor: Predictor
    if teacher is None and model_task(model, task) == "hoi":
        from ovgsr.cli.predict_pairs import PairPredictor

        offered = (verbs, nouns, all_combinations, boxes)
        predictor = PairPredictor.of(str(model), device, *offered, draw=draw)
    else:
        if all_combinations or boxes or task == "hoi":
            raise OvgsrError("--all-combinations, --boxes and --task hoi are for a student for interactions: --model")
        asked = (teacher_precision, teacher_verbs, teacher_roles, teacher_calibration)
        recognizer = options.prompted_recognizer(teacher, *asked, device) if teacher else _student(model, device)
        predictor = _SituationPredictor.of(recognizer, verbs, nouns, top_k, draw)
    if _predict_all(predictor, work, out, draw):
        raise typer.Exit(1)


def _predict_all(predictor: Predictor, work: list[tuple[Path, Path]], out: Path, draw: bool) -> int:
    """Predicts, writes and tells; returns how many pictures could not be read."""
    from ovgsr.cli.progress import console, messages, progress_bar

    known = predictor.notices
    for notice in known:
        messages.print(f"note: {notice}", highlight=False, markup=False)
    failed = 0
    with progress_bar("predicting") as progress:
        for done, (target, result) in enumerate(_run(predictor, work), start=1):
            progress(done, len(work))
            if isinstance(result, _Failure):
                failed += 1
                messages.print(f"error: {result}", highlight=False, markup=False)
            else:
                console.print(f"{target.name}: {result}", highlight=False, markup=False)
    for notice in (notice for notice in predictor.notices if notice not in known):  # what only the run could show
        messages.print(f"note: {notice}", highlight=False, markup=False)
    console.print(f"{len(work) - failed} of {len(work)} pictures; JSON{' and PNG' if draw else ''} in {out}")
    return failed


def _student(model: str | None, device: str | None) -> SituationRecognizer:
    from ovgsr.recognizers.student import SHIPPED_STUDENT, SituationRecognizer

    return SituationRecognizer.from_pretrained(model or SHIPPED_STUDENT, device=device)


def _is_done(picture: Path, target: Path) -> bool:
    """Whether there is a result of this very picture: names may have been numbered otherwise in an earlier run."""
    try:
        return Path(json.loads(with_ending(target, ".json").read_bytes())["image"]).resolve() == picture.resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _require_other_files(pictures: list[Path], work: list[tuple[Path, Path]]) -> None:
    """Raises OvgsrError where a drawn result would take the place of a picture that was given."""
    from ovgsr.errors import OvgsrError

    given = {(found.st_dev, found.st_ino) for found in (path.stat() for path in pictures if path.exists())}
    for _, target in work:
        drawn = with_ending(target, ".png")
        if drawn.exists() and (drawn.stat().st_dev, drawn.stat().st_ino) in given:
            raise OvgsrError(
                f"{drawn}: this picture would be overwritten by a drawn result; name another folder with --out, or "
                "give --no-draw"
            )


class Predictor(Protocol):
    """What a task does with pictures."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences that belong to every result."""

    def finish(self, images: list[Image], names: list[str], targets: list[Path]) -> Iterator[str]:
        """Predicts and writes what was found; gives the sentence that tells it, picture by picture."""


@dataclass(frozen=True)
class _SituationPredictor:
    recognizer: SituationRecognizer | PromptedRecognizer
    vocabulary: Vocabulary
    top_k: int
    draw: bool

    @classmethod
    def of(
        cls,
        recognizer: SituationRecognizer | PromptedRecognizer,
        verbs: str | None,
        nouns: str | None,
        top_k: int,
        draw: bool,
    ) -> _SituationPredictor:
        from ovgsr.recognizers.vocabulary_words import user_vocabulary

        vocabulary = user_vocabulary(
            recognizer.vocabulary, verbs, nouns, lambda texts: recognizer.text_encoder.encode(texts)
        )
        return cls(recognizer, vocabulary, top_k, draw)

    @property
    def notices(self) -> tuple[str, ...]:
        return self.recognizer.notices

    def finish(self, images: list[Image], names: list[str], targets: list[Path]) -> Iterator[str]:
        predictions = self.recognizer.predict(images, self.vocabulary, file_names=names, top_k=self.top_k)
        for target, image, prediction in zip(targets, images, predictions, strict=True):
            yield write_result(self.recognizer, self.vocabulary, prediction, image, target, self.draw)


def model_task(model: str | None, asked: Task | None = None) -> Task:
    """What a student is for, as its checkpoint says. Raises OvgsrError where it is not for what is ``asked``."""
    from ovgsr.errors import OvgsrError
    from ovgsr.models.checkpoint import checkpoint_format, exported
    from ovgsr.models.pair_checkpoint import PAIR_FORMAT
    from ovgsr.recognizers.student import SHIPPED_STUDENT

    shipped = model is None or (model == SHIPPED_STUDENT and not Path(model).is_dir())
    found: Task = (
        "hoi" if not shipped and checkpoint_format(str(model)) in (PAIR_FORMAT, exported(PAIR_FORMAT)) else "situations"
    )
    if asked not in (None, found):
        raise OvgsrError(
            f"{model or SHIPPED_STUDENT}: a student for {found}, not for {asked}; name another with --model"
        )
    return found


def _run(predictor: Predictor, work: list[tuple[Path, Path]]) -> Iterator[tuple[Path, str]]:
    """Per picture its output path and either the sentence that was found, or the error as ``_Failure``."""
    from ovgsr.models.preprocess import ImageError, load_image

    def finish(batch: list[tuple[Path, Path, Image]]) -> Iterator[tuple[Path, str]]:
        images, names = [image for _, _, image in batch], [str(picture) for picture, _, _ in batch]
        targets = [target for _, target, _ in batch]
        yield from zip(targets, predictor.finish(images, names, targets), strict=True)

    batch: list[tuple[Path, Path, Image]] = []
    for picture, target in work:
        try:
            batch.append((picture, target, load_image(picture)))
        except ImageError as error:
            yield target, _Failure(str(error))
        if len(batch) == _BATCH or sum(image.width * image.height for _, _, image in batch) > _BATCH_PIXELS:
            yield from finish(batch)
            batch = []
    yield from finish(batch)


class _Failure(str):
    """An error's sentence."""


def write_result(
    recognizer: SituationRecognizer | PromptedRecognizer,
    vocabulary: Vocabulary,
    prediction: ImagePrediction,
    image: Image,
    target: Path,
    draw: bool,
) -> str:
    """Writes NAME.json and NAME.png; returns the sentence that tells the best situation."""
    from ovgsr.captions import caption
    from ovgsr.drawing import draw_situation
    from ovgsr.files import write_atomically, write_text_atomically
    from ovgsr.recognizers.student import SituationRecognizer

    if isinstance(recognizer, SituationRecognizer):
        complete, _ = recognizer.offer(vocabulary)
    else:
        complete = recognizer.complete(vocabulary)
    sentence = caption(prediction.best, complete)
    record = {"caption": sentence, **prediction.to_json()}
    for frame in record["frames"].values():
        for answer in frame.values():
            answer["words"] = complete.word(answer["noun"])
    write_text_atomically(with_ending(target, ".json"), json.dumps(record, ensure_ascii=False, indent=2))
    if draw:
        notice = " ".join(prediction.notices) or None
        drawn = draw_situation(image, prediction.best, complete, notice=notice)
        write_atomically(with_ending(target, ".png"), lambda path: drawn.save(path, format="PNG"))
    return f"{sentence} ({prediction.best.verb} {100 * (prediction.best.score or 0):.0f} %)"
