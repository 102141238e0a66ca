"""Views on disk: a folder with ``images/000000.jpg ...`` and ``views.json``, which says how each of them was made.

While a folder is being made, ``views.part.jsonl`` holds its settings and, a line for every batch of candidates, what
was kept. A killed run started again goes on after the last whole batch and ends with the same files.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from ovgsr.distillation.views import ViewError, ViewPlan, agent_role, compose, item_roles, plan_views, usable_boxes
from ovgsr.files import write_bytes_atomically, write_text_atomically
from ovgsr.models.preprocess import decode_image, load_image
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.record_lines import append_lines

FORMAT: Literal["ovgsr-views-1"] = "ovgsr-views-1"
VIEWS_FILE, PART_FILE, IMAGES = "views.json", "views.part.jsonl", "images"
BATCH = 100
"""Candidates that are chosen from, and made durable, at a time."""
JPEG_QUALITY = 92

Choose = Callable[[list[Image.Image]], list[bool]]


class ViewSettings(BaseModel):
    """What decides which views a folder holds; two folders with equal settings hold the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["ovgsr-views-1"] = FORMAT
    data: str
    """SHA-256 of the training pictures' names and boxes: :func:`source_fingerprint`."""
    seed: int
    count: int
    candidates: int
    """How many are drawn at most."""
    chosen_by: str | None = None
    """Who chose among the candidates; None where all of them were kept."""


class StoredView(BaseModel):
    """One view: its file in ``images/``, how it was made, and the SHA-256 of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    plan: ViewPlan
    sha256: str
    novel: bool | None = None
    """True where somebody chose it among the candidates, None where nobody was asked."""


class _Batch(BaseModel):
    """A line of the part file: the number of candidates drawn so far, and the views kept of this batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drawn: int
    views: tuple[StoredView, ...]


class _Index(BaseModel):
    """The content of ``views.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: ViewSettings
    drawn: int
    views: tuple[StoredView, ...]


@dataclass(frozen=True, slots=True)
class ViewStore:
    """A finished folder of views. May be pickled."""

    folder: Path
    settings: ViewSettings
    drawn: int
    """How many candidates were looked at."""
    views: tuple[StoredView, ...]

    @classmethod
    def open(cls, folder: str | Path) -> ViewStore:
        """Raises ViewError where the folder is no finished store, or a picture is missing."""
        folder = Path(folder)
        path = folder / VIEWS_FILE
        try:
            index = _Index.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            unfinished = (folder / PART_FILE).exists()
            remedy = (
                "the views are not finished, so make them again with the same settings"
                if unfinished
                else ("check the folder, or make the views first")
            )
            raise ViewError(f"{path}: there is no such file; {remedy}") from None
        except ValidationError as error:
            raise ViewError(f"{path}: {_first_fault(error)}; make the views anew in another folder") from None
        images = folder / IMAGES
        present = {entry.name for entry in images.iterdir()} if images.is_dir() else set()
        missing = [view.name for view in index.views if view.name not in present]
        if missing:
            raise ViewError(
                f"{images}: {len(missing)} of {len(index.views)} views are missing ({', '.join(missing[:3])}); "
                f"copy the folder again, or delete {VIEWS_FILE} and make the views anew"
            )
        return cls(folder, index.settings, index.drawn, index.views)

    @property
    def names(self) -> tuple[str, ...]:
        """The file names, in order."""
        return tuple(view.name for view in self.views)

    @property
    def digest(self) -> str:
        """SHA-256 over settings, plans and pictures; where the folder is does not matter."""
        text = _Index(settings=self.settings, drawn=self.drawn, views=self.views).model_dump_json()
        return hashlib.sha256(text.encode()).hexdigest()

    def path(self, name: str) -> Path:
        """Where a view's file is."""
        return self.folder / IMAGES / name

    def picture(self, name: str) -> Image.Image:
        """A view as RGB. Raises ImageError where its file does not decode."""
        return load_image(self.path(name))

    def __len__(self) -> int:
        return len(self.views)


