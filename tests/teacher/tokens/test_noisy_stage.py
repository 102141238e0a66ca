"""The copy of a token cache by which ``benchmarks/noisy_stage.py`` makes a teacher see badly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.evaluation.builders import load_benchmark
from tests.teacher.token_fakes import FakeTeacher, draw_pictures, fill

from ovgsr.teacher.tokens.cache import TokenCache


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_noise_is_drawn_from_a_pictures_content_in_units_of_its_tokens(
    tmp_path: Path, noise: float, deep: bool
) -> None:
    noisy_copy = load_benchmark("noisy_stage").noisy_copy
    pictures = draw_pictures(tmp_path / "pictures", 40, largest=12)
    fill(tmp_path / "cache", pictures, FakeTeacher(deep=deep), dtype="int8")
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
        assert (noisy.deep is not None) == (told.deep is not None) == deep
        if noisy.deep is not None and told.deep is not None:
            assert torch.equal(noisy.deep, told.deep) == (noise == 0)
    assert float(torch.stack(shares).mean()) == pytest.approx(noise, abs=0.1)
    (shard,) = (tmp_path / "first").glob("*.safetensors")
    written = shard.stat().st_mtime_ns
    noisy_copy(tmp_path / "cache", tmp_path / "first", noise)
    assert shard.stat().st_mtime_ns == written, "nothing was left to do"
