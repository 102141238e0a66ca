"""The copy of a token cache by which ``benchmarks/noisy_stage.py`` makes a teacher see badly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.evaluation.builders import load_benchmark
from tests.teacher.token_fakes import draw_pictures, fill

from ovgsr.teacher.tokens.cache import TokenCache


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_noise_is_drawn_from_a_pictures_content_in_units_of_its_tokens(tmp_path: Path, noise: float) -> None:
    noisy_copy = load_benchmark("noisy_stage").noisy_copy
    pictures = draw_pictures(tmp_path / "pictures", 40, largest=12)
    fill(tmp_path / "cache", pictures, dtype="int8")
    for name in ("first", "second"):
        noisy_copy(tmp_path / "cache", tmp_path / name, noise)
    first, second, clean = (TokenCache.open(tmp_path / name) for name in ("first", "second", "cache"))
    names = [name for name, _ in pictures]
    assert (first.contents, first.key) == (clean.contents, clean.key)
    assert torch.equal(first.read(names).tokens, second.read(names).tokens)
    shares = []
    for noisy, told in zip(first.read(names).visual(), clean.read(names).visual(), strict=True):
        assert noisy.grid == told.grid
        shares.append((noisy.tokens.float() - told.tokens.float()).std() / told.tokens.float().std())
    assert float(torch.stack(shares).mean()) == pytest.approx(noise, abs=0.1)
    noisy_copy(tmp_path / "cache", tmp_path / "first", noise)
    assert len(TokenCache.open(tmp_path / "first").shards) == len(first.shards), "nothing is left to do"
