"""The token cache: what goes in comes out, in batches, by content, and nothing of another teacher."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.teacher.token_fakes import CELL, WIDTH, FakeTeacher, FakeTokens, Named, draw_pictures, fill, flip_a_bit

from ovgsr.teacher.tokens import making as token_making
from ovgsr.teacher.tokens import shards as token_shards
from ovgsr.teacher.tokens.cache import CacheKey, TokenCache
from ovgsr.teacher.tokens.shards import TokenCacheError, pack, quantise, restore
from ovgsr.teacher.tokens.writer import TokenWriter


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Named:
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 23)


@pytest.fixture
def cache(pictures: Named, tmp_path: Path) -> Path:
    fill(tmp_path / "cache", pictures)
    return tmp_path / "cache"


def direct(path: Path) -> FakeTokens:
    return FakeTeacher().visual_tokens([Image.open(path).convert("RGB")])[0]


@pytest.mark.parametrize(
    ("dtype", "error"),
    [
        # half a unit in the last of 11 bits; half of 1/127 of the token's largest value
        ("float16", 2**-11),
        ("int8", 0.5 / 127 + 2**-10),
    ],
)
def test_what_went_in_comes_out(
    pictures: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, error: float
) -> None:
    monkeypatch.setattr(token_shards, "_IN_CACHE", 4 * WIDTH)  # pictures of 4 to 25 tokens: several steps, a rest
    report = fill(tmp_path, pictures, dtype=dtype)
    assert (report.pictures, report.written, report.known, report.failures) == (23, 23, 0, ())
    cache = TokenCache.open(tmp_path)
    assert len(cache) == cache.pictures == 23
    assert len(list(tmp_path.glob("*.safetensors"))) == 5  # 23 pictures in fives
    names = [name for name, _ in pictures][::-1]
    batch = cache.read(names, dtype=torch.float32)
    for row, name in enumerate(names):
        expected = direct(dict(pictures)[name])
        count = len(expected.tokens)
        largest = expected.tokens.abs().amax(-1, keepdim=True)
        assert ((batch.tokens[row, :count] - expected.tokens).abs() <= error * largest).all()
        assert batch.mask[row].tolist() == [True] * count + [False] * (batch.mask.shape[1] - count)
        assert not batch.tokens[row, count:].any()
        assert batch.grids[row] == expected.grid
    assert batch.grid is None  # sizes differ
    half = cache.read(names[:4])
    assert half.tokens.dtype == torch.float16
    assert torch.equal(half.tokens, batch.tokens[:4, : half.tokens.shape[1]].half())
    assert 0 < cache.relative_error < 2 * error
    assert cache.relative_error == pytest.approx(report.relative_error)


def test_a_grid_of_its_own_and_a_layer(pictures: Named, tmp_path: Path) -> None:
    teacher = FakeTeacher()
    fill(tmp_path, pictures, teacher, grid=(2, 1), layer=-2)
    assert set(teacher.layers) == {-2}
    batch = TokenCache.open(tmp_path).read([pictures[0][0], pictures[5][0]], dtype=torch.float32)
    assert batch.grid == (2, 1)
    assert batch.tokens.shape == (2, 2, WIDTH)
    assert batch.mask.all()
    assert torch.allclose(batch.tokens[1], direct(pictures[5][1]).pooled(2, 1).tokens, rtol=1e-3)


def test_no_grid_where_the_teacher_gives_none(pictures: Named, tmp_path: Path) -> None:
    fill(tmp_path, pictures[:3], FakeTeacher(gridless=True))
    assert TokenCache.open(tmp_path).read([pictures[0][0]]).grids == (None,)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_what_is_added_after_the_first_blocks_is_kept(pictures: Named, tmp_path: Path, dtype: str) -> None:
    fill(tmp_path, pictures, FakeTeacher(deep=True), dtype=dtype)
    names = [name for name, _ in pictures[:6]]
    batch = TokenCache.open(tmp_path).read(names, dtype=torch.float32)
    assert batch.deep is not None
    assert batch.deep.shape == (2, *batch.tokens.shape)
    for row, (name, visual) in enumerate(zip(names, batch.visual(), strict=True)):
        expected = direct(dict(pictures)[name])
        count = len(expected.tokens)
        assert visual.grid == expected.grid
        assert visual.deep is not None
        assert torch.allclose(visual.tokens, expected.tokens, atol=0.05)
        assert torch.allclose(visual.deep[0], expected.tokens.flip(0), atol=0.05)
        assert torch.allclose(visual.deep[1], 100 * expected.tokens, atol=5)
        assert not batch.deep[:, row, count:].any()


def test_quantise_by_hand() -> None:
    # scale = 12.7 / 127 = 0.1 -> float16 0.0999755859375; 6.4 / 0.09998 = 64.02 -> 64; -1.26 -> -12.60 -> -13
    given = torch.tensor([[12.7, 6.4, -1.26, 0.0], [0.0, 0.0, 0.0, 0.0], [1e-9, 0.0, 0.0, 0.0]])
    stored, scales = quantise(given)
    assert stored.tolist() == [[127, 64, -13, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert scales.tolist() == [0.0999755859375, 0.0, 0.0]
    assert restore(stored, scales, torch.float32)[0].tolist() == pytest.approx(
        [12.6969, 6.39844, -1.29968, 0], rel=1e-5
    )
    # error of the first token: |(-0.0031, -0.00156, -0.03968)| / |(12.7, 6.4, -1.26)| = 0.0398 / 14.277; zeros cost
    # nothing, and what is too small for a scale is lost whole: (0.00279 + 0 + 1) / 3
    assert pack("0" * 64, given, None, "int8").relative_error == pytest.approx(0.33426, abs=1e-4)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (torch.tensor([[1.0, float("nan")]]), "not finite"),
        (torch.tensor([[1.0, 7e4]]), "float16"),
        (torch.zeros(0, 4), "shape (0, 4)"),
        (torch.zeros(4), "shape (4,)"),
    ],
)
def test_tokens_that_cannot_be_stored(tokens: torch.Tensor, words: str) -> None:
    with pytest.raises(TokenCacheError) as caught:
        pack("0" * 64, tokens, None, "float16")
    assert words in str(caught.value)


def test_pictures_are_known_by_content(pictures: Named, cache: Path, tmp_path: Path) -> None:
    teacher = FakeTeacher()
    assert fill(cache, pictures, teacher).written == 0
    assert teacher.batches == []  # nothing was shown to it
    folder = tmp_path / "more"
    folder.mkdir()
    copied, renamed = folder / "copy.png", folder / "renamed.png"
    for target in (copied, renamed):
        shutil.copy(pictures[4][1], target)
    before = TokenCache.open(cache).bytes
    report = fill(cache, [("copy.png", copied), ("renamed.png", renamed)], teacher)
    assert (report.written, report.known) == (0, 2)
    assert teacher.batches == []
    opened = TokenCache.open(cache)
    assert (len(opened), opened.pictures, opened.bytes) == (25, 23, before)
    batch = opened.read(["copy.png", pictures[4][0]])
    assert torch.equal(batch.tokens[0], batch.tokens[1])


def test_two_new_names_of_one_picture_cost_one(pictures: Named, tmp_path: Path) -> None:
    twins = [("a.png", pictures[0][1]), ("b.png", pictures[0][1]), ("c.png", pictures[1][1])]
    report = fill(tmp_path, twins)
    assert (report.written, report.known) == (2, 1)
    opened = TokenCache.open(tmp_path)
    assert (len(opened), opened.pictures) == (3, 2)


def test_a_changed_picture_is_noticed(cache: Path, tmp_path: Path, pictures: Named) -> None:
    name, changed = pictures[2][0], tmp_path / "changed.png"
    Image.new("RGB", (3 * CELL, 2 * CELL), (9, 200, 40)).save(changed)
    opened = TokenCache.open(cache)
    assert opened.changed([pictures[1], (name, changed)]) == [name]
    assert fill(cache, [(name, changed)]).written == 1
    again = TokenCache.open(cache)
    assert again.changed([(name, changed)]) == []
    assert torch.allclose(again.read([name]).tokens[0].float(), direct(changed).tokens, atol=2e-3)
    assert len(again) == 23


def test_missing_pictures(cache: Path, pictures: Named) -> None:
    opened = TokenCache.open(cache)
    asked = [f"none_{number}.jpg" for number in range(5)] + [pictures[0][0]]
    assert opened.missing(asked) == asked[:5]
    with pytest.raises(TokenCacheError, match=r"5 of 6 pictures .*none_0.jpg, none_1.jpg, none_2.jpg, \.\.\.\)"):
        opened.read(asked)
    with pytest.raises(TokenCacheError, match=r"1 of 1 pictures .*\(none_3.jpg\); run 'ovgsr teacher tokens'"):
        opened.read(["none_3.jpg"])


def test_an_empty_cache_and_an_empty_batch(cache: Path, tmp_path: Path) -> None:
    assert TokenCache.open(cache).read([]).tokens.shape == (0, 0, WIDTH)
    fill(tmp_path / "empty", [])
    empty = TokenCache.open(tmp_path / "empty")
    assert (len(empty), empty.bytes, empty.bytes_per_picture) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (CacheKey("e" * 64, teacher_name="second"), ("'teacher'", "fake and second")),
        (CacheKey("f" * 64, layer=3), ("'layer'", "'projector'", "3")),
        (CacheKey("f" * 64, grid=(8, 8)), ("'grid'", "(8, 8)")),
        (CacheKey("f" * 64, dtype="int8"), ("'dtype'", "'float16'", "'int8'")),
        (CacheKey("f" * 64, weights="int4"), ("'weights'", "'int4'")),
        (CacheKey("f" * 64, preprocessing="squashed-2"), ("'preprocessing'", "squashed-2")),
    ],
)
def test_tokens_of_another_kind_are_refused(cache: Path, other: CacheKey, words: tuple[str, ...]) -> None:
    with pytest.raises(TokenCacheError) as opening:
        TokenCache.open(cache, expect=other)
    with pytest.raises(TokenCacheError) as writing, TokenWriter(cache, other):
        pass
    for word in ("cache.json", *words):
        assert word in str(opening.value)
        assert word in str(writing.value)


def test_the_name_of_the_teacher_does_not_matter(cache: Path) -> None:
    assert len(TokenCache.open(cache, expect=CacheKey("f" * 64, teacher_name="the same, moved"))) == 23


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _zero_header(path: Path) -> None:
    path.write_bytes(bytes(16) + path.read_bytes()[16:])


DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("a shard is shorter", _cut, "bytes long"),
    ("a shard's header is gone", _zero_header, "header"),
    ("a shard is gone", Path.unlink, "missing"),
]


@pytest.mark.parametrize(("damage", "words"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_damage_is_found_on_opening_and_repaired(
    cache: Path, pictures: Named, damage: Callable[[Path], None], words: str
) -> None:
    shard = max(cache.glob("*.safetensors"))
    lost = len(json.loads(shard.with_suffix(".json").read_text())["shard"]["contents"])
    damage(shard)
    with pytest.raises(TokenCacheError) as caught:
        TokenCache.open(cache)
    assert words in str(caught.value)
    assert str(shard) in str(caught.value)
    report = fill(cache, pictures)
    assert (report.repaired, report.written) == (1, lost)
    TokenCache.open(cache).verify()


def test_a_flipped_bit_is_found_by_its_digest(cache: Path, pictures: Named) -> None:
    names = [name for name, _ in pictures]
    shard = min(cache.glob("*.safetensors"))
    flip_a_bit(shard)
    with pytest.raises(TokenCacheError, match=f"{shard}.*SHA-256"):
        TokenCache.open(cache).verify()
    with pytest.raises(TokenCacheError, match=f"{shard}.*SHA-256"):
        TokenCache.open(cache).read(names)
    TokenCache.open(cache, verify="quick").read(names)  # says that it does not look
    shard.unlink()  # as the sentence says
    fill(cache, pictures)
    TokenCache.open(cache).verify()


def test_a_shard_with_another_record_is_found(cache: Path, pictures: Named) -> None:
    paths = sorted(cache.glob("tokens-*.json"))  # of five pictures each, but for one of three
    first, second = [path for path in paths if len(json.loads(path.read_text())["shard"]["contents"]) == 5][:2]
    records = [json.loads(path.read_text()) for path in (first, second)]
    records[0]["shard"]["contents"], records[1]["shard"]["contents"] = (
        records[1]["shard"]["contents"],
        records[0]["shard"]["contents"],
    )
    for path, record in zip((first, second), records, strict=True):
        path.write_text(json.dumps(record))
    with pytest.raises(TokenCacheError, match="other pictures than its record"):
        TokenCache.open(cache).read([name for name, _ in pictures])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("cache.json", lambda text: text[:-5], "no valid JSON"),
        ("cache.json", lambda text: text.replace("tokens-1", "tokens-9"), "'format'"),
        ("cache.json", lambda text: text.replace('"float16"', '"float12"'), "'key'"),
        ("cache.json", lambda text: text.replace('"layer"', '"leyer"'), "'key'"),
        ("tokens", lambda text: "[]", "'format'"),
        ("tokens", lambda text: text.replace('"names"', '"nomes"'), "'names'"),
        ("tokens", lambda text: text.replace('"sha256": "', '"sha256": "x'), "'sha256'"),
        ("tokens", lambda text: text.replace('"generation": 0', '"generation": "0"'), "'generation'"),
    ],
)
def test_damaged_json(cache: Path, name: str, change: Callable[[str], str], words: str) -> None:
    path = min(path for path in cache.glob("*.json") if path.name.startswith(name))
    path.write_text(change(path.read_text()))
    with pytest.raises(TokenCacheError) as caught:
        TokenCache.open(cache)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_no_cache(tmp_path: Path) -> None:
    with pytest.raises(TokenCacheError, match=r"cache.json: there is no such file; make the cache with"):
        TokenCache.open(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(TokenCacheError, match="not empty and no token cache"):
        fill(tmp_path, [])


def test_a_cache_may_be_pickled_without_its_tokens(cache: Path, pictures: Named) -> None:
    names = [name for name, _ in pictures]
    opened = TokenCache.open(cache)
    tokens = opened.read(names).tokens
    packed = pickle.dumps(opened)
    assert len(packed) < 8000  # 23 names and digests
    assert torch.equal(pickle.loads(packed).read(names).tokens, tokens)


def test_unreadable_pictures_are_named_and_left_out(pictures: Named, tmp_path: Path) -> None:
    text, wide = tmp_path / "words.jpg", tmp_path / "wide.png"
    text.write_text("no picture")
    Image.new("RGB", (400, 8)).save(wide)
    bad = [("gone.jpg", tmp_path / "gone.jpg"), ("words.jpg", text), ("picture_000b.png", wide), ("wide2.png", wide)]
    told: list[str] = []
    report = fill(tmp_path / "cache", [*pictures, *bad], on_failure=told.append)
    # in the order met: a picture that the teacher refuses is found when its batch is full
    assert sorted(name for name, _ in report.failures) == ["gone.jpg", "picture_000b.png", "wide2.png", "words.jpg"]
    assert (report.written, report.known, len(told)) == (23, 0, 4)
    assert any("gone.jpg" in sentence and "cannot be read" in sentence for sentence in told)
    assert any("words.jpg" in sentence and "not a picture" in sentence for sentence in told)
    assert any("picture_000b.png" in sentence and "aspect ratio" in sentence for sentence in told)
    assert sorted(TokenCache.open(tmp_path / "cache").contents) == sorted(name for name, _ in pictures)


def test_a_teacher_that_refuses_everything_is_no_picture_s_fault(tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    named = []
    for number in range(40):
        Image.new("RGB", (400 + number, 8)).save(wide := tmp_path / f"{number}.png")
        named.append((wide.name, wide))
    with pytest.raises(TokenCacheError, match=r"of none of the first 16 pictures.*aspect ratio"):
        fill(tmp_path / "cache", named)


def test_a_refused_picture_is_left_out_under_each_of_its_names(pictures: Named, tmp_path: Path) -> None:
    Image.new("RGB", (400, 8)).save(wide := tmp_path / "wide.png")
    named = [("0.png", wide), ("1.png", wide), ("2.png", pictures[0][1]), ("3.png", wide)]
    report = fill(tmp_path / "cache", named, batch=3)  # two names in one batch, one after it
    assert [name for name, _ in report.failures] == ["0.png", "1.png", "3.png"]
    assert (report.written, report.known) == (1, 0)


def test_a_teacher_whose_tokens_cannot_be_stored_is_no_picture_s_fault(pictures: Named, tmp_path: Path) -> None:
    class Overflowing(FakeTeacher):
        def _tokens(self, image: Image.Image) -> FakeTokens:
            found = super()._tokens(image)
            return FakeTokens(found.tokens * float("nan"), found.grid)

    with pytest.raises(TokenCacheError, match=r"of none of the first 16 pictures.*not finite; choose another"):
        fill(tmp_path / "cache", pictures, Overflowing())


def test_a_disk_that_is_too_small_is_told_at_once(
    pictures: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(token_making.shutil, "disk_usage", lambda path: full)
    teacher = FakeTeacher()
    with pytest.raises(TokenCacheError, match=r"0.0 GB are free; choose a coarser --grid"):
        fill(tmp_path / "cache", pictures, teacher)
    assert len(teacher.batches) == 1


def test_two_writers_of_one_part_do_not_meet(pictures: Named, cache: Path) -> None:
    key = CacheKey.of(FakeTeacher())
    with TokenWriter(cache, key, part=(1, 2)), TokenWriter(cache, key, part=(2, 2)):
        with pytest.raises(TokenCacheError, match="another process is writing the part 1-of-2"):
            fill(cache, pictures, part=(1, 2))
        orphan = cache / "tokens-9of9-0.safetensors"
        orphan.write_bytes(b"being written by another process")
        fill(cache, pictures, part=(1, 3))
        assert orphan.exists()  # somebody is writing: nothing is cleaned
    fill(cache, pictures)
    assert not orphan.exists()
