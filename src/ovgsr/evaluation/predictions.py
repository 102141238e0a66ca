"""The predictions file: one JSON object a line, one line a picture, written by any system (``docs/evaluation.md``).

Reading streams, checks every field that is used and says which line is at fault; writing is atomic.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, TypeVar

from ovgsr.errors import OvgsrError
from ovgsr.interactions import PairPrediction
from ovgsr.situation import BoxXyxy, GroundedNoun, ImagePrediction, Situation

NOT_GROUNDED = (-1.0, -1.0, -1.0, -1.0)
"""How SWiG's annotation writes "no box"; a prediction that writes it means null."""


class PredictionsError(OvgsrError):
    """A predictions file that cannot be read or written: file, line, field and remedy."""


class _Fault(Exception):
    """A field at fault, before file and line are known."""

    def __init__(self, field: str, complaint: str) -> None:
        super().__init__(complaint)
        self.field = field

    def at(self, path: str | Path, line: int) -> PredictionsError:
        """The error for the user, once the place is known."""
        place = f", field '{self.field}'" if self.field else ""
        return PredictionsError(f"{path}, line {line}{place}: {self}")


def read_predictions(path: str | Path, frames_of: Mapping[str, str] | None = None) -> Iterator[ImagePrediction]:
    """The predictions of a JSON Lines file, one at a time, in the file's order.

    ``frames_of`` (picture -> verb) builds and checks that verb's frame only, all that scoring needs; None builds
    every frame. A box [-1, -1, -1, -1] is read as null.

    Raises PredictionsError with file, line, field and remedy.
    """
    for number, record in read_records(path):
        try:
            yield _prediction(record, frames_of)
        except _Fault as fault:
            raise fault.at(path, number) from None


