"""``ovgsr teacher show``: which pictures are on the page, what is said of the rest, how it ends."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from tests.teacher.conftest import tiny_llava_folder  # noqa: F401  (a fixture)
from tests.test_report import Page
from typer.testing import CliRunner

from ovgsr.cli import teacher_show
from ovgsr.data.swig import read_annotations, read_split, read_vocabulary, with_verbs
from ovgsr.errors import OvgsrError
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.rationales import Gaze, Glimpse, Negative, PictureRationales, Provenance, annotation_sha256
from ovgsr.teacher.jrg.store import Quarantined, StoreIdentity, StoreWriter, data_sha256

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("show")(teacher_show.show)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})

    return invoke


def rationales(image: AnnotatedImage, sha256: str = "") -> PictureRationales:
    verb = image.situation.verb
    return PictureRationales(
        image.file_name,
        sha256 or annotation_sha256(image),
        verb,
        Glimpse(f"This is {verb}.", (Negative("verb", "carrying", "It is carrying."),)),
        {"agent": Gaze("The agent acts.", ())},
        Provenance("jrg-1", "template:jrg-1", False, 3, "d" * 64),
    )


def training(root: Path) -> tuple[AnnotatedImage, ...]:
    split = read_split(root)
    assert split is not None
    return with_verbs(read_annotations(root, "train"), split.training)


@pytest.fixture(scope="module")
def store(sketch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All training pictures but the last six: three quarantined, one of another annotation, two not asked about."""
    folder = tmp_path_factory.mktemp("stores") / "rationales"
    split, vocabulary = read_split(sketch_root), read_vocabulary(sketch_root)
    assert split is not None
    identity = StoreIdentity(
        "jrg-1",
        "a" * 64,
        "template:jrg-1",
        False,
        split.name,
        split.fingerprint,
        "sketch",
        data_sha256(vocabulary),
        2,
        0,
    )
    images = training(sketch_root)
    with StoreWriter(folder, identity) as writer:
        for image in images[:-6]:
            writer.add(rationales(image))
        for image in images[-6:-3]:
            reasons = (("length", "it is too long"), ("language", "it is Dutch"))
            writer.quarantine(Quarantined(image.file_name, annotation_sha256(image), reasons, "een man", 3))
        writer.add(rationales(images[-3], "f" * 64))
    return folder


def titles(out: Path) -> list[tuple[str, str]]:
    """(verb, file name) of each picture on the page."""
    heading = r"<h2><bdi>(.*?)</bdi> <small><bdi>(.*?)</bdi></small></h2>"
    return re.findall(heading, out.read_text(encoding="utf-8"))


