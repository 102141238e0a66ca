"""``ovgsr explain``: one prediction with its reasons, as a page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovgsr.explanation_page import ExplanationPage
    from ovgsr.recognizers.explaining import KnownText
    from ovgsr.vocabulary import Vocabulary


def explain(
    picture: Annotated[Path, typer.Argument(help="The picture.")],
    model: Annotated[
        str | None, typer.Option(help="Student: folder, hub name, or 'sketch' (shipped; drawn pictures only; default).")
    ] = None,
    verbs: Annotated[str | None, typer.Option(help="Verbs to choose from: 'feeding,riding', or a file.")] = None,
    nouns: Annotated[str | None, typer.Option(help="Nouns to choose from: 'dog,woman', or a file.")] = None,
    verb: Annotated[str | None, typer.Option(help="Fill the frame of this verb instead of the best one's.")] = None,
    rationales: Annotated[
        Path | None, typer.Option(help="Folder of rationales, from 'ovgsr teacher rationales', to find the nearest in.")
    ] = None,
    rationale_limit: Annotated[int, typer.Option(min=1, help="Rationales to compare, spread evenly.")] = 2000,
    top_k: Annotated[int, typer.Option(min=1, help="Verbs and rationales to show.")] = 5,
    out: Annotated[Path, typer.Option(help="The page: one HTML file.")] = Path("explanation.html"),
    png: Annotated[Path | None, typer.Option(help="Folder for the page's pictures, as PNG files too.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
) -> None:
    """Show why the model says what it says about a picture: where it looked, what it weighed, what it found alike.

    The page holds the predicted situation, the verbs' scores part by part, heat maps for the verb and for each role,
    and the nearest verbs (and rationales) by meaning. Nothing else is needed to read it.
    """
    from ovgsr.cli.progress import messages
    from ovgsr.explanation_page import (
        ExplanationPage,
        draw_explanation,
        write_explanation_page,
        write_explanation_pictures,
    )
    from ovgsr.models.preprocess import load_image
    from ovgsr.recognizers.explaining import explain as explain_picture
    from ovgsr.recognizers.student import SHIPPED_STUDENT, SituationRecognizer
    from ovgsr.recognizers.vocabulary_words import user_vocabulary

    _require_writable(picture, out, png)
    image = load_image(picture)
    texts = [] if rationales is None else _read_rationales(rationales, rationale_limit)
    recognizer = SituationRecognizer.from_pretrained(model or SHIPPED_STUDENT, device=device)
    vocabulary = user_vocabulary(recognizer.vocabulary, verbs, nouns, recognizer.text_encoder.encode)
    asked = None if verb is None else _offered(verb, vocabulary)
    for notice in recognizer.notices:
        messages.print(f"note: {notice}", highlight=False, markup=False)
    explanation = explain_picture(recognizer, image, vocabulary, verb=asked, top_k=top_k, texts=texts)
    notes = []
    if texts and not explanation.compared_with:
        notes.append(
            "no rationales: this student chooses among fixed classes and has nothing to compare sentences with"
        )
    pictures = draw_explanation(explanation, image)
    if png is not None:
        _require_other_files(picture, png, pictures.by_name())
    command = shlex.join(["ovgsr", *sys.argv[1:]])
    page = ExplanationPage(
        explanation, image, pictures, picture.name, model or SHIPPED_STUDENT, notes=notes, command=command
    )
    size = write_explanation_page(out, page)
    drawn = [] if png is None else write_explanation_pictures(png, pictures)
    _print_summary(page)
    _say(f"{out}: {size / 1e6:.1f} MB" + (f"; {len(drawn)} PNG files in {png}" if drawn else ""))


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` of the positions 0 to ``count`` - 1, evenly apart, the first among them."""
    kept = min(count, limit)
    return [number * count // kept for number in range(kept)]


def _require_writable(picture: Path, out: Path, png: Path | None) -> None:
    """Raises OvgsrError where a result could not be written or would take the picture's place."""
    from ovgsr.errors import OvgsrError

    if out.is_dir():
        raise OvgsrError(f"--out {out}: this is a folder; name a file in it, e.g. {out / 'explanation.html'}")
    if out.resolve() == picture.resolve():
        raise OvgsrError(f"--out {out}: this is the picture itself; name another file, e.g. explanation.html")
    if png is not None and png.exists() and not png.is_dir():
        raise OvgsrError(f"--png {png}: this is a file; name a folder")


def _require_other_files(picture: Path, folder: Path, names: Iterable[str]) -> None:
    """Raises OvgsrError where a PNG would take the picture's place."""
    from ovgsr.errors import OvgsrError

    for path in (folder / f"{name}.png" for name in names):
        if path.exists() and path.samefile(picture):
            raise OvgsrError(f"--png {folder}: the picture {picture} would be overwritten; name another folder")


def _read_rationales(folder: Path, limit: int) -> list[KnownText]:
    """What was written about the scenes of at most ``limit`` pictures."""
    from ovgsr.errors import OvgsrError
    from ovgsr.recognizers.explaining import KnownText
    from ovgsr.teacher.jrg.store import RationaleStore

    written = RationaleStore.open(folder).read()
    if not written:
        raise OvgsrError(f"--rationales {folder}: it holds no rationale; run 'ovgsr teacher rationales'")
    names = sorted(written)
    records = (written[names[position]] for position in spread(len(names), limit))
    return [KnownText(record.glimpse.positive, record.verb, record.file_name) for record in records]


def _offered(word: str, vocabulary: Vocabulary) -> str:
    """The offered verb of that name, or of its progressive form (feed: feeding)."""
    from difflib import get_close_matches

    from ovgsr.captions import progressive
    from ovgsr.errors import OvgsrError

    clean = " ".join(word.split())
    for name in (clean, clean.lower(), progressive(clean.lower()) if clean else ""):
        if name in vocabulary:
            return name
    near = get_close_matches(clean.lower(), vocabulary.verb_names, n=1)
    remedy = f"did you mean {near[0]}?" if near else "name it in --verbs, too"
    raise OvgsrError(f"--verb {word}: it is none of the {len(vocabulary.verbs)} verbs to choose from; {remedy}")


def _say(line: str) -> None:
    from ovgsr.cli.progress import console

    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_summary(page: ExplanationPage) -> None:
    from ovgsr.explanation_page import looked_at, noun_choices, percent, sentence_of

    explanation = page.explanation
    _say(f"{page.file_name}: {sentence_of(explanation)}")
    _say("verbs: " + ", ".join(f"{verb.verb} {percent(verb.probability)}" for verb in explanation.verbs))
    for role in explanation.roles:
        words = [f"{word} {percent(value)}" for word, value in noun_choices(role, explanation.vocabulary)]
        shares = looked_at(role, explanation, page.image.size)
        box = "no box" if shares is None else f"{percent(shares[0])} of the look in the box"
        _say(f"  {role.role}: {words[0]} (next: {', '.join(words[1:]) or 'none'}); {box}")
    for reading in explanation.readings:
        if reading.nearest_verbs:
            nearest = ", ".join(f"{verb} {value:.2f}" for verb, value in reading.nearest_verbs)
            _say(f"nearest verbs ({reading.readout}): {nearest}")
    for known, likeness in explanation.nearest_texts[:1]:
        _say(f"nearest rationale ({likeness:.2f}, {known.verb}): {known.text}")
    for note in page.notes:
        _say(f"note: {note}")