def read_records(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with their line numbers; empty lines are skipped.

    Raises PredictionsError with file, line and remedy.
    """
    lines_with_content = 0
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.isspace():
                    continue
                lines_with_content += 1
                try:
                    yield number, _record(line, first=number == 1)
                except _Fault as fault:
                    raise fault.at(path, number) from None
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror or error}); give a JSON Lines file") from None
    if lines_with_content == 0:
        raise PredictionsError(f"{path}: the file is empty; write one JSON object a line, one line a picture")


def _refuse_constant(name: str) -> NoReturn:
    raise _Fault("", f"{name} is not JSON; write a finite number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _record(line: bytes, first: bool) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise _Fault("", f"byte {error.start + 1} is not UTF-8; save the file as UTF-8 text") from None
    try:
        record = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _Fault("", f"not JSON ({error.msg}, column {error.colno}); write one whole object a line") from None
    except (RecursionError, ValueError) as error:
        raise _Fault("", f"cannot be read as JSON ({error}); write one flat object a line") from None
    if not isinstance(record, dict):
        raise _Fault("", f"an object is expected, not {_kind(record)}; write one picture's object a line, no list")
    return record


def _prediction(record: dict[str, Any], frames_of: Mapping[str, str] | None) -> ImagePrediction:
    image = record.get("image")
    if not isinstance(image, str) or not image:
        raise _Fault("image", "the picture's file name is missing; write it as text")
    frames = record.get("frames", {})
    if not isinstance(frames, dict):
        raise _Fault("frames", f"must map verbs to their filled roles, not be {_kind(frames)}")
    borrowed = record.get("frames_borrowed_from", {})
    if not isinstance(borrowed, dict):
        raise _Fault("frames_borrowed_from", f"must map verbs to verbs, not be {_kind(borrowed)}; leave it out")
    if frames_of is not None:
        wanted = frames_of.get(image)
        frames = {wanted: frames[wanted]} if wanted in frames else {}
    notices = record.get("notices", ())
    if not isinstance(notices, list | tuple) or not all(isinstance(notice, str) for notice in notices):
        raise _Fault("notices", "must be a list of sentences; leave it out")
    ranking = _ranking(record.get("verbs"))
    scores = dict(ranking)
    return ImagePrediction(
        file_name=image,
        ranking=ranking,
        situations={verb: _situation(verb, roles, scores.get(verb), borrowed) for verb, roles in frames.items()},
        width=_size(record, "width"),
        height=_size(record, "height"),
        notices=tuple(notices),
    )


def _ranking(verbs: Any) -> tuple[tuple[str, float], ...]:
    """The checked field ``verbs``. Whole-list tests keep rankings of hundreds of verbs cheap."""
    if not isinstance(verbs, list) or not verbs:
        raise _Fault("verbs", "must be a list of at least one {'verb', 'score'}, best first; five are needed for top-5")
    try:
        names = [entry["verb"] for entry in verbs]
        scores = [entry["score"] for entry in verbs]
    except (KeyError, TypeError, IndexError):
        position = next(i for i, e in enumerate(verbs) if not (isinstance(e, dict) and {"verb", "score"} <= e.keys()))
        raise _Fault(f"verbs[{position}]", "must be an object with the fields 'verb' and 'score'") from None
    if set(map(type, names)) != {str} or not all(names):
        position = next(i for i, name in enumerate(names) if not isinstance(name, str) or not name)
        raise _Fault(f"verbs[{position}].verb", f"must be a verb's name, not {names[position]!r}")
    if len(set(names)) != len(names):
        double = next(name for position, name in enumerate(names) if name in names[:position])
        raise _Fault("verbs", f"names {double!r} twice; keep its best score only")
    if not set(map(type, scores)) <= {int, float} or not all(map(_finite, scores)):
        position = next(i for i, s in enumerate(scores) if type(s) not in (int, float) or not _finite(s))
        raise _Fault(f"verbs[{position}].score", f"must be a finite number, not {scores[position]!r}")
    if scores != sorted(scores, reverse=True):
        position = next(i for i in range(1, len(scores)) if scores[i] > scores[i - 1])
        raise _Fault(f"verbs[{position}].score", "is higher than the one before it; sort the verbs best first")
    return tuple(zip(names, map(float, scores), strict=True))


def _situation(verb: str, roles: Any, score: float | None, borrowed: dict[str, Any]) -> Situation:
    if not isinstance(roles, dict):
        raise _Fault(f"frames.{verb}", f"must map roles to answers, not be {_kind(roles)}")
    if not verb:
        raise _Fault("frames", "holds a verb without a name; remove it")
    nouns = {role: _answer(answer, verb, role) for role, answer in roles.items()}
    lender = borrowed.get(verb)
    if lender is not None and not isinstance(lender, str):
        raise _Fault(f"frames_borrowed_from.{verb}", f"must be a verb's name, not {lender!r}")
    return Situation(verb, nouns, score, lender)


def _answer(answer: Any, verb: str, role: str) -> GroundedNoun:
    if not isinstance(answer, dict):
        raise _Fault(f"frames.{verb}.{role}", "must be an object with the fields 'noun' and 'box'")
    noun = answer.get("noun")
    if not isinstance(noun, str):
        raise _Fault(f"frames.{verb}.{role}.noun", f'must be text, not {noun!r}; write "" for an empty role')
    box = answer.get("box")
    return GroundedNoun(
        noun,
        None if box is None else _box(box, verb, role),
        _optional_score(answer, "score", verb, role),
        _optional_score(answer, "grounded_score", verb, role),
    )


def _box(box: Any, verb: str, role: str) -> BoxXyxy | None:
    good = isinstance(box, list) and len(box) == 4
    if not good or not all(type(number) in (int, float) and _finite(number) for number in box):
        raise _Fault(f"frames.{verb}.{role}.box", f"must be null or four finite pixels [x1, y1, x2, y2], not {box!r}")
    box_xyxy = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return None if box_xyxy == NOT_GROUNDED else box_xyxy


def _optional_score(answer: dict[str, Any], name: str, verb: str, role: str) -> float | None:
    value = answer.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not _finite(value):
        raise _Fault(f"frames.{verb}.{role}.{name}", f"must be a finite number, not {value!r}; leave it out")
    return float(value)


def _size(record: dict[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is not None and (type(value) is not int or value <= 0):
        raise _Fault(name, f"must be the picture's size in whole pixels, not {value!r}; leave it out")
    return value


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number too large for a float
        return False


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


Prediction = TypeVar("Prediction", ImagePrediction, PairPrediction)


class PredictionsWriter:
    """Writes predictions of situations or pairs one by one; the file has its name only when all of them are written.

    A context manager: a block that fails leaves the old file, or none. Raises PredictionsError where the file cannot
    be written or a prediction holds a number that is not finite.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.written = 0
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._stream: IO[str] | None = None

    def __enter__(self) -> PredictionsWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._temporary.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise PredictionsError(f"{self.path}: cannot be written ({error.strerror}); choose another place") from None
        return self

    def write(self, prediction: ImagePrediction | PairPrediction) -> None:
        """Appends one picture's line."""
        if self._stream is None:
            raise PredictionsError(f"{self.path}: not open; use 'with PredictionsWriter(path) as writer'")
        try:
            # Escaped to ASCII, so that file names which are no valid UTF-8 survive too.
            line = json.dumps(prediction.to_json(), allow_nan=False, separators=(",", ":"))
        except ValueError:
            message = f"{self.path}: the prediction of {prediction.file_name} holds a number that is not finite"
            raise PredictionsError(f"{message}; mend the model's scores before writing") from None
        self._stream.write(line + "\n")
        self.written += 1

    def passed_on(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same predictions, written on the way: a large data set's need never be in memory together."""
        for prediction in predictions:
            self.write(prediction)
            yield prediction

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if kind is None:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def write_predictions(path: str | Path, predictions: Iterable[ImagePrediction] | Iterable[PairPrediction]) -> int:
    """Writes all predictions atomically and returns how many there were. Raises PredictionsError."""
    with PredictionsWriter(path) as writer:
        for prediction in predictions:
            writer.write(prediction)
    return writer.written
