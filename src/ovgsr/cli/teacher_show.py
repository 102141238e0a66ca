"""``ovgsr teacher show``: a page on which a person can judge rationales and see where the teacher looks."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from PIL.Image import Image

    from ovgsr.rationale_page import PageEntry, RationalePage
    from ovgsr.situation import AnnotatedImage
    from ovgsr.teacher.jrg.rationales import PictureRationales
    from ovgsr.teacher.jrg.store import Quarantined, RationaleStore
    from ovgsr.teacher.picture_view import LookingTeacher, TeacherView
    from ovgsr.verb_split import VerbSplit
    from ovgsr.vocabulary import Vocabulary

_PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "int4")


def show(
    data: Annotated[Path, typer.Option(help="Folder of the data set, in SWiG layout.")],
    rationales: Annotated[Path, typer.Option(help="Folder of rationales, from 'ovgsr teacher rationales'.")],
    out: Annotated[Path, typer.Option(help="The page: one HTML file.")],
    split: Annotated[Path | None, typer.Option(help="Split file, or ov_swig; default: the data set's own.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Multimodal LLM whose caption, attention and tokens to show: folder or hub name.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pictures, spread over the verbs.")] = 24,
    seed: Annotated[int, typer.Option(help="Another seed chooses other pictures.")] = 0,
    verb: Annotated[list[str] | None, typer.Option(help="Only pictures of this verb; may be repeated.")] = None,
    pictures: Annotated[
        list[str] | None, typer.Option(help="This picture of the data set, by its name; may be repeated.")
    ] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Also pictures without usable rationales, with the reasons.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Of the teacher: cpu, cuda, ...; default: a GPU where there is one.")
    ] = None,
    teacher_precision: Annotated[str, typer.Option(help=f"Of the teacher: {', '.join(_PRECISIONS)}.")] = "auto",
) -> None:
    """Put rationales on a page beside their pictures: what was judged right, what wrong, and what is wrong in it.

    With --teacher each picture also has the teacher's own caption, where it looks while it says the verb, and its
    visual tokens as colours. A picture that cannot be read is named, and the exit code is 1.
    """
    from ovgsr.cli.progress import messages, progress_bar
    from ovgsr.errors import OvgsrError
    from ovgsr.rationale_page import RationalePage, quarantine_counts, write_rationale_page

    if out.is_dir():
        raise OvgsrError(f"--out {out}: this is a folder; name a file in it, e.g. {out / 'rationales.html'}")
    if teacher_precision not in _PRECISIONS:
        raise OvgsrError(f"--teacher-precision must be one of {', '.join(_PRECISIONS)}, not {teacher_precision!r}")
    shelf = _read(data, rationales, split)
    chosen = _named(shelf, pictures, quarantined) if pictures else _drawn(shelf, verb, limit, seed, quarantined)
    llm = None if teacher is None else _load(teacher, device, teacher_precision)
    entries, failed = [], 0
    with progress_bar("the teacher looks" if llm else "drawing") as progress:
        for done, annotated in enumerate(chosen, start=1):
            entry = _entry(shelf, data, annotated, llm)
            if entry.image is None:
                failed += 1
                messages.print(f"error: {entry.notes[0]}", highlight=False, markup=False)
            entries.append(entry)
            progress(done, len(chosen))
    page = RationalePage(
        shelf.store.identity,
        shelf.vocabulary,
        entries,
        facts=shelf.facts(),
        reasons=quarantine_counts(shelf.refused.values()),
        notes=shelf.notes(),
        command=shlex.join(["ovgsr", *sys.argv[1:]]),
    )
    size = write_rationale_page(out, page)
    _print_summary(out, page, size)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Shelf:
    """A data set's training pictures and what was written about them."""

    data: Path
    vocabulary: Vocabulary
    split: VerbSplit
    images: Sequence[AnnotatedImage]
    store: RationaleStore
    written: Mapping[str, PictureRationales]
    refused: Mapping[str, Quarantined]

    def facts(self) -> list[tuple[str, int]]:
        """What stands at the top of the page."""
        left = len(self.images) - len(self.written) - len(self.refused)
        facts = [("training pictures", len(self.images)), ("with rationales", len(self.written))]
        facts += [("quarantined", len(self.refused)), ("not yet asked about", left)]
        return facts

    def notes(self) -> list[str]:
        """What a reader must know before trusting the page."""
        from ovgsr.teacher.jrg.store import data_sha256

        notes = []
        stale = len(self.store.stale(self.images))
        if stale:
            have = "1 picture has" if stale == 1 else f"{stale} pictures have"
            notes.append(f"{have} rationales of an annotation that has changed since; not shown.")
        if data_sha256(self.vocabulary) != self.store.identity.data_sha256:
            notes.append(
                f"The words of {self.data.name} (verbs, roles, nouns, definitions) are not those that the rationales "
                "were written with."
            )
        return notes


def _read(data: Path, rationales: Path, split_file: Path | None) -> _Shelf:
    from ovgsr.data.swig import read_annotations, read_split, read_vocabulary, require_known_verbs
    from ovgsr.teacher.jrg.store import RationaleStore
    from ovgsr.verb_split import VerbSplit

    vocabulary = read_vocabulary(data)
    split = read_split(data, split_file) or VerbSplit("all verbs seen", seen=vocabulary.verb_names)
    require_known_verbs(split, vocabulary)
    store = RationaleStore.open(rationales, split=split)
    images = split.pictures(read_annotations(data, "train"), "train")
    return _Shelf(data, vocabulary, split, images, store, store.read(images), store.quarantined(images))


