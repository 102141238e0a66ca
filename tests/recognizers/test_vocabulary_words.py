"""A user's words: lists, files, frames, known verbs, borrowed frames, and every mistake with its place and remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.recognizers.protocol import Recognizer
from ovgsr.recognizers.vocabulary_words import Kind, parse_words, user_vocabulary
from ovgsr.situation import ImagePrediction
from ovgsr.vocabulary import Noun, Verb, Vocabulary, VocabularyError, swig_vocabulary

BASE = Vocabulary(
    verbs=(
        Verb(
            "feeding",
            ("agent", "food", "eater"),
            "to give something to eat",
            "An AGENT feeds FOOD to an EATER.",
            {"food": "eaten"},
        ),
        Verb("zumbaing", ("agent", "teacher", "place"), "to dance for exercise"),
    ),
    nouns=(Noun("n1", ("dog", "hound")), Noun("n2", ("woman",))),
    name="base",
)


def letters(texts: Sequence[str]) -> Tensor:
    """Unit vectors of letter pairs: texts that look alike are near."""
    vectors = torch.zeros(len(texts), 1024)
    for row, text in enumerate(texts):
        for first, second in pairwise(text):
            vectors[row, (31 * ord(first) + ord(second)) % 1024] += 1
    return torch.nn.functional.normalize(vectors, dim=1)


def no_embedding(texts: Sequence[str]) -> Tensor:
    raise AssertionError(f"nothing needs an embedding here: {texts}")


def written(folder: Path, text: str, name: str = "words.txt") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_words_from_a_list() -> None:
    assert parse_words("feeding,riding") == ["feeding", "riding"]
    assert parse_words(" feeding ,  walking   a dog ") == ["feeding", "walking a dog"]


def test_words_from_a_file(tmp_path: Path) -> None:
    text = "\ufeff# what to look for\nfeeding\nriding  # a bike or a horse\nsurfing: agent, tool,  place\n"
    assert parse_words(written(tmp_path, text)) == ["feeding", "riding", "surfing"]
    # a vocabulary as JSON
    path = written(tmp_path, json.dumps(BASE.to_json()), "own.json")
    assert parse_words(path) == ["feeding", "zumbaing"]
    assert parse_words(path, "noun") == ["n1", "n2"]


@pytest.mark.parametrize(
    ("argument", "kind", "message"),
    [
        ("", "verb", "--verbs, entry 1: no verb stands here"),
        ("feeding,,riding", "verb", "--verbs, entry 2: no verb stands here; remove the comma"),
        ("dog,cat,", "noun", "--nouns, entry 3: no noun stands here"),
        (
            "feeding,riding,Feeding",
            "verb",
            r"--verbs, entry 3: 'Feeding' was named before \(--verbs, entry 1\); remove one",
        ),
        ("feeding: agent", "verb", "a frame is given in a .txt file"),
        ("missing.txt", "verb", "missing.txt: there is no such file; name one, or give words between commas"),
        ("missing.json", "noun", "missing.json: there is no such file"),
    ],
)
def test_mistakes_in_an_argument(argument: str, kind: Kind, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        parse_words(argument, kind)


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("feeding\n\nriding\n", "verb", "words.txt, line 2: the line is empty; remove it or begin it with '#'"),
        (
            "feeding\n# note\nfeeding\n",
            "verb",
            r"words.txt, line 3: 'feeding' was named before \(.*words.txt, line 1\)",
        ),
        ("", "verb", "words.txt: the file names no verb; write at least one"),
        ("# only\n# comments", "noun", "words.txt: the file names no noun"),
        ("feeding: agent,, food\n", "verb", "line 1: a role is empty or named twice; write 'verb: agent"),
        ("feeding: agent, agent\n", "verb", "line 1: a role is empty or named twice"),
        ("feeding:\n", "verb", "line 1: a role is empty"),
        (": agent, food\n", "verb", "line 1: a frame without its verb"),
        ("dog: agent\n", "noun", "line 1: a noun has no frame; remove the colon"),
    ],
)
def test_mistakes_in_a_text_file(tmp_path: Path, content: str, kind: Kind, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        parse_words(written(tmp_path, content), kind)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n'verbs': 1}", r"own.json, line 2: not JSON"),
        ("[]", "own.json: the field 'format' must be 'ovgsr-vocabulary-1'"),
        (
            '{"format": "ovgsr-vocabulary-1", "verbs": {"feeding": {}}, "nouns": {}}',
            "own.json: a verb or noun entry lacks",
        ),
        ('{"format": "ovgsr-vocabulary-1", "verbs": {}, "nouns": {}}', "own.json: the field 'verbs' names none"),
    ],
)
def test_mistakes_in_json(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        parse_words(written(tmp_path, content, "own.json"))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("crêpe".encode("latin-1"))
    with pytest.raises(VocabularyError, match=r"latin.txt: not UTF-8 text \(byte 2\); save it as UTF-8"):
        parse_words(str(path))
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(VocabularyError, match=r"folder\.txt: cannot be read"):
        parse_words(str(tmp_path / "folder.txt"))


def test_known_verbs_keep_frame_and_definition() -> None:
    found = user_vocabulary(BASE, "zumbaing,feeding,surfing", None, no_embedding)
    assert found.verb_names == ("zumbaing", "feeding", "surfing")
    assert found.verb("feeding") == BASE.verb("feeding")  # the model's own before SWiG's
    assert found.verb("surfing") == swig_vocabulary().verb("surfing")
    assert all(verb.borrowed_from is None for verb in found.verbs)
    assert found.nouns == BASE.nouns


def test_a_verb_in_another_form_is_found() -> None:
    assert user_vocabulary(BASE, "Surf,FEEDING,run", None, no_embedding).verb_names == ("surfing", "feeding", "running")
    with pytest.raises(
        VocabularyError, match=r"entry 2: 'feed' is the verb 'feeding', .* \(--verbs, entry 1\); remove one"
    ):
        user_vocabulary(BASE, "feeding,feed", None, no_embedding)


def test_a_further_vocabulary_is_asked_before_swig() -> None:
    known = Vocabulary((Verb("surfing", ("rider", "board")), Verb("feeding", ("giver",))))
    found = user_vocabulary(BASE, "surfing,feeding", None, no_embedding, known=known)
    assert found.verb("surfing").roles == ("rider", "board")
    assert found.verb("feeding").roles == ("agent", "food", "eater")  # base first


def test_an_unknown_verb_borrows_the_nearest_frame_and_says_so() -> None:
    found = user_vocabulary(BASE, "spoonfeeding,feeding", None, letters)
    verb = found.verb("spoonfeeding")
    assert (verb.borrowed_from, verb.roles) == ("feeding", ("agent", "food", "eater"))
    assert verb.role_definitions == {"food": "eaten"}  # they describe the roles
    assert verb.abstract == "" and verb.definition == ""  # they describe the other verb
    assert found.verb("feeding").borrowed_from is None


def test_a_frame_of_the_users_own(tmp_path: Path) -> None:
    text = "feeding: agent, eater, Tool\nspoonfeeding: agent, eater\nsurfing: path, agent, tool, place\n"
    found = user_vocabulary(BASE, written(tmp_path, text), None, no_embedding)
    feeding, spoonfeeding, surfing = found.verbs
    assert feeding.roles == ("agent", "eater", "tool")
    assert feeding.definition == "to give something to eat"
    assert feeding.abstract == ""  # it speaks of FOOD, which is no role any more
    assert (spoonfeeding.roles, spoonfeeding.borrowed_from) == (("agent", "eater"), None)
    assert surfing.roles == ("path", "agent", "tool", "place")
    assert surfing.abstract == swig_vocabulary().verb("surfing").abstract  # same roles, other order


def test_nouns_by_synset_by_word_and_plain() -> None:
    found = user_vocabulary(BASE, None, "hound,n10287213,umbrella,fidget spinner", no_embedding)
    keys = [noun.key for noun in found.nouns]
    assert keys[:2] == ["n1", "n10287213"]  # the base's word; SWiG's man by synset
    assert found.nouns[2].gloss == "umbrella" and found.nouns[2].key.startswith("n")
    assert found.nouns[3] == Noun("fidget spinner", ("fidget spinner",))
    assert found.verbs == BASE.verbs
    with pytest.raises(
        VocabularyError, match=r"entry 2: 'hound' and 'dog' \(--nouns, entry 1\) are one noun, n1; remove"
    ):
        user_vocabulary(BASE, None, "dog,hound", no_embedding)


def test_a_vocabulary_file_is_taken_as_it_is(tmp_path: Path) -> None:
    own = Vocabulary((Verb("feeding", ("who", "what"), "own words"), Verb("surfing")), (Noun("dog", ("dog",)),))
    path = written(tmp_path, json.dumps(own.to_json()), "own.json")
    found = user_vocabulary(BASE, path, path, no_embedding)
    assert found.verb("feeding") == own.verb("feeding")
    assert found.verb("surfing").roles == swig_vocabulary().verb("surfing").roles  # no frame of its own: the known one
    assert found.nouns == own.nouns


def test_no_words_no_change() -> None:
    assert user_vocabulary(BASE, None, None, no_embedding) is BASE


def test_a_recognizer_is_told_by_its_methods() -> None:
    class Constant:
        notices = ("it always says the same",)

        def predict(
            self,
            images: Sequence[Image.Image],
            vocabulary: Vocabulary,
            *,
            file_names: Sequence[str] | None = None,
            top_k: int = 5,
            frames_of: Sequence[str] | None = None,
        ) -> list[ImagePrediction]:
            return []

    assert isinstance(Constant(), Recognizer)
    assert not isinstance(BASE, Recognizer)
