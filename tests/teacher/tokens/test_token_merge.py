"""Parts of a token cache: how pictures are shared out, and how the caches of the parts become one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.teacher.token_fakes import FakeTeacher, Named, draw_pictures, fill, flip_a_bit

from ovgsr.teacher.tokens.cache import TokenCache
from ovgsr.teacher.tokens.merge import merge_caches
from ovgsr.teacher.tokens.shards import TokenCacheError
from ovgsr.teacher.tokens.writer import parse_part, pictures_of_part


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Named:
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 23)


@pytest.fixture
def cache(pictures: Named, tmp_path: Path) -> Path:
    fill(tmp_path / "cache", pictures)
    return tmp_path / "cache"


def test_parts(pictures: Named, tmp_path: Path) -> None:
    assert parse_part("2/8") == (2, 8)
    for wrong in ("", "0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "²/3"):
        with pytest.raises(TokenCacheError, match="i/n"):
            parse_part(wrong)
    named = [(name, Path(name)) for name in "dbca"]
    assert [name for name, _ in pictures_of_part(named, (1, 3))] == ["a", "d"]
    assert [name for name, _ in pictures_of_part(named, (2, 3))] == ["b"]
    assert [name for name, _ in pictures_of_part(named, (5, 5))] == []
    with pytest.raises(TokenCacheError, match="would both be known as 'a'"):
        pictures_of_part([("a", Path("x/a")), ("a", Path("y/a"))], (1, 1))


def test_merging_parts(pictures: Named, cache: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"part{index}" for index in (1, 2, 3)]
    for index, part in enumerate(parts, start=1):
        fill(part, pictures, part=(index, 3))
    out = tmp_path / "whole"
    report = merge_caches(parts, out)
    assert (report.names, report.pictures, report.linked + report.copied, report.already) == (23, 23, 6, 0)
    if report.linked:
        assert max(out.glob("*.safetensors")).stat().st_nlink == 2
    names = [name for name, _ in pictures]
    whole = TokenCache.open(out)
    whole.verify()
    assert torch.equal(whole.read(names).tokens, TokenCache.open(cache).read(names).tokens)
    again = merge_caches([*parts, cache], out)  # every picture is there already
    assert (again.names, again.pictures, again.linked, again.copied) == (23, 23, 0, 0)
    assert fill(out, pictures).written == 0


def test_merging_copies_where_links_are_not_possible(
    pictures: Named, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert merge_caches([cache], tmp_path / "copy").copied == 5
    TokenCache.open(tmp_path / "copy").verify()
    flip_a_bit(max(cache.glob("*.safetensors")))
    with pytest.raises(TokenCacheError, match="SHA-256"):
        merge_caches([cache], tmp_path / "another")


def test_caches_that_do_not_fit_are_not_merged(pictures: Named, cache: Path, tmp_path: Path) -> None:
    fill(tmp_path / "int8", pictures, dtype="int8")
    with pytest.raises(TokenCacheError, match=r"int8.cache.json: .*the field 'dtype' is 'int8' here and 'float16'"):
        merge_caches([cache, tmp_path / "int8"], tmp_path / "out")
    same_name = [(pictures[0][0], pictures[1][1])]
    fill(tmp_path / "other", same_name)
    with pytest.raises(TokenCacheError, match=r"picture_000.png is one picture in .* and another in"):
        merge_caches([cache, tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()  # refused before anything is written
    fill(tmp_path / "sizes", [pictures[0]], FakeTeacher(cell=4))  # says it is the same teacher
    with pytest.raises(TokenCacheError, match=r"picture_000.png has \d+ tokens of width 6 in .* and \d+ of 6 in"):
        merge_caches([cache, tmp_path / "sizes"], tmp_path / "out")
    with pytest.raises(TokenCacheError, match="at least one"):
        merge_caches([], tmp_path / "out")
