"""The page of an explanation: what a reader must find is there, and no text of anybody's can change the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.test_report import Page

from ovgsr.drawing import role_colours
from ovgsr.explanation_page import (
    ExplanationPage,
    cosine,
    draw_explanation,
    looked_at,
    noun_choices,
    percent,
    render_explanation_page,
    write_explanation_page,
    write_explanation_pictures,
)
from ovgsr.recognizers.explaining import Explanation, KnownText, RoleReading, SceneReading, VerbReading
from ovgsr.situation import GroundedNoun, Situation
from ovgsr.vocabulary import Noun, Verb, Vocabulary

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</style></title>-->{{ 7*7 }}"
BIDI = "abc\u202edcba\u2066\u200f\u200b\x00\x1b[31m\ud83d"
GRID = (2, 4)


def at(*cells: int) -> torch.Tensor:
    """All the look on these cells of the grid, evenly."""
    weights = torch.zeros(GRID[0] * GRID[1])
    weights[list(cells)] = 1 / len(cells)
    return weights


def explanation(text: str = "", **fields: Any) -> Explanation:
    """A picture of 80 x 40 pixels, of which a cell of the grid is 20 x 20; others' words may all be ``text``."""
    role = text or "item"
    verbs = (Verb("throwing", ("agent", role), text, text), Verb(text or "catching", ("agent", role)))
    nouns = (Noun("n1", (text or "man",)), Noun("n2", ("forest",), "land"), Noun("n3", ("forest",), "vegetation"))
    filled = {
        "agent": GroundedNoun("n1", (0.0, 0.0, 20.0, 40.0), 0.5, 0.999),
        role: GroundedNoun("n2", None, 0.25, 0.2),
    }
    made: dict[str, Any] = {
        "situation": Situation("throwing", filled, 0.6, frame_borrowed_from=text or None),
        "vocabulary": Vocabulary(verbs, nouns, name="tiny"),
        "grid": GRID,
        "verbs": (
            VerbReading("throwing", 1, -0.5, -1.25, 0.0, -0.511, True),
            VerbReading(text or "catching", 2, -2e7, -0.75, 1.5, -0.92, False),
        ),
        "readings": (
            SceneReading("recognition", at(0, 1), (("throwing", 0.625), (text or "catching", -0.125))),
            SceneReading("distilled", at(7), ((text or "catching", 0.5),)),
        ),
        "roles": (
            RoleReading("agent", filled["agent"], at(0, 1, 2, 4), (("", 0.3),)),
            RoleReading(role, filled[role], at(3), (("n3", 0.125), ("n1", 0.004))),
        ),
        "nearest_texts": ((KnownText(text or "A man throws a ball.", text or "throwing", text or "a.jpg"), 0.375),),
        "texts_compared": 12,
        "compared_with": "distilled",
        "notices": (text or "drawings only",),
    }
    return Explanation(**(made | fields))


def page_of(explained: Explanation, text: str = "", **fields: Any) -> ExplanationPage:
    image = Image.new("RGB", (80, 40), "steelblue")
    named = {"file_name": text or "holiday.jpg", "model": text or "sketch", "notes": [text or "a note"]}
    pictures = draw_explanation(explained, image)
    return ExplanationPage(
        explained, image, pictures, **(named | {"command": text or "ovgsr explain holiday.jpg"} | fields)
    )


@pytest.fixture(scope="module")
def text() -> str:
    return render_explanation_page(page_of(explanation()))


@pytest.mark.parametrize(
    "words",
    [
        "drawings only",
        "a note",
        "holiday.jpg seen by the model sketch",
        # rank, verb, probability, recognition, distilled, constant, together, trained
        "1. throwing 60 % −0.50 −1.25 0 −0.51 yes",
        "2. catching 40 % never −0.75 1.50 −0.92 no",
        "Recognition part Of this look, in the boxes: agent: 50 % on 25 % of the area.",  # one of its two cells
        "Distilled part Of this look, in the boxes: agent: 0 % on 25 % of the area.",
        "agent: man man 50 % nothing 30 %",
        # two of the agent's four cells
        "Box drawn: the model is over 99 % sure that this can be seen. Of the look, 50 % falls into it, on 25 % of",
        "forest (land) 25 % forest (vegetation) 12 % man under 1 %",
        "No box: the model is 20 % sure that this can be seen.",
        "Recognition part throwing 0.62 catching −0.12",
        "12 different sentences were compared",
        "A man throws a ball. throwing · cosine 0.38 · a.jpg",
        "ovgsr explain holiday.jpg",
    ],
)
def test_what_a_reader_needs_is_there(text: str, words: str) -> None:
    assert words in " ".join(Page(text).words.split())


def test_every_picture_comes_with_the_page_and_has_an_alternative_text(text: str) -> None:
    images = Page(text).named("img")
    assert len(images) == 1 + 2 + 2  # the situation, two readouts, two roles
    assert all(str(image["src"]).startswith("data:image/") for image in images)
    assert all(len(str(image["alt"])) > 20 for image in images)