def _drawn(
    shelf: _Shelf, verbs: Sequence[str] | None, limit: int, seed: int, quarantined: bool
) -> list[AnnotatedImage]:
    """Pictures with rationales, then the quarantined ones where they are wanted; each at most ``limit``."""
    from ovgsr.data.swig import with_verbs
    from ovgsr.errors import OvgsrError
    from ovgsr.rationale_page import spread_over_verbs

    for name in verbs or ():
        if name not in shelf.split.training:
            kind = "is no training verb" if name in shelf.vocabulary else "is no verb"
            raise OvgsrError(f"--verb {name}: this {kind} of {shelf.data}{_nearest(name, shelf.split.training)}")
    images = with_verbs(shelf.images, verbs) if verbs else shelf.images
    chosen = spread_over_verbs((image for image in images if image.file_name in shelf.written), limit, seed)
    refused = [image for image in images if image.file_name in shelf.refused]
    if quarantined:
        chosen += spread_over_verbs(refused, limit, seed)
    if not chosen:
        of_verbs = f" of {', '.join(verbs)}" if verbs else ""
        remedy = "add --quarantined to see why" if refused and not quarantined else "run 'ovgsr teacher rationales'"
        stale = len(shelf.store.stale(images))
        changed = f", {stale} of an annotation that has changed" if stale else ""
        raise OvgsrError(
            f"{shelf.store.folder}: no picture{of_verbs} of {shelf.data} has rationales "
            f"({len(refused)} quarantined{changed}); {remedy}"
        )
    return chosen


def _named(shelf: _Shelf, names: Sequence[str], quarantined: bool) -> list[AnnotatedImage]:
    """The pictures of these names, in the order given. A path to one of the data set's pictures names it, too."""
    from ovgsr.data.swig import image_folder
    from ovgsr.errors import OvgsrError

    by_name = {image.file_name: image for image in shelf.images}
    chosen: dict[str, AnnotatedImage] = {}
    for given in names:
        path = Path(given)
        folder = image_folder(shelf.data).resolve()
        inside = path.resolve().relative_to(folder).as_posix() if path.resolve().is_relative_to(folder) else given
        name = given if given in by_name else inside
        if name not in by_name:
            raise OvgsrError(
                f"--pictures {given}: {shelf.data} has no such training picture of a seen or rare verb"
                f"{_nearest(name, tuple(by_name))}"
            )
        if name not in shelf.written:
            if name not in shelf.refused:
                raise OvgsrError(f"--pictures {given}: nothing was written about it; run 'ovgsr teacher rationales'")
            if not quarantined:
                reasons = ", ".join(shelf.refused[name].codes)
                raise OvgsrError(f"--pictures {given}: it was quarantined ({reasons}); add --quarantined to see it")
        chosen[name] = by_name[name]
    return list(chosen.values())


def _nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about a name that is not there."""
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else "; check the name and --split"


def _load(teacher: str, device: str | None, precision: str) -> LookingTeacher:
    from ovgsr.teacher.multimodal_llm import MultimodalLLM

    return MultimodalLLM.from_pretrained(teacher, device=device, precision=precision)  # type: ignore[arg-type]


def _entry(shelf: _Shelf, data: Path, annotated: AnnotatedImage, llm: LookingTeacher | None) -> PageEntry:
    """Everything about one picture. One that cannot be read says so in its first note."""
    from ovgsr.data.swig import image_path
    from ovgsr.models.preprocess import ImageError, load_image
    from ovgsr.rationale_page import PageEntry

    name = annotated.file_name
    written, refused = shelf.written.get(name), shelf.refused.get(name)
    try:
        image = load_image(image_path(data, name))
    except ImageError as error:
        return PageEntry(annotated, None, written, refused, notes=(str(error),))
    return PageEntry(annotated, image, written, refused, None if llm is None else _view(llm, image, annotated))


def _view(llm: LookingTeacher, image: Image, annotated: AnnotatedImage) -> TeacherView:
    """The teacher asked as the prompted recognizer asks it."""
    from ovgsr.rationale_page import on_picture
    from ovgsr.recognizers.prompted_settings import PromptSettings
    from ovgsr.teacher.picture_view import look

    asked = PromptSettings()
    nouns = on_picture(annotated, image).nouns
    return look(
        llm,
        image,
        {role: noun.box_xyxy for role, noun in nouns.items() if noun.box_xyxy is not None},
        question=asked.question,
        answer_start=f"{asked.subject} is",
        caption_tokens=asked.caption_tokens,
    )


def _print_summary(out: Path, page: RationalePage, size: int) -> None:
    from ovgsr.cli.progress import console
    from ovgsr.rationale_page import NO_LLM

    verbs = {entry.annotated.situation.verb for entry in page.entries}
    lines = [f"{out}: {len(page.entries)} pictures of {len(verbs)} verbs, {size / 1e6:.1f} MB"]
    lines += [f"note: {note}" for note in page.notes]
    lines += [f"note: {note}" for note in dict.fromkeys(n for e in page.entries if e.view for n in e.view.notes)]
    if page.identity.is_llm is not True:
        lines.append(f"{NO_LLM}.")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
