"""The token cache with real models of several families (tiny, random weights), through the class a user has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.teacher.token_fakes import Named, draw_pictures, fill

from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.tokens.cache import CacheKey, TokenCache


def _of_tiny(folder: Path, pictures: Named, out: Path, **options: object) -> tuple[MultimodalLLM, TokenCache]:
    teacher = MultimodalLLM.from_pretrained(folder, device="cpu", precision="fp32")
    fill(out, pictures, teacher, **options)
    return teacher, TokenCache.open(out, expect=CacheKey.of(teacher, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fixture", "options"),
    [
        ("tiny_llava_folder", {}),  # one grid for all pictures
        ("tiny_llava_folder", {"layer": -1, "grid": (2, 2)}),
        ("tiny_qwen_folder", {}),  # as many tokens as a picture's size asks for
        ("tiny_qwen3_folder", {}),  # with features that are added after the first blocks
        ("tiny_llava_next_folder", {}),  # tiles and newline tokens: no grid
    ],
)
def test_tokens_of_a_real_teacher(
    fixture: str, options: dict[str, object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    named = draw_pictures(tmp_path / "pictures", 4, largest=14)
    teacher, cache = _of_tiny(request.getfixturevalue(fixture), named, tmp_path / "cache", **options)
    layer, grid = options.get("layer"), options.get("grid")
    shown = teacher.visual_tokens([Image.open(path).convert("RGB") for _, path in named], layer=layer)  # type: ignore[arg-type]
    expected = [tokens.pooled(*grid) for tokens in shown] if grid else shown  # type: ignore[misc]
    read = cache.read([name for name, _ in named], dtype=torch.float32).visual()
    for mine, theirs in zip(read, expected, strict=True):
        assert mine.grid == theirs.grid
        assert torch.allclose(mine.tokens, theirs.tokens, atol=1e-3, rtol=2e-3)
        assert (mine.deep is None) == (theirs.deep is None)
        if mine.deep is not None and theirs.deep is not None:
            assert torch.allclose(mine.deep, theirs.deep, atol=1e-3, rtol=2e-3)


def test_the_teacher_scores_the_same_on_what_was_read(tiny_qwen3_folder: Path, tmp_path: Path) -> None:
    named = draw_pictures(tmp_path / "pictures", 3, largest=14)
    teacher, cache = _of_tiny(tiny_qwen3_folder, named, tmp_path / "cache")
    read = cache.read([name for name, _ in named], dtype=torch.float32).visual()
    question, candidates = "what is happening?", ["a dog runs", "a man sings"]
    from_cache = teacher.score(None, question, candidates, visual=read)
    from_pictures = teacher.score([Image.open(path).convert("RGB") for _, path in named], question, candidates)
    assert torch.allclose(from_cache, from_pictures, atol=0.02)
