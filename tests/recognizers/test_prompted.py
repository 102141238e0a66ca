"""The prompted recognizer with a model that says what it is told: rankings, frames, fallbacks, notices."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from PIL import Image
from tests.recognizers.prompted_fakes import FakeTeacher, picture

from ovgsr.recognizers.prompted import PromptedRecognizer, named_first
from ovgsr.recognizers.prompted_settings import PromptError, PromptSettings
from ovgsr.recognizers.protocol import Recognizer
from ovgsr.situation import GroundedNoun
from ovgsr.vocabulary import Noun, Verb, Vocabulary, VocabularyError

VERBS = {" throwing": 0.5, " cutting": 0.3, " barking": 0.2}
FILLED = {
    "throwing": {"agent": {"noun": "a man", "box": [0.1, 0.2, 0.5, 0.8]}, "item": {"noun": "balls", "box": None}},
    "cutting": {"agent": {"noun": "man"}, "item": None, "tool": {"noun": "kitchen knife", "box": [100, 0, 500, 500]}},
    "barking": {"agent": "dog"},
}


def verb_likelihood(red: int, start: str, candidate: str) -> float:
    return math.log(VERBS.get(candidate, 0.1))


def fill(red: int, question: str, start: str) -> str:
    for verb, roles in FILLED.items():
        if f" {verb}" in question:
            return json.dumps(roles)[len(start) :]
    return "a man is throwing a ball"


def make(vocabulary_settings: dict[str, Any] | None = None, **teacher: Any) -> tuple[PromptedRecognizer, FakeTeacher]:
    fake = FakeTeacher(**({"likelihood": verb_likelihood, "reply": fill} | teacher))
    return PromptedRecognizer(cast(Any, fake), settings=PromptSettings(**(vocabulary_settings or {}))), fake


def test_a_prediction(tiny_vocabulary: Vocabulary) -> None:
    recognizer, fake = make()
    assert isinstance(recognizer, Recognizer)
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, file_names=["a.jpg"], top_k=2)
    # 0.5, 0.3 and 0.2 sum to one: the softmax gives them back.
    assert [verb for verb, _ in found.ranking] == ["throwing", "cutting", "barking"]
    assert [score for _, score in found.ranking] == pytest.approx([0.5, 0.3, 0.2], abs=1e-5)
    assert fake.scored[0] == (1, "what is happening?", "someone is", (" throwing", " cutting", " barking"))
    assert list(found.situations) == ["throwing", "cutting"]
    assert found.situations["throwing"].nouns == {
        "agent": GroundedNoun("n1", (20.0, 20.0, 100.0, 80.0)),  # fractions of 200 x 100
        "item": GroundedNoun("n3"),
    }
    assert found.situations["cutting"].nouns == {
        "agent": GroundedNoun("n1"),
        "item": GroundedNoun(""),
        "tool": GroundedNoun("n4", (20.0, 0.0, 100.0, 50.0)),  # above 2: thousandths
    }
    assert found.best.score == pytest.approx(0.5, abs=1e-5)
    assert (found.file_name, found.width, found.height) == ("a.jpg", 200, 100)
    assert found.notices == ("zero-shot by prompting the multimodal model a fake",)
    assert recognizer.notices == found.notices


def test_the_annotated_verb_is_filled_and_not_ranked(tiny_vocabulary: Vocabulary) -> None:
    recognizer, _fake = make()
    first = recognizer.predict([picture(1), picture(2)], tiny_vocabulary, top_k=0)
    both = recognizer.predict([picture(1), picture(2)], tiny_vocabulary, top_k=1, frames_of=["barking", "throwing"])
    assert [p.ranking for p in first] == [p.ranking for p in both]
    assert [list(p.situations) for p in both] == [["throwing", "barking"], ["throwing"]]  # once, not twice
    assert not first[0].situations
    with pytest.raises(VocabularyError, match="'singing'"):
        recognizer.predict([picture(1)], tiny_vocabulary, frames_of=["singing"])


def test_batches_and_one_by_one_agree(tiny_vocabulary: Vocabulary) -> None:
    def likelihood(red: int, start: str, candidate: str) -> float:
        return -float((red * len(candidate) * (1 + len(start))) % 7)

    def reply(red: int, question: str, start: str) -> str:
        return fill(red, question, start) if red % 2 else "no idea"

    recognizer, fake = make({"batch_pictures": 3}, likelihood=likelihood, reply=reply)
    pictures = [picture(red) for red in range(1, 8)]
    together = recognizer.predict(pictures, tiny_vocabulary, top_k=2)
    alone = [recognizer.predict([image], tiny_vocabulary, top_k=2)[0] for image in pictures]
    assert together == alone
    assert fake.largest_batch == 3
    assert len({prediction.ranking[0][0] for prediction in together}) > 1
    assert recognizer.predict([], tiny_vocabulary) == []


@pytest.mark.parametrize(
    ("caption", "first"),
    [
        ("a dog is barking at a man", ["barking", "throwing", "cutting"]),  # the least likely comes first
        ("the man threw it and the dog barks", ["throwing", "barking", "cutting"]),  # both named: by likelihood
        ("a man cuts bread while a dog is barking", ["barking", "cutting", "throwing"]),  # the -ing form before others
        ("nothing of note", ["throwing", "cutting", "barking"]),  # none named: the likelihood's order
        ("", ["throwing", "cutting", "barking"]),
        ("BARKING, throwing; cutting!", ["throwing", "cutting", "barking"]),  # all named
    ],
)
def test_verbs_from_the_models_own_caption(tiny_vocabulary: Vocabulary, caption: str, first: list[str]) -> None:
    recognizer, fake = make({"verb_readout": "caption"}, reply=lambda red, question, start: caption)
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, top_k=0)
    assert [verb for verb, _ in found.ranking] == first
    assert sum(score for _, score in found.ranking) == pytest.approx(1, abs=1e-4)
    assert fake.asked == [(1, "what is happening?", "")]


def test_named_verbs_are_one_nat_above(tiny_vocabulary: Vocabulary) -> None:
    raised = named_first(torch.tensor([[-1.0, -5.0, -9.0]]), ["cuts; barking"], tiny_vocabulary)
    assert raised.tolist() == [[-1.0, 0.0, 1.0]]  # cutting: -1 + 1; barking: 0 + 1
    untouched = named_first(torch.tensor([[9.0, -5.0, -9.0]]), ["throwing"], tiny_vocabulary)
    assert untouched.tolist() == [[9.0, -5.0, -9.0]]  # already first by more than a nat


def test_calibration_divides_by_what_a_grey_picture_gives(tiny_vocabulary: Vocabulary) -> None:
    # The grey picture says 0.5, 0.25, 0.25, this one 0.5, 0.3, 0.2: the ratios are 1, 1.2, 0.8 and sum to 3.
    grey = {" throwing": 0.5, " cutting": 0.25, " barking": 0.25}
    recognizer, fake = make(
        {"calibration": "blank"},
        likelihood=lambda red, start, text: math.log(grey[text]) if red == 127 else math.log(VERBS[text]),
    )
    for _ in range(2):
        (found,) = recognizer.predict([picture(1)], tiny_vocabulary, top_k=0)
        assert found.ranking[0][0] == "cutting"
        assert [score for _, score in found.ranking] == pytest.approx([0.4, 1 / 3, 0.8 / 3], abs=1e-5)
    assert [red for red, *_ in fake.scored] == [1, 127, 1]  # the grey picture once


def test_calibration_by_reference_pictures_averages_probabilities(tiny_vocabulary: Vocabulary) -> None:
    # Two pictures of 0.8, 0.1, 0.1 and 0.2, 0.4, 0.4: mean 0.5, 0.25, 0.25, as in the test above.
    reference = {3: (0.8, 0.1, 0.1), 4: (0.2, 0.4, 0.4)}
    fake = FakeTeacher(
        likelihood=lambda red, start, text: math.log(
            reference[red][list(VERBS).index(text)] if red in reference else VERBS[text]
        )
    )
    settings = PromptSettings(calibration="pictures", batch_pictures=1)
    recognizer = PromptedRecognizer(cast(Any, fake), settings=settings, reference_pictures=[picture(3), picture(4)])
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, top_k=0)
    assert [score for _, score in found.ranking] == pytest.approx([0.4, 1 / 3, 0.8 / 3], abs=1e-5)
    with pytest.raises(PromptError, match="reference_pictures"):
        PromptedRecognizer(cast(Any, fake), settings=settings)


def test_a_model_without_json_falls_back_to_likelihood(tiny_vocabulary: Vocabulary) -> None:
    def likelihood(red: int, start: str, candidate: str) -> float:
        if start == "someone is":
            return verb_likelihood(red, start, candidate)
        best = {"someone cuts": " bread", "someone cuts something with": " a knife"}.get(start, " a man is cutting")
        return math.log(0.9) if candidate == best else math.log(0.025)

    recognizer, fake = make(likelihood=likelihood, reply=lambda red, question, start: "I cannot do that.")
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, frames_of=["cutting"], top_k=0)
    nouns = found.situations["cutting"].nouns
    # Of "nothing", man, dog, ball, knife: 0.9 / (0.9 + 4 * 0.025) = 0.9; bread is none of them, so all are equal
    assert nouns["agent"] == GroundedNoun("n1", None, 0.9)
    assert nouns["tool"] == GroundedNoun("n4", None, 0.9)
    assert nouns["item"] == GroundedNoun("", None, 0.2)
    starts = [start for _, _, start, _ in fake.scored[1:]]
    assert starts == ["", "someone cuts", "someone cuts something with"]
    assert fake.scored[1][3] == tuple(
        f"{noun} is cutting" for noun in (" no one", " a man", " a dog", " a ball", " a knife")
    )
    assert found.notices[1] == "read by likelihood, without JSON: cutting"
    assert recognizer.notices[1].startswith("1 of 1 replies held no JSON")


def test_words_outside_the_vocabulary_are_read_by_likelihood(tiny_vocabulary: Vocabulary) -> None:
    said = {"agent": {"noun": "a walrus", "box": [0.1, 0.2, 0.5, 0.8]}}
    recognizer, _fake = make(
        likelihood=lambda red, start, text: 5.0 * (text == " a dog is barking"),
        reply=lambda red, question, start: json.dumps(said)[1:],
    )
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, frames_of=["barking"], top_k=0)
    noun = found.situations["barking"].nouns["agent"]
    assert (noun.noun, noun.box_xyxy) == ("n2", (20.0, 20.0, 100.0, 80.0))  # the box was said all the same
    assert noun.score == pytest.approx(math.exp(5) / (math.exp(5) + 4), abs=1e-4)
    assert len(found.notices) == 1  # the reply was JSON


def test_per_token_divides_the_likelihood() -> None:
    verbs = Vocabulary((Verb("riding", ("agent",)), Verb("flying a kite", ("agent",))))
    likelihood = {" riding": -2.0, " flying a kite": -3.0}
    orders = []
    for per_token in (False, True):
        recognizer, _ = make({"per_token": per_token}, likelihood=lambda red, start, text: likelihood[text])
        (found,) = recognizer.predict([picture(1)], verbs, top_k=0)
        orders.append([verb for verb, _ in found.ranking])
    assert orders == [["riding", "flying a kite"], ["flying a kite", "riding"]]  # -3 over three words is -1


def test_boxes_in_pixels_of_the_resized_picture(tiny_vocabulary: Vocabulary) -> None:
    # 200 x 100 is seen as 196 x 112 (7 and 4 times 28), so x is worth 200/196 and y 100/112 pixels.
    said = {"agent": {"noun": "dog", "bbox_2d": [98, 28, 196, 84]}}
    recognizer, fake = make(model_type="qwen2_5_vl", reply=lambda red, question, start: json.dumps(said)[1:])
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, frames_of=["barking"], top_k=0)
    assert found.situations["barking"].nouns["agent"].box_xyxy == (100.0, 25.0, 200.0, 75.0)
    assert '"bbox_2d": [x1, y1, x2, y2]' in fake.asked[0][1]


def test_a_family_that_detects_is_asked_for_boxes(tiny_vocabulary: Vocabulary) -> None:
    def reply(red: int, question: str, start: str) -> str:
        return "<loc0256><loc0128><loc0768><loc0512> dog" if question == "detect dog" else "a dog"

    recognizer, fake = make(
        model_type="paligemma", reply=reply, likelihood=lambda red, start, text: 5.0 * (text == " a dog is barking")
    )
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, frames_of=["barking"], top_k=0)
    assert found.situations["barking"].nouns["agent"].box_xyxy == (25.0, 25.0, 100.0, 75.0)
    assert [question for _, question, _ in fake.asked][1:] == ["detect dog"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"verb_readout": "telepathy"}, "verb_readout must be one of likelihood, caption, not 'telepathy'"),
        ({"role_readout": "xml"}, "role_readout must be one of json, likelihood"),
        ({"calibration": "yes"}, "calibration must be one of none, blank, pictures"),
        ({"shortlist": 0}, "shortlist must be a whole number of at least 1, not 0"),
        ({"batch_pictures": True}, "batch_pictures must be a whole number"),
        ({"reply_tokens": 2.5}, "reply_tokens must be a whole number"),
        ({"question": "  "}, "question must be words"),
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(PromptError, match=expected):
        PromptSettings(**settings)


def test_a_call_that_does_not_fit(tiny_vocabulary: Vocabulary) -> None:
    recognizer, _ = make()
    with pytest.raises(PromptError, match="frames_of names 1 for 2 pictures"):
        recognizer.predict([picture(1), picture(2)], tiny_vocabulary, frames_of=["barking"])
    with pytest.raises(PromptError, match="no verb"):
        recognizer.predict([picture(1)], Vocabulary(()))


def test_a_verb_without_a_frame_takes_or_borrows_one() -> None:
    class Encoder:
        width, fingerprint = 3, "counts"

        def encode(self, texts: list[str]) -> torch.Tensor:
            rows = [[float(text.count("rid")), float(text.count("cat")), 0.1] for text in texts]
            return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)

    fake = FakeTeacher(reply=lambda red, question, start: "")
    recognizer = PromptedRecognizer(cast(Any, fake), text_encoder=cast(Any, Encoder()))
    offered = Vocabulary((Verb("feeding"), Verb("riding a yak")), (Noun("dog", ("dog",)),))
    (found,) = recognizer.predict([picture(1)], offered, top_k=2)
    assert list(found.situations["feeding"].nouns) == ["agent", "food", "source", "eater", "place"]
    assert found.situations["feeding"].frame_borrowed_from is None
    assert found.situations["riding a yak"].frame_borrowed_from == "riding"
    assert recognizer.complete(offered) is recognizer.complete(offered)


def test_the_default_vocabulary_is_swigs(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer, fake = make(likelihood=lambda red, start, text: float(text == " juggling"))
    (found,) = recognizer.predict([Image.new("RGB", (8, 8))], top_k=0)
    assert found.ranking[0][0] == "juggling"
    assert len(fake.scored[0][3]) == 504


Reply = Callable[[int, str, str], str]


@pytest.mark.parametrize(
    "reply",
    [
        "[" * 50_000,
        '"agent": ' * 5_000,
        json.dumps({"agent": {"noun": "dog\u202e\x00" * 9_000, "box": [10**400] * 4}})[1:],
        '"agent": {"noun": "__import__(\'os\')", "box": "[nan, nan, nan, nan]"}}',
        '"agent": {"noun": {"noun": {"noun": "dog"}}, "box": {"box": {}}}}',
        '"agent": 1e999}',
        "\x00\ud800",
    ],
    ids=["brackets", "no values", "huge", "code", "nested", "infinite", "no text"],
)
def test_a_hostile_reply_ends_in_a_frame(tiny_vocabulary: Vocabulary, reply: str) -> None:
    recognizer, _ = make(likelihood=lambda red, start, text: 0.0, reply=lambda red, question, start: reply)
    (found,) = recognizer.predict([picture(1)], tiny_vocabulary, frames_of=["barking"], top_k=0)
    noun = found.situations["barking"].nouns["agent"]
    assert noun.noun in {"", "n1", "n2", "n3", "n4"}
    assert noun.box_xyxy is None
    json.dumps(found.to_json())
