"""The broad corpus: what its captions say, where its pictures come from, and how it is written."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from ovgsr.sketch.broad_corpus import ACTION_QUESTIONS, draw_captioned, phrasings
from ovgsr.sketch.broad_files import PLAN_FILE, read_broad_corpus, write_broad_corpus
from ovgsr.sketch.definitions import definitions
from ovgsr.sketch.free_scenes import sample_free_scene
from ovgsr.sketch.render import render
from ovgsr.sketch.sampling import sample_scene
from ovgsr.sketch.split import VERBS, SketchError
from ovgsr.sketch.things import things
from ovgsr.sketch.wording import at_place, call, can_fill, fill_slots
from ovgsr.sketch.write import draw_picture

DRAWN = [draw_captioned(7, index) for index in range(150)]


def test_every_verb_has_sentences_that_name_it_and_sentences_that_show_it() -> None:
    assert set(phrasings()) == set(VERBS)
    for verb, sentences in phrasings().items():
        stem = verb.removesuffix("ing")[:-1]  # chop(p)ing, juggl(e)ing: the last letter changes
        assert len(sentences.action) >= 4 and len(sentences.evidence) >= 3, verb
        assert all(re.search(rf"\b{stem}", sentence) for sentence in sentences.action), verb
        assert f" is {verb}" in sentences.action[0]
        assert not any(re.search(rf"\b{verb}\b", sentence) for sentence in sentences.evidence), verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_scene_of_a_verb_can_be_put_in_words(verb: str) -> None:
    roles = set(definitions()[verb].roles)
    for sentence in (*phrasings()[verb].action, *phrasings()[verb].evidence):
        assert set(re.findall(r"\{(\w+)\}", sentence)) <= roles, sentence
    for index in range(10):
        fillers = sample_scene(verb, random.Random(index)).fillers
        for sentences in (phrasings()[verb].action, phrasings()[verb].evidence):
            assert sum(can_fill(sentence, fillers) for sentence in sentences) >= 2


def test_captions_use_other_sentences_than_the_definitions() -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"[a-z]+", text.lower())
        return {tuple(words[at : at + 6]) for at in range(len(words) - 5)}

    for verb, sentences in phrasings().items():
        defined = runs(definitions()[verb].definition) | runs(definitions()[verb].abstract)
        for sentence in (*sentences.action, *sentences.evidence):
            assert not runs(sentence) & defined, sentence


def test_answers_are_short_lower_case_sentences() -> None:
    for picture in DRAWN:
        assert len(picture.turns) == 2
        for turn in picture.turns:
            assert turn.answer == turn.answer.lower() and turn.answer.endswith(".") and "{" not in turn.answer
            assert 3 <= len(turn.answer.split()) <= 60
        assert any(turn.question in ACTION_QUESTIONS for turn in picture.turns)


def test_the_corpus_is_broad() -> None:
    said = " ".join(turn.answer for picture in DRAWN for turn in picture.turns)
    assert sum(f" {verb} " in said for verb in VERBS) > 40  # 150 pictures, about two of each verb
    assert " to the left of " in said and " in the middle " in said  # free scenes, and where things are
    assert sum(thing in said for thing in things()) > 100


def test_a_picture_is_a_function_of_seed_and_number() -> None:
    again = draw_captioned(7, 3)
    assert again.turns == DRAWN[3].turns and again.image.tobytes() == DRAWN[3].image.tobytes()
    assert draw_captioned(8, 3).image.tobytes() != again.image.tobytes()


def test_no_picture_of_the_benchmark_is_in_the_corpus() -> None:
    own = {picture.image.tobytes() for picture in DRAWN}
    benchmark = {draw_picture(7, split, verb, 0)[1].image.tobytes() for split in ("train", "test") for verb in VERBS}
    assert not own & benchmark


def test_a_relation_says_where_things_are() -> None:
    found = 0
    for index in range(400):
        rng = random.Random(f"7/broad/{index}")
        if rng.random() >= 0.15:
            continue
        rendered = render(sample_free_scene(rng), rng)
        answer = next(turn.answer for turn in draw_captioned(7, index).turns if turn.question in ACTION_QUESTIONS)
        if " to the left of " in answer:
            found += 1
            boxes = [box for role, box in rendered.boxes_xyxy.items() if box and role != "place"]
            assert max(box[0] + box[2] for box in boxes) > min(box[0] + box[2] for box in boxes)
    assert found > 3


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("{agent} is carrying {item}", "an old man is carrying bread"),  # articles; none for a mass noun
        ("several {items} above the {part}", "several knives above the hand"),  # plural; bare after a determiner
    ],
)
def test_slots(sentence: str, expected: str) -> None:
    names = {"agent": "old man", "item": "bread", "items": "knife", "part": "hand"}
    assert can_fill(sentence, names) and fill_slots(sentence, names) == expected
    assert not can_fill("{tool} lies there", names)


def test_someone_has_no_article_and_places_have_their_preposition() -> None:
    assert fill_slots("{agent} sits", {"agent": "someone"}) == "someone sits"
    assert [at_place(place) for place in ("beach", "street", "snow")] == [
        "at the beach",
        "on the street",
        "in the snow",
    ]


def test_a_thing_has_other_names_but_never_a_verb_s() -> None:
    names = {call("letter", random.Random(index)) for index in range(300)}
    assert "letter" in names and len(names) > 1 and not any(name.endswith("ing") for name in names)


def test_a_killed_corpus_is_finished_and_another_one_refused(tmp_path: Path) -> None:
    write_broad_corpus(tmp_path, seed=7, pictures=6)
    first = read_broad_corpus(tmp_path)
    assert len(first) == 6 and np.array_equal(first.picture(5), np.asarray(DRAWN[5].image))
    assert first.conversation(5) == tuple((turn.question, turn.answer) for turn in DRAWN[5].turns)
    (tmp_path / "turns-00000.jsonl").unlink()
    with pytest.raises(SketchError, match="unfinished"):
        read_broad_corpus(tmp_path)
    reports: list[tuple[int, int]] = []
    write_broad_corpus(tmp_path, seed=7, pictures=6, progress=lambda done, total: reports.append((done, total)))
    assert reports == [(0, 6), (6, 6)]
    assert np.array_equal(read_broad_corpus(tmp_path).picture(5), first.picture(5))
    with pytest.raises(SketchError, match=PLAN_FILE):
        write_broad_corpus(tmp_path, seed=8, pictures=6)
    with pytest.raises(SketchError, match="holds no broad corpus"):
        read_broad_corpus(tmp_path / "elsewhere")


@pytest.mark.parametrize("kept", [0, 2])
def test_captions_never_slip_to_other_pictures(tmp_path: Path, kept: int) -> None:
    write_broad_corpus(tmp_path, seed=7, pictures=3)
    texts = tmp_path / "turns-00000.jsonl"
    lines = texts.read_text(encoding="utf-8").splitlines(keepends=True)
    texts.write_text("".join(lines[:kept]), encoding="utf-8")  # what a power cut may leave
    with pytest.raises(SketchError, match=f"turns-00000.jsonl has {kept} lines for 3 pictures, not 3 each"):
        read_broad_corpus(tmp_path)