def test_nothing_comes_from_elsewhere_and_no_script_runs(text: str) -> None:
    assert "http://" not in text
    assert "https://" not in text
    assert not Page(text).named("script")
    policy = next(m for m in Page(text).named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    ("fields", "gone", "said"),
    [
        ({"nearest_texts": ()}, "Nearest rationales", "Nearest verbs"),
        # the closed-vocabulary baseline compares no texts
        ({"readings": (SceneReading("recognition", at(0), ()),)}, "Nearest verbs", "Where it looks for the verb"),
        # a student with one readout
        ({"verbs": (VerbReading("throwing", 1, -0.5, None, 0.0, -0.5, True),)}, "distilled", "trained"),
        # a verb that was asked for and is not the best
        (
            {
                "verbs": (
                    VerbReading("catching", 1, -0.1, None, 0.0, -0.1, True),
                    VerbReading("throwing", 7, -3.0, None, 0.0, -3.0, True),
                )
            },
            "borrowed",
            "Left to itself the model says catching (90 %); throwing is its number 7 (5 %).",
        ),
    ],
)
def test_what_there_is_not_is_left_out(fields: dict[str, Any], gone: str, said: str) -> None:
    words = " ".join(Page(render_explanation_page(page_of(explanation(**fields)))).words.split())
    table = words.partition("Where it looks")[0] if gone == "distilled" else words
    assert gone not in table
    assert said in words


def hostile_page(text: str) -> str:
    return render_explanation_page(page_of(explanation(text), text))


def test_hostile_text_is_only_text() -> None:
    calm, hostile = hostile_page("calm"), hostile_page(HOSTILE)
    shapes = [[(tag, sorted(attributes)) for tag, attributes in Page(page).tags] for page in (calm, hostile)]
    assert shapes[0] == shapes[1]
    assert "49" not in Page(hostile).words  # no template runs in a text
    assert Page(hostile).words.count("<script>alert(1)</script>") > 10
    assert hostile.count("</style>") == 1
    assert "word " * 401 not in hostile_page("word " * 1_000)  # no text without end


def test_characters_that_hide_or_reorder_are_spelt_out() -> None:
    page = hostile_page(BIDI)
    for character in "\u202e\u2066\u200f\u200b\x00\x1b\ud83d":
        assert character not in page
    page.encode("utf-8")


def test_a_look_is_bright_where_the_model_looked() -> None:
    drawn = draw_explanation(explanation(), Image.new("RGB", (80, 40), "steelblue"))
    seen = np.asarray(drawn.readouts["distilled"].convert("L"), float)  # all of it on the last cell, lower right
    height, width = seen.shape
    assert seen[height * 3 // 4, width * 7 // 8] > 2 * seen[height // 4, width // 8]
    agent = np.asarray(drawn.roles["agent"])  # its box, the left quarter, in the role's colour
    colour = role_colours(("agent", "item"))["agent"]
    assert (agent[height // 2, width // 4 - 2] == colour).all()
    assert not (agent == colour).all(-1)[:, width // 4 + 2 :].any()
    assert drawn.situation.width >= 640


def test_a_box_on_the_edge_and_a_picture_of_one_pixel() -> None:
    for size in ((1, 1), (3, 900)):
        box = (float(size[0]), float(size[1]), float(size[0]), float(size[1]))  # no area, in the corner
        answer = GroundedNoun("n1", box, 0.5, 0.9)
        made = explanation(
            situation=Situation("throwing", {"agent": answer}), roles=(RoleReading("agent", answer, at(0), ()),)
        )
        image = Image.new("RGB", size)
        drawn = draw_explanation(made, image)
        assert "agent: man" in " ".join(
            Page(render_explanation_page(ExplanationPage(made, image, drawn))).words.split()
        )


def test_pictures_as_files(tmp_path: Path) -> None:
    page = page_of(explanation("a/../b role"))
    written = write_explanation_pictures(tmp_path / "new", page.pictures)
    names = ["situation", "scene_recognition", "scene_distilled", "role_1_agent", "role_2_a_b_role"]
    assert [path.name for path in written] == [f"{name}.png" for name in names]
    assert sorted((tmp_path / "new").iterdir()) == sorted(written)
    with Image.open(written[0]) as image:
        assert image.size == page.pictures.situation.size


def test_the_page_as_a_file(tmp_path: Path) -> None:
    path, page = tmp_path / "new" / "page.html", page_of(explanation(), file_name="h\udce9.jpg")  # no valid name
    size = write_explanation_page(path, page)
    assert path.stat().st_size == size < 200_000
    assert re.search(r"h⟨U\+DCE9⟩\.jpg", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.0, "0 %"), (0.004, "under 1 %"), (0.01, "1 %"), (0.625, "62 %"), (0.996, "over 99 %"), (1.0, "100 %")],
)
def test_probabilities_for_people(probability: float, words: str) -> None:
    assert percent(probability) == words


@pytest.mark.parametrize(("value", "words"), [(0.375, "0.38"), (-0.1, "−0.10"), (-0.004, "0.00"), (-12.345, "−12.35")])
def test_numbers_for_people(value: float, words: str) -> None:
    assert cosine(value) == words


def test_the_share_of_a_look_in_its_box() -> None:
    made = explanation()
    assert looked_at(made.roles[0], made, (80, 40)) == pytest.approx((0.5, 0.25))
    assert looked_at(made.roles[1], made, (80, 40)) is None  # no box
    half = replace(made.roles[0], answer=GroundedNoun("n1", (0.0, 0.0, 10.0, 20.0)))
    assert looked_at(half, made, (80, 40)) == pytest.approx((0.125, 0.0625))  # half of the first cell


def test_two_meanings_of_a_word_are_told_apart() -> None:
    made = explanation()
    assert noun_choices(made.roles[1], made.vocabulary) == [
        ("forest (land)", 0.25),
        ("forest (vegetation)", 0.125),
        ("man", 0.004),
    ]
    assert noun_choices(made.roles[0], made.vocabulary)[1] == ("nothing", 0.3)
