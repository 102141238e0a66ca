"""Maps of where prompts look: right shapes, masks obeyed, and a picture that TensorBoard can read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovgsr.distillation.prompts import InteractivePrompts, RoleInputs
from ovgsr.distillation.word_space import WordSpace
from ovgsr.situation import AnnotatedImage, Situation
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.training.prompt_looks import PromptLooks, Watched, prompt_attention


@pytest.fixture(scope="module")
def teacher() -> MultimodalLLM:
    return MultimodalLLM.from_pretrained("sketch", device="cpu")


@pytest.fixture(scope="module")
def prompts(teacher: MultimodalLLM) -> InteractivePrompts:
    count = len(teacher.vocabulary)
    words = torch.ones(count, dtype=torch.bool)
    return InteractivePrompts(teacher, WordSpace(torch.randn(count, 8), words, words))


def watched(teacher: MultimodalLLM) -> Watched:
    pictures = [Image.effect_noise((96, 96), 80).convert("RGB") for _ in range(2)]
    roles = RoleInputs(
        texts=torch.randn(2, 3, 8),
        mask=torch.tensor([[True, True, False], [True, True, True]]),
        boxes_cxcywh=torch.tensor([[[0.25, 0.25, 0.25, 0.25]] * 3] * 2),
        grounded=torch.tensor([[True, False, False], [True, True, False]]),
    )
    images = [AnnotatedImage(f"{n}.jpg", 96, 96, (Situation("throwing", {}),)) for n in range(2)]
    return Watched(
        images, pictures, teacher.visual_tokens(pictures), roles, [("agent", "item"), ("agent", "item", "place")]
    )


def test_a_boxed_role_looks_inside_its_box(teacher: MultimodalLLM, prompts: InteractivePrompts) -> None:
    chosen = watched(teacher)
    scene, roles = prompt_attention(prompts, teacher, chosen.visual, chosen.roles)
    assert scene.shape == (2, 64)
    assert roles.shape == (2, 3, 64)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[1:3, 1:3] = True  # the cells that the box covers
    shares = roles[..., inside.flatten()].sum(-1) / roles.sum(-1).clamp(min=1e-9)
    assert shares[0, 0] > 2 * shares[0, 1]  # the second has no box and sees everything
    assert not roles[0, 2].any()  # padding looks nowhere


def test_tensorboard_reads_the_sheet_back(teacher: MultimodalLLM, prompts: InteractivePrompts, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with PromptLooks(tmp_path, teacher, watched(teacher)) as looks:
        looks.numbers(3, {"glimpse": 1.5})
        looks.pictures(3, prompts)
        sheet = np.asarray(looks.sheet(prompts))
    assert sheet.shape == (480, 6 * 240, 3)
    assert sheet[:240, 240:480].std() > 0  # the first picture's scene map
    assert (sheet[:240, 4 * 240 :] == 255).all()  # it has two roles, and room for four
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(item.step, item.value) for item in events.Scalars("prompts/glimpse")] == [(3, 1.5)]
    assert events.Images("prompts look at")[0].step == 3