def source_fingerprint(images: Sequence[AnnotatedImage]) -> str:
    """SHA-256 over everything of the annotations that a view depends on: names, sizes, verbs, nouns, boxes."""
    digest = hashlib.sha256()
    for image in images:
        boxes = list(usable_boxes(image).items())
        nouns = {role: noun.noun for role, noun in image.situation.nouns.items()}
        place = [image.file_name, image.width, image.height, agent_role(image), item_roles(image), boxes]
        record = [*place, image.situation.verb, nouns]
        digest.update(json.dumps(record).encode("ascii") + b"\n")
    return digest.hexdigest()


def write_views(
    folder: str | Path,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    *,
    count: int,
    seed: int,
    choose: Choose | None = None,
    chosen_by: str = "unnamed",
    candidates_per_view: float = 1.0,
    open_image: Callable[[Path], Image.Image],
    progress: Callable[[int, int], None] | None = None,
) -> ViewStore:
    """Makes a folder of ``count`` views, or goes on with it; returns it at once where it is finished.

    ``choose`` says of each candidate, as decoded from its JPEG file, whether to keep it; drawing then goes on until
    ``count`` are kept or ``count * candidates_per_view`` are drawn, so there may be fewer. ``chosen_by`` names it (a
    teacher's fingerprint), and is compared when a run goes on. ``open_image`` reads a picture
    (``models.preprocess.load_image``). ``progress`` hears the views kept and ``count`` after every batch.

    Raises ViewError where the folder was made with other settings or holds other pictures, where a picture cannot be
    read, and where no picture has a box.
    """
    folder = Path(folder)
    if count < 1 or not 1 <= candidates_per_view < math.inf:
        raise ViewError(
            f"{count} views with {candidates_per_view:g} candidates each cannot be made; "
            "'count' and 'candidates_per_view' must be numbers from 1"
        )
    plan_views(images, 0, seed)  # refuses pictures without boxes before anything is written
    settings = ViewSettings(
        data=source_fingerprint(images),
        seed=seed,
        count=count,
        candidates=count if choose is None else math.ceil(count * candidates_per_view),
        chosen_by=None if choose is None else chosen_by,
    )
    if (folder / VIEWS_FILE).exists():
        store = ViewStore.open(folder)
        _require_same(folder / VIEWS_FILE, store.settings, settings)
        (folder / PART_FILE).unlink(missing_ok=True)
        return store
    drawn, views = _start(folder, settings)
    report = progress or (lambda done, total: None)
    report(len(views), count)
    plans = plan_views(images, settings.candidates - drawn, seed, drawn)
    pictures = _opener(images, Path(image_folder), open_image)
    while len(views) < count and (batch := list(itertools.islice(plans, BATCH))):
        files = [_encode(compose(plan, images, pictures)) for plan in batch]
        kept = [True] * len(files) if choose is None else _ask(choose, files)
        chosen = [(plan, file) for plan, file, keep in zip(batch, files, kept, strict=True) if keep]
        new = _write_pictures(folder, len(views), chosen[: count - len(views)], None if choose is None else True)
        drawn += len(batch)
        views += new
        append_lines(folder / PART_FILE, [_Batch(drawn=drawn, views=tuple(new)).model_dump_json().encode() + b"\n"])
        report(len(views), count)
    _finish(folder, _Index(settings=settings, drawn=drawn, views=tuple(views)))
    return ViewStore.open(folder)


