"""The page of rationales: what a person must see is on it, and nothing that was written can change the page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from tests.teacher.replies import WORDS, throwing_picture
from tests.test_report import Page

from ovgsr.drawing import role_colours
from ovgsr.rationale_page import (
    PageEntry,
    RationalePage,
    marked,
    on_picture,
    quarantine_counts,
    render_rationale_page,
    spread_over_verbs,
    visible,
)
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.rationales import Gaze, Glimpse, Negative, PictureRationales, Provenance
from ovgsr.teacher.jrg.store import Quarantined, StoreIdentity
from ovgsr.teacher.picture_view import PictureMap, TeacherView
from ovgsr.vocabulary import Noun, Verb, Vocabulary

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</style></title>-->{{ 7*7 }}"
BIDI = "abc\u202edcba\u2066\u200f\u200b\x00\x1b[31m\ud83d"
IDENTITY = StoreIdentity("jrg-1", "a" * 64, "template:jrg-1", False, "mine", "b" * 64, "drawn", "c" * 64, 2, 5)


def rationales(image: AnnotatedImage, text: str = "", **provenance: Any) -> PictureRationales:
    made = {"template": "jrg-1", "model": "m-7b", "is_llm": True, "seed": 31, "prompt_sha256": "d" * 64, "attempts": 2}
    return PictureRationales(
        image.file_name,
        "e" * 64,
        "throwing",
        Glimpse(
            text or "A man in the park throws a ball.",
            (Negative("verb", "catching", text or "Someone caught it, so they say."),),
        ),
        {
            "agent": Gaze(text or "The man throws.", (Negative("place", "lower right", "He is in the lower right."),)),
            "item": Gaze(
                "The ball flies.",
                (Negative("filler", text or "box", "Two boxes fly."), Negative("role", "agent", "Agent.")),
            ),
        },
        Provenance(**(made | provenance)),
    )


def page_of(*entries: PageEntry, **fields: Any) -> RationalePage:
    return RationalePage(**({"identity": IDENTITY, "vocabulary": WORDS, "entries": entries} | fields))


def picture() -> Image.Image:
    return Image.new("RGB", (96, 96), "steelblue")


@pytest.fixture(scope="module")
def text() -> str:
    image = throwing_picture()
    view = TeacherView(
        "the teacher",
        "someone throws",
        (PictureMap(picture(), "Heat", "agent: 3 %", is_heat=True), PictureMap(picture(), "Tiles", "like colours")),
        ("no such map",),
    )
    refused = Quarantined("throwing_2.jpg", "0" * 64, (("length", "too long"), ("language", "Dutch")), "een man", 3)
    return render_rationale_page(
        page_of(
            PageEntry(image, picture(), rationales(image), view=view),
            PageEntry(throwing_picture(2), picture(), quarantined=refused),
            PageEntry(throwing_picture(3), None, rationales(image), notes=("throwing_3.jpg: there is no such file",)),
            facts=(("training pictures", 12345), ("with rationales", 2)),
            reasons={"length": 1, "language": 1},
            notes=("4 pictures are stale",),
            command="ovgsr teacher show",
        )
    )


@pytest.mark.parametrize(
    "words",
    [
        "not by a language model (template:jrg-1)",  # said plainly
        "12,345",
        "4 pictures are stale",
        "template jrg-1 · language model m-7b · seed 31 · 2 attempts · prompt dddddddddddd",
        "throwing_1.jpg",
        "Annotated: a man throws a rubber ball in a park",
        "✓ right A man in the park throws a ball.",
        "✗ judged wrong: catching Someone caught it",
        "✗ wrong place: lower right He is in",
        "✗ wrong filler: box Two boxes fly.",
        "✗ wrong role: agent Agent.",
        "agent: man (other annotators: person)",
        "item: rubber ball (other annotators: nothing)",
        "place: park (other annotators: inside)",
        "Nothing was written about this role.",  # the place has no gaze
        "The teacher the teacher says:",
        "someone throws",
        "agent: 3 %",
        "no such map",
        "Quarantined after 3 attempts",
        "length: too long",
        "een man",
        "throwing_3.jpg: there is no such file",
    ],
)
def test_what_a_judge_needs_is_there(text: str, words: str) -> None:
    assert words in " ".join(Page(text).words.split())


def test_wrong_words_are_marked(text: str) -> None:
    assert re.findall("<mark>(.*?)</mark>", text)[:4] == ["caught", "lower right", "boxes", "Agent"]


def test_every_picture_has_an_alternative_text_and_comes_with_the_page(text: str) -> None:
    images = Page(text).named("img")
    assert len(images) == 2 + 2  # two drawings (the third picture is lost) and two maps
    assert [image["alt"] for image in images][:2] == [
        "Annotated picture: a man throws a rubber ball in a park",
        "Heat. agent: 3 %",
    ]
    assert all(str(image["src"]).startswith("data:image/") for image in images)


def test_nothing_comes_from_elsewhere_and_no_script_runs(text: str) -> None:
    assert "http://" not in text
    assert "https://" not in text
    assert not Page(text).named("script")
    policy = next(m for m in Page(text).named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_role_has_the_colour_of_its_box(text: str) -> None:
    colours = role_colours(("agent", "item", "place"))
    sections = [s["style"] for s in Page(text).named("section") if s.get("class") == "gaze"]
    assert sections[:3] == [f"--role: rgb{colours[role]}" for role in ("agent", "item", "place")]


@pytest.mark.parametrize("is_llm", [True, False, "no", 1], ids=repr)
def test_only_a_language_model_counts_as_one(is_llm: Any) -> None:
    text = render_rationale_page(page_of(identity=replace(IDENTITY, is_llm=is_llm)))
    assert ("not by a language model" in text) == (is_llm is not True)
    assert ("Written by the language model" in text) == (is_llm is True)


def hostile_page(text: str) -> str:
    """Everything that others write is ``text``."""
    words = Vocabulary((Verb("throwing", ("agent", text), text, text),), (Noun("n1", (text,)),), name=text)
    noun = GroundedNoun("n1", (1.0, 1.0, 50.0, 50.0), annotators=("n1", text, "n1"))
    image = AnnotatedImage(text, 96, 96, (Situation("throwing", {"agent": noun, text: noun}),))
    made = rationales(image, text, template=text, model=text, seed=text, prompt_sha256=text, attempts=text)
    kind: Any = text
    gazes = {text: Gaze(text, (Negative(kind, text, text),)), f"{text}2": Gaze(text)}
    made = replace(made, verb=text, glimpse=Glimpse(text, (Negative(kind, "", text),)), gazes=gazes)
    view = TeacherView(text, text, (PictureMap(picture(), text, text, True),), (text,))
    identity = StoreIdentity(text, text, text, True, text, text, text, text, text, text)  # type: ignore[arg-type]
    refused = Quarantined(text, "0" * 64, ((text, text),), text, 1)
    return render_rationale_page(
        page_of(
            PageEntry(image, picture(), made, view=view, notes=(text,)),
            PageEntry(image, picture(), quarantined=refused),
            identity=identity,
            vocabulary=words,
            facts=((text, 1),),
            reasons={text: 1},
            notes=(text,),
            command=text,
        )
    )


def shape(text: str) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attributes)) for tag, attributes in Page(text).tags if tag != "mark"]


def test_hostile_text_is_only_text() -> None:
    calm, hostile = hostile_page("calm"), hostile_page(HOSTILE)
    assert shape(hostile) == shape(calm)
    assert "49" not in Page(hostile).words  # no template runs in a text
    assert Page(hostile).words.count("<script>alert(1)</script>") > 20
    assert hostile.count("</style>") == calm.count("</style>") == 1


def test_characters_that_hide_or_reorder_are_spelt_out() -> None:
    page = hostile_page(BIDI)
    for character in "\u202e\u2066\u200f\u200b\x00\x1b\ud83d":
        assert character not in page
    assert "abc⟨U+202E⟩dcba⟨U+2066⟩⟨U+200F⟩⟨U+200B⟩⟨U+0000⟩⟨U+001B⟩[31m⟨U+D83D⟩" in page
    page.encode("utf-8")  # no half of a character is left
    assert visible("été, שלום, two\nlines\tand 😀") == "été, שלום, two\nlines\tand 😀"


def test_a_text_without_end_is_cut() -> None:
    page = hostile_page("word " * 1_600)
    assert "word " * 1_001 not in page
    assert "(cut: 8000 characters)" in page


# Kind, what is wrong, the text, the marked pieces.
MARKED: list[tuple[str, str, str, list[str]]] = [
    ("verb", "carrying", "He carries it; carried, not carrying.", ["carries", "carried", "carrying"]),
    ("verb", "sitting_on", "She sits on it.", ["sits on"]),
    ("filler", "dog", "Dogs, a hotdog, DOG.", ["Dogs", "DOG"]),
    ("filler", "tennis ball", "a tennis  ball or tennis-balls", ["tennis  ball", "tennis-balls"]),
    ("place", "upper left", "in the Upper Left corner", ["Upper Left"]),
    ("role", "agentpart", "the agent part of it", ["agent part"]),
    ("filler", "", "nothing to mark", []),
    ("filler", "a.c", "abc a.c", ["a.c"]),
    ("verb", "(+", "a (+ b", ["(+"]),
    ("filler", "cat", "no such word", []),
]


@pytest.mark.parametrize(("kind", "wrong", "text", "words"), MARKED)
def test_what_is_marked(kind: str, wrong: str, text: str, words: list[str]) -> None:
    pieces = marked(text, kind, wrong)
    assert [piece for piece, is_wrong in pieces if is_wrong] == words
    assert "".join(piece for piece, _ in pieces) == text


def of_verb(verb: str, number: int) -> AnnotatedImage:
    return AnnotatedImage(f"{verb}_{number}.jpg", 9, 9, (Situation(verb, {"agent": GroundedNoun("n1")}),))


def test_pictures_are_spread_over_verbs() -> None:
    images = [of_verb(verb, number) for verb, count in (("a", 50), ("b", 3), ("c", 1)) for number in range(count)]
    chosen = spread_over_verbs(images, 8, seed=0)
    verbs = [image.situation.verb for image in chosen]
    assert sorted(verbs[:3]) == ["a", "b", "c"]
    assert sorted(verbs[3:5]) == ["a", "b"]
    assert sorted(verbs[5:7]) == ["a", "b"]
    assert verbs[7] == "a"
    assert len({image.file_name for image in chosen}) == 8
    assert spread_over_verbs(reversed(images), 8, seed=0) == chosen  # whatever the order
    assert spread_over_verbs(images, 8, seed=1) != chosen
    assert len(spread_over_verbs(images, 500, seed=0)) == 54
    assert spread_over_verbs([], 5, seed=0) == []


def test_boxes_follow_a_picture_of_another_size() -> None:
    moved = on_picture(throwing_picture(), Image.new("RGB", (192, 48)))  # twice as wide, half as high
    assert moved.nouns["agent"].box_xyxy == (10.0, 2.5, 50.0, 12.5)
    assert moved.nouns["place"].box_xyxy is None


def test_reasons_are_counted_once_a_picture() -> None:
    entries = [
        Quarantined("1", "0" * 64, (("length", "a"), ("length", "b"), ("language", "c")), "", 1),
        Quarantined("2", "0" * 64, (("length", "a"),), "", 1),
    ]
    assert list(quarantine_counts(entries).items()) == [("length", 2), ("language", 1)]
