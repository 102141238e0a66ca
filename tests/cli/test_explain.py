"""``ovgsr explain`` as a person runs it: the page it writes, what it prints, and how bad input ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image
from tests.teacher.replies import throwing_picture
from tests.test_rationale_page import IDENTITY, rationales
from tests.test_report import Page
from typer.testing import CliRunner, Result

from ovgsr.cli.explain import explain, spread
from ovgsr.errors import OvgsrError
from ovgsr.teacher.jrg.store import StoreWriter


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    made.command()(explain)
    return made


@pytest.fixture
def picture(sketch_root: Path) -> Iterator[Path]:
    yield min((sketch_root / "images_512").glob("*.jpg"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "store", IDENTITY) as writer:
        for number in range(1, 8):
            writer.add(rationales(throwing_picture(number), text=f"Sentence {number} about somebody."))
    return tmp_path / "store"


def run(app: typer.Typer, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(result.stdout.split())


def test_a_page_and_its_pictures(
    app: typer.Typer, picture: Path, trained_run: Path, store: Path, tmp_path: Path
) -> None:
    out, png = tmp_path / "new" / "page.html", tmp_path / "png"
    words = ["--verbs", "feeding,throwing,yodeling", "--nouns", "dog,ball", "--verb", "feed"]
    compared = ["--rationales", store, "--rationale-limit", 4, "--top-k", 2]
    result = run(app, picture, "--model", trained_run / "student", *words, *compared, "--out", out, "--png", png)
    summary = said(result)
    page = Page(out.read_text(encoding="utf-8"))
    shown = " ".join(page.words.split())
    for line in ("verbs: ", "agent: ", "food: ", "nearest verbs (recognition): ", "nearest rationale (", f"{out}: "):
        assert line in summary
    assert "Where it looks for each role of feeding" in shown
    assert "4 different sentences were compared" in shown
    assert "drawn pictures only" in shown
    assert "drawn pictures only" in result.stderr
    assert picture.name in shown
    assert shown.count("about somebody.") == 2  # --top-k
    assert len(list(png.glob("*.png"))) == len(page.named("img")) == 1 + 1 + 5  # five roles of feeding
    assert f"{len(list(png.glob('*.png')))} PNG files in {png}" in summary


def test_what_is_left_out_is_not_missed(app: typer.Typer, picture: Path, trained_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    said(run(app, picture, "--model", trained_run / "student", "--out", out))
    shown = Page(out.read_text(encoding="utf-8")).words
    assert "Nearest rationales" not in shown
    assert "as asked for" not in shown
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--verb", "throwig"], r"--verb throwig: it is none of the 3 verbs to choose from; did you mean throwing\?"),
        (["--verb", "qqq"], r"name it in --verbs, too"),
        (["--verb", ""], r"it is none of the 3 verbs"),
        (["--out", "{folder}"], r"--out .*: this is a folder; name a file in it"),
        (["--out", "{picture}"], r"this is the picture itself"),
        (["--png", "{picture}"], r"--png .*: this is a file; name a folder"),
        (["--png", "{folder}"], r"the picture .*situation.png would be overwritten; name another folder"),
        (["--rationales", "{folder}"], r"store.json"),
        (["--model", "{folder}"], r"no config.json"),
        (["--verbs", "feeding,,riding"], r"--verbs, entry 2: no verb stands here"),
    ],
)
def test_bad_input_is_a_sentence(
    app: typer.Typer, trained_run: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    picture = tmp_path / "situation.png"
    Image.new("RGB", (30, 20)).save(picture)
    before = picture.read_bytes()
    given = [argument.format(folder=tmp_path, picture=picture) for argument in arguments]
    usual = ["--model", trained_run / "student", "--verbs", "feeding,throwing,riding", "--out", tmp_path / "page.html"]
    result = run(app, picture, *usual, *given)
    assert isinstance(result.exception, OvgsrError)
    with pytest.raises(OvgsrError, match=message):
        raise result.exception
    assert picture.read_bytes() == before
    assert not (tmp_path / "page.html").exists()


def test_an_empty_store_and_a_missing_picture(app: typer.Typer, picture: Path, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "empty", IDENTITY):
        pass
    for arguments, message in (
        ([picture, "--rationales", tmp_path / "empty"], "it holds no rationale; run 'ovgsr teacher rationales'"),
        ([tmp_path / "no.jpg"], "there is no such file"),
    ):
        result = run(app, *arguments, "--out", tmp_path / "page.html")
        assert isinstance(result.exception, OvgsrError)
        assert message in str(result.exception)


@pytest.mark.parametrize(
    ("count", "limit", "chosen"),
    [(10, 3, [0, 3, 6]), (3, 10, [0, 1, 2]), (4, 4, [0, 1, 2, 3]), (7, 2, [0, 3]), (0, 5, [])],
)
def test_rationales_are_spread_evenly(count: int, limit: int, chosen: list[int]) -> None:
    assert spread(count, limit) == chosen