def _start(folder: Path, settings: ViewSettings) -> tuple[int, list[StoredView]]:
    """How many candidates were drawn, and what was kept, in an unfinished folder; makes a new one."""
    part = folder / PART_FILE
    for leftover in (*folder.glob(".views.*.part"), *(folder / IMAGES).glob(".*.part")):
        leftover.unlink(missing_ok=True)
    if not part.exists() or not part.stat().st_size:
        if any((folder / IMAGES).glob("*")):
            raise ViewError(f"{folder / IMAGES}: there are pictures, but no {VIEWS_FILE}; choose an empty folder")
        write_text_atomically(part, settings.model_dump_json() + "\n")
        return 0, []
    lines = part.read_bytes().splitlines(keepends=True)
    drawn, views, sound = 0, list[StoredView](), 0
    try:
        for number, line in enumerate(lines):
            if number == 0:
                _require_same(part, ViewSettings.model_validate_json(line), settings)
            elif line.endswith(b"\n"):
                batch = _Batch.model_validate_json(line)
                if not all(_is_whole(folder / IMAGES / view.name, view.sha256) for view in batch.views):
                    break  # a power cut kept the line and lost a picture
                drawn = batch.drawn
                views.extend(batch.views)
            else:
                break  # a kill came in between
            sound += len(line)
    except ValidationError as error:
        raise ViewError(f"{part}: {_first_fault(error)}; delete {folder} and make the views anew") from None
    with part.open("rb+") as stream:
        stream.truncate(sound)  # what comes after is made again
    return drawn, views


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _opener(
    images: Sequence[AnnotatedImage], image_folder: Path, open_image: Callable[[Path], Image.Image]
) -> Callable[[int], Image.Image]:
    def open_picture(index: int) -> Image.Image:
        path = image_folder / images[index].file_name
        try:
            return open_image(path)
        except (OSError, ValueError) as error:
            sentence = str(error) if str(path) in str(error) else f"{path}: {error}"
            raise ViewError(f"{sentence} (picture {index} of those that views are made of)") from error

    return open_picture


def _encode(picture: Image.Image) -> bytes:
    """A view as it is stored: JPEG without chroma subsampling, which would smear what is only a few pixels wide."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _ask(choose: Choose, files: Sequence[bytes]) -> list[bool]:
    """The answer for each file; what is shown is decoded from the very bytes that are stored."""
    answers = list(choose([decode_image(io.BytesIO(file), "a view in memory") for file in files]))
    if len(answers) != len(files):
        raise ValueError(f"'choose' must answer for each of {len(files)} candidates, it gave {len(answers)} answers")
    return [bool(answer) for answer in answers]


def _write_pictures(
    folder: Path, first: int, chosen: Iterable[tuple[ViewPlan, bytes]], novel: bool | None
) -> list[StoredView]:
    written = []
    for number, (plan, file) in enumerate(chosen, start=first):
        name = f"{number:06d}.jpg"
        write_bytes_atomically(folder / IMAGES / name, file)
        written.append(StoredView(name=name, plan=plan, sha256=hashlib.sha256(file).hexdigest(), novel=novel))
    return written


def _finish(folder: Path, index: _Index) -> None:
    """Removes pictures that no line counts (of a batch that a kill interrupted), then writes the index."""
    images = folder / IMAGES
    images.mkdir(parents=True, exist_ok=True)
    known = {view.name for view in index.views}
    for path in images.glob("*.jpg"):
        if path.name not in known:
            path.unlink()
    write_text_atomically(folder / VIEWS_FILE, "".join(_json_lines(index)))
    (folder / PART_FILE).unlink(missing_ok=True)


def _json_lines(index: _Index) -> Iterator[str]:
    """The index as JSON with one view a line, for people and for version control."""
    yield f'{{"settings": {index.settings.model_dump_json()},\n"drawn": {index.drawn},\n"views": [\n'
    yield ",\n".join(view.model_dump_json(exclude_none=True) for view in index.views)
    yield "\n]}\n"


def _require_same(path: Path, found: ViewSettings, wanted: ViewSettings) -> None:
    for field in ViewSettings.model_fields:
        here, there = getattr(found, field), getattr(wanted, field)
        if here != there:
            raise ViewError(
                f"{path}: these views were made with other settings: the field {field!r} is {here!r} there and "
                f"{there!r} now; use the settings they were made with, or another folder"
            )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"])) or "content"
    return f"the field {place!r} is not usable ({fault['msg']})"