def test_pictures_spread_over_verbs(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    arguments = ["--data", sketch_root, "--rationales", store, "--out", out, "--limit", 5]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    shown = titles(out)
    assert len({verb for verb, _ in shown}) == len(shown) == 5
    assert "5 pictures of 5 verbs" in result.output
    assert "not by a language model" in result.output
    page = Page(out.read_text(encoding="utf-8"))
    assert len(page.named("img")) == 5
    words = " ".join(page.words.split())
    count = len(training(sketch_root))
    facts = f"training pictures ?{count} with rationales ?{count - 6} quarantined ?3 not yet asked about ?3"
    assert re.search(facts, words)
    assert "1 picture has rationales of an annotation that has changed since" in words
    assert re.search(r"length ?3 language ?3", words)
    run(*arguments)
    assert titles(out) == shown  # the same seed, the same page
    run(*arguments, "--seed", 1)
    assert titles(out) != shown


def test_only_some_verbs(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    first, second = sorted({image.situation.verb for image in training(sketch_root)[:-6]})[:2]
    out = tmp_path / "page.html"
    result = run("--data", sketch_root, "--rationales", store, "--out", out, "--verb", first, "--verb", second)
    assert result.exit_code == 0, result.output
    assert {verb for verb, _ in titles(out)} == {first, second}


def test_named_pictures_in_the_order_given(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    names = [image.file_name for image in training(sketch_root)]
    path = sketch_root / "images_512" / names[2]
    out = tmp_path / "page.html"
    arguments = ["--data", sketch_root, "--rationales", store, "--out", out]
    result = run(*arguments, "--pictures", names[7], "--pictures", path, "--pictures", names[7], "--limit", 1)
    assert result.exit_code == 0, result.output
    assert [name for _, name in titles(out)] == [names[7], names[2]]
    result = run(*arguments, "--pictures", names[-6], "--quarantined")
    assert result.exit_code == 0, result.output
    assert [name for _, name in titles(out)] == [names[-6]]


def test_quarantined_pictures_with_their_reasons(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = ["--data", sketch_root, "--rationales", store, "--out", out, "--limit", 2]
    result = run(*arguments, "--quarantined")
    assert result.exit_code == 0, result.output
    refused = {image.file_name for image in training(sketch_root)[-6:-3]}
    shown = [name for _, name in titles(out)]
    assert len(shown) == 4
    assert set(shown[2:]) < refused
    text = " ".join(Page(out.read_text(encoding="utf-8")).words.split())
    assert text.count("Quarantined after 3 attempts") == 2
    assert "length: it is too long language: it is Dutch" in text
    assert "een man" in text


def test_a_picture_that_cannot_be_read_is_named(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(sketch_root, root)
    first, second = (image.file_name for image in training(root)[:2])
    (root / "images_512" / first).unlink()
    out = tmp_path / "page.html"
    arguments = ["--data", root, "--rationales", store, "--out", out]
    result = run(*arguments, "--pictures", first, "--pictures", second)
    assert result.exit_code == 1
    assert f"{first}: there is no such file" in result.output
    assert len(titles(out)) == 2
    page = Page(out.read_text(encoding="utf-8"))
    assert len(page.named("img")) == 1
    assert "there is no such file" in page.words


# The options; words of the sentence.
BAD: list[tuple[str, list[str], str]] = [
    ("no such data", ["--data", "nowhere"], "nowhere"),
    ("no such store", ["--rationales", "nowhere"], "ovgsr teacher rationales"),
    ("a folder as the page", ["--out", "FOLDER"], "name a file in it"),
    ("a misspelt verb", ["--verb", "throwin"], "is no verb of"),
    ("an unseen verb", ["--verb", "UNSEEN"], "is no training verb of"),
    ("a misspelt picture", ["--pictures", "FIRST.jpeg"], "did you mean FIRST?"),
    ("a picture that is none", ["--pictures", "../../etc/passwd"], "no such training picture"),
    ("a picture in quarantine", ["--pictures", "QUARANTINED"], "(length, language); add --quarantined"),
    ("a picture without rationales", ["--pictures", "LAST"], "nothing was written about it"),
    ("a precision that is none", ["--teacher", "x", "--teacher-precision", "half"], "must be one of auto"),
    ("no such teacher", ["--teacher", "./nowhere/at-all"], "nowhere/at-all"),
]


@pytest.mark.parametrize(("arguments", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_a_sentence(
    run: Run, sketch_root: Path, store: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    split, images = read_split(sketch_root), training(sketch_root)
    assert split is not None
    known = {
        "FOLDER": str(tmp_path),
        "UNSEEN": split.unseen[0],
        "FIRST": images[0].file_name,
        "QUARANTINED": images[-6].file_name,
        "LAST": images[-1].file_name,
    }
    for name, value in known.items():
        arguments = [argument.replace(name, value) for argument in arguments]
        words = words.replace(name, value)
    out = tmp_path / "page.html"
    result = run("--data", sketch_root, "--rationales", store, "--out", out, *arguments)
    assert isinstance(result.exception, OvgsrError), result.output
    assert words in str(result.exception)
    assert not out.exists()


def test_a_store_of_another_split_is_refused(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    own = read_split(sketch_root)
    assert own is not None
    record = {"format": "ovgsr-split-1", "name": "mine", "seen": own.seen[1:], "rare": own.rare, "unseen": own.seen[:1]}
    (tmp_path / "split.json").write_text(json.dumps(record), encoding="utf-8")
    options = ["--split", tmp_path / "split.json", "--out", tmp_path / "page.html"]
    result = run("--data", sketch_root, "--rationales", store, *options)
    assert isinstance(result.exception, OvgsrError)
    assert "made for the split" in str(result.exception)


def test_a_store_without_a_picture_of_these_data(run: Run, sketch_root: Path, store: Path, tmp_path: Path) -> None:
    empty = tmp_path / "store"
    empty.mkdir()
    shutil.copy(store / "store.json", empty)
    result = run("--data", sketch_root, "--rationales", empty, "--out", tmp_path / "page.html")
    assert isinstance(result.exception, OvgsrError)
    assert "no picture of" in str(result.exception)
    assert "(0 quarantined); run 'ovgsr teacher rationales'" in str(result.exception)


def test_with_a_real_teacher(
    run: Run,
    sketch_root: Path,
    store: Path,
    tmp_path: Path,
    tiny_llava_folder: Path,  # noqa: F811
) -> None:
    out = tmp_path / "page.html"
    options: list[Any] = ["--teacher", tiny_llava_folder, "--device", "cpu", "--limit", 2]
    result = run("--data", sketch_root, "--rationales", store, "--out", out, *options)
    assert result.exit_code == 0, result.output
    page = Page(out.read_text(encoding="utf-8"))
    assert len(page.named("img")) == 2 * 3  # the drawing, the attention, the tokens
    words = " ".join(page.words.split())
    assert "4 × 4 tokens, which get" in words
    assert "4 × 4 visual tokens" in words
    assert "after “someone is …”" in words
    assert words.count("Of the attention to the picture, in the boxes: agent:") == 2
