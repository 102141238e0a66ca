"""Plain distillation: the caption's text, and what the boxes hold."""

from __future__ import annotations

from typing import Any

import torch

from ovgsr.distillation.plain_embedding import CAPTION_QUESTION, PlainEmbedding
from ovgsr.distillation.prompts import RoleInputs
from ovgsr.teacher.visual_tokens import VisualTokens

from .readers import Box, Random, role_inputs


def _numbered(rows: int, columns: int) -> VisualTokens:
    """Token number n holds (n, 1)."""
    count = rows * columns
    return VisualTokens(torch.stack([torch.arange(float(count)), torch.ones(count)], dim=-1), (rows, columns))


TOP_LEFT: Box = (0.25, 0.25, 0.5, 0.5)


class Captions:
    """A teacher that says the same of every picture but the second, of which it says nothing."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def generate(self, images: None, questions: list[str], *, visual: list[VisualTokens], max_new_tokens: int) -> Any:
        self.asked.append((images, questions, len(visual), max_new_tokens))
        return ["a dog barks", "", "a dog barks"][: len(visual)]


def test_the_scene_is_the_text_of_the_caption() -> None:
    told: list[list[str]] = []

    class Encoder(Random):
        def encode(self, texts: Any) -> torch.Tensor:
            told.append(list(texts))
            return super().encode(texts)

    teacher: Any = Captions()
    visual = [_numbered(2, 2)] * 3
    reader = PlainEmbedding(Encoder())
    found = reader(teacher, visual, None)
    assert told == [["a dog barks", "nothing", "a dog barks"]], "no caption is a word too, not an empty text"
    assert teacher.asked == [(None, [CAPTION_QUESTION] * 3, 3, 24)]
    assert found.roles is None
    assert list(reader.parameters()) == []
    assert reader.state_dict() == {}
    torch.testing.assert_close(found.scene, Random().encode(["", "", ""]))
    roles = role_inputs([TOP_LEFT], [None], [TOP_LEFT])
    read = reader(teacher, visual, roles)
    assert read.roles is not None
    assert read.roles.shape == (3, 1, 2), "as wide as a token"
    none = RoleInputs(*(value[:, :0] for value in vars(roles).values()))
    assert reader(teacher, visual, none).roles is None
