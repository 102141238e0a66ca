"""Real models (tiny, random weights) of three families as recognizers, loaded from a folder as a user would."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.teacher.conftest import picture

from ovgsr.recognizers.prompted import PromptedRecognizer, seen_size
from ovgsr.recognizers.prompted_settings import PromptSettings
from ovgsr.recognizers.prompted_shortlist import FirstTokens
from ovgsr.recognizers.protocol import Recognizer
from ovgsr.situation import ImagePrediction
from ovgsr.vocabulary import Vocabulary

SMALL = PromptSettings(reply_tokens=8, caption_tokens=8, batch_pictures=2)
FAMILIES = ["tiny_llava_folder", "tiny_qwen_folder", "tiny_paligemma_folder"]


@pytest.fixture(scope="module", params=FAMILIES)
def recognizer(request: pytest.FixtureRequest) -> PromptedRecognizer:
    folder: Path = request.getfixturevalue(request.param)
    return PromptedRecognizer.from_pretrained(folder, device="cpu", settings=SMALL)


def same(first: ImagePrediction, second: ImagePrediction) -> bool:
    """The same verbs, nouns and boxes, and scores but for the rounding of padded batches."""
    scores = [abs(a - b) < 1e-4 for (_, a), (_, b) in zip(first.ranking, second.ranking, strict=True)]
    words = [
        {verb: [(n.noun, n.box_xyxy) for n in s.nouns.values()] for verb, s in prediction.situations.items()}
        for prediction in (first, second)
    ]
    return all(scores) and words[0] == words[1] and [v for v, _ in first.ranking] == [v for v, _ in second.ranking]


def test_pictures_to_situations(recognizer: PromptedRecognizer, tiny_vocabulary: Vocabulary) -> None:
    assert isinstance(recognizer, Recognizer)
    pictures = [picture(1), picture(2, 150, 90), picture(3)]
    found = recognizer.predict(pictures, tiny_vocabulary, top_k=1, frames_of=["cutting"] * 3)
    for prediction, image in zip(found, pictures, strict=True):
        assert sum(score for _, score in prediction.ranking) == pytest.approx(1, abs=1e-4)
        assert (prediction.width, prediction.height) == image.size
        assert list(prediction.situations["cutting"].nouns) == ["agent", "item", "tool"]
        assert all(noun.noun in {"", "n1", "n2", "n3", "n4"} for noun in prediction.best.nouns.values())
    # Random weights write no JSON: every frame is read by likelihood, and that is said.
    assert "replies held no JSON" in recognizer.notices[1]
    assert recognizer.teacher.name in recognizer.notices[0]
    alone = [recognizer.predict([image], tiny_vocabulary, top_k=1, frames_of=["cutting"])[0] for image in pictures]
    assert all(same(one, many) for one, many in zip(alone, found, strict=True))


def test_the_ranking_is_the_likelihoods(recognizer: PromptedRecognizer, tiny_vocabulary: Vocabulary) -> None:
    image = picture(4)
    (found,) = recognizer.predict([image], tiny_vocabulary, top_k=0)
    plain = {
        verb: recognizer.teacher.score([image], "what is happening?", [f" {verb}"], answer_start="someone is").item()
        for verb in tiny_vocabulary.verb_names
    }
    total = sum(math.exp(value) for value in plain.values())
    for verb, score in found.ranking:
        assert score == pytest.approx(math.exp(plain[verb]) / total, rel=1e-3)


def test_first_tokens_of_a_real_vocabulary(recognizer: PromptedRecognizer, tiny_vocabulary: Vocabulary) -> None:
    """Against one distribution after the sentence and one after " a", summed over spellings in a plain loop."""
    teacher = recognizer.teacher
    (visual,) = teacher.visual_tokens([picture(5)])
    start, question = "someone cuts", "what is happening?"
    found = FirstTokens(teacher, tiny_vocabulary).likelihoods(visual, question, start)
    after = []
    for text in (start, f"{start} a"):
        states = teacher.soft_token_states([visual], teacher.embed_text(text), question=question)
        after.append(teacher.vocabulary_logits(states[:, -1])[0].softmax(-1).tolist())
    spelled = [token.strip().lower() for token in teacher.vocabulary]
    article = sum(p for p, token in zip(after[0], spelled, strict=True) if token in ("a", "an"))
    for position, word in enumerate(("man", "dog", "ball", "knife")):
        longest = max((token for token in spelled if token and word.startswith(token)), key=len)
        begun = sum(p for p, token in zip(after[1], spelled, strict=True) if token == longest)
        assert found[position].item() == pytest.approx(math.log(article * begun), abs=1e-3)


def test_a_shortlist_and_captions_on_a_real_model(tiny_llava_folder: Path, tiny_vocabulary: Vocabulary) -> None:
    settings = PromptSettings(
        verb_readout="caption", role_readout="likelihood", shortlist=3, caption_tokens=4, calibration="blank"
    )
    recognizer = PromptedRecognizer.from_pretrained(tiny_llava_folder, device="cpu", settings=settings)
    (found,) = recognizer.predict([picture(6)], tiny_vocabulary, top_k=1)
    assert all(noun.score is not None and noun.score > 1 / 4 for noun in found.best.nouns.values())  # the best of three
    assert recognizer.notices == found.notices


@pytest.mark.parametrize(("folder", "square"), [("tiny_qwen_folder", 28), ("tiny_qwen3_folder", 32)])
@pytest.mark.parametrize("size", [(96, 96), (200, 60), (30, 20), (700, 400)])
def test_the_seen_size_is_the_models_own(
    request: pytest.FixtureRequest, folder: str, square: int, size: tuple[int, int]
) -> None:
    recognizer = PromptedRecognizer.from_pretrained(request.getfixturevalue(folder), device="cpu")
    (visual,) = recognizer.teacher.visual_tokens([picture(1, *size)])
    assert visual.grid is not None
    rows, columns = visual.grid
    assert seen_size(recognizer.teacher, size) == (columns * square, rows * square)


def test_a_family_of_one_size_has_no_seen_size(tiny_llava_folder: Path) -> None:
    recognizer = PromptedRecognizer.from_pretrained(tiny_llava_folder, device="cpu")
    assert seen_size(recognizer.teacher, (96, 96)) is None
    assert not any(parameter.requires_grad for parameter in recognizer.teacher.model.parameters())
    assert torch.is_grad_enabled()
