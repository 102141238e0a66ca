"""The teacher that ships: what it says of pictures that it never saw, drawn here with numbers of their own."""

from __future__ import annotations

import pytest
from PIL import Image

from ovgsr.inflections import mentions
from ovgsr.sketch.split import RARE, SEEN, UNSEEN
from ovgsr.sketch.write import draw_picture
from ovgsr.teacher.multimodal_llm import MultimodalLLM

VERBS = (*SEEN, *RARE, *UNSEEN)
A_VERB = 4
QUESTION = "what is happening?"


@pytest.fixture(scope="module")
def teacher() -> MultimodalLLM:
    return MultimodalLLM.from_pretrained("sketch")


def pictures(verbs: tuple[str, ...]) -> list[tuple[str, Image.Image]]:
    return [(verb, draw_picture(41, "test", verb, index)[1].image) for verb in verbs for index in range(A_VERB)]


@pytest.mark.parametrize("verbs", [SEEN, RARE, UNSEEN], ids=["seen", "rare", "unseen"])
def test_its_captions_name_the_verb(teacher: MultimodalLLM, verbs: tuple[str, ...]) -> None:
    drawn = pictures(verbs)
    captions = teacher.generate([image for _, image in drawn], [QUESTION] * len(drawn), max_new_tokens=24)
    right = [verb in mentions(caption, VERBS) for (verb, _), caption in zip(drawn, captions, strict=True)]
    assert sum(right) / len(right) > 0.8  # 48 pictures or more; the table over all test pictures is in docs/teacher.md


@pytest.mark.parametrize("verbs", [SEEN, RARE, UNSEEN], ids=["seen", "rare", "unseen"])
def test_it_ranks_the_verb_first(teacher: MultimodalLLM, verbs: tuple[str, ...]) -> None:
    drawn = pictures(verbs)
    scores = teacher.score([image for _, image in drawn], QUESTION, VERBS, answer_start="someone is")
    right = [VERBS[best] == verb for best, (verb, _) in zip(scores.argmax(1).tolist(), drawn, strict=True)]
    assert sum(right) / len(right) > 0.6


def test_it_looks_at_the_picture(teacher: MultimodalLLM) -> None:
    """The same question about other pixels has another answer: nothing but the picture tells them apart."""
    rowing, sleeping = (draw_picture(41, "test", verb, 0)[1].image for verb in ("rowing", "sleeping"))
    said = teacher.generate([rowing, sleeping, Image.new("RGB", (96, 96))], [QUESTION] * 3, max_new_tokens=24)
    assert "rowing" in mentions(said[0], VERBS) and "sleeping" in mentions(said[1], VERBS)
    assert not {"rowing", "sleeping"} <= mentions(said[2], VERBS)


def test_it_is_small(teacher: MultimodalLLM) -> None:
    assert sum(parameter.numel() for parameter in teacher.model.parameters()) < 5e6
    assert (len(teacher.visual_tokens([Image.new("RGB", (96, 96))])[0].tokens), teacher.hidden_size) == (64, 192)
