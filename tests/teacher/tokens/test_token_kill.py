"""Writers that are killed, run out of disk, or write beside each other: the cache ends as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.teacher.token_fakes import FakeTeacher, decode, draw_pictures

from ovgsr.teacher.tokens.cache import CacheKey, TokenCache
from ovgsr.teacher.tokens.making import write_tokens

Named = list[tuple[str, Path]]
forked = multiprocessing.get_context("fork")  # a process of its own, without importing torch again
COUNT, SHARD = 24, 4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Named:
    named = draw_pictures(tmp_path_factory.mktemp("pictures"), COUNT)
    return [*named, ("twin.png", named[7][1])]


@pytest.fixture(scope="module")
def whole(pictures: Named, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache made in a single run."""
    out = tmp_path_factory.mktemp("whole")
    run(out, pictures)
    return out


def run(out: Path, pictures: Named, part: tuple[int, int] = (1, 1), delay: float = 0.0) -> int:
    teacher = FakeTeacher(delay=delay)
    report = write_tokens(
        out, CacheKey.of(teacher), teacher, pictures, decode, part=part, batch=2, shard_pictures=SHARD
    )
    return report.written


def killed_at_move(out: Path, pictures: Named, number: int, after: bool) -> None:
    """Runs, and kills itself before or after the so-manieth file is moved to its place."""
    move, moved = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal moved
        moved += 1
        if moved == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = move(self, target)
        if moved == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Path.replace = replace  # type: ignore[method-assign, assignment]
    run(out, pictures)


def require_equal(out: Path, whole: Path, pictures: Named) -> None:
    """The same tokens for every picture, nothing twice, nothing missing, nothing left lying about."""
    made, expected = TokenCache.open(out), TokenCache.open(whole)
    made.verify()
    assert made.contents == expected.contents
    names = [name for name, _ in pictures]
    assert torch.equal(made.read(names).tokens, expected.read(names).tokens)
    assert made.read(names).grids == expected.read(names).grids
    records = [json.loads(path.read_text()) for path in out.glob("*.json") if path.name != "cache.json"]
    listed = Counter(content for record in records if record["shard"] for content in record["shard"]["contents"])
    assert set(listed.values()) == {1}
    assert len(listed) == COUNT
    stems = {path.stem for path in out.glob("tokens-*.json")}
    assert {path.stem for path in out.glob("*.safetensors")} == stems
    assert not list(out.glob(".*.part"))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_file_that_is_moved(pictures: Named, whole: Path, tmp_path: Path, after: bool) -> None:
    moves = 1 + 2 * (COUNT // SHARD)  # cache.json, then shard and record in turn
    for number in range(1, moves + 1):
        out = tmp_path / str(number)
        process = forked.Process(target=killed_at_move, args=(out, pictures, number, after))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        finished = (number - (0 if after else 1) - 1) // 2  # records that were in place
        assert run(out, pictures) == COUNT - SHARD * max(finished, 0)  # finished shards were not done again
        require_equal(out, whole, pictures)


def test_killed_at_random_moments_again_and_again(pictures: Named, whole: Path, tmp_path: Path) -> None:
    draw, kills = random.Random(5), 0
    for out in (tmp_path / "a", tmp_path / "b", tmp_path / "c"):
        for _ in range(20):
            process = forked.Process(target=run, args=(out, pictures, (1, 1), 0.01))  # some 0.15 s in all
            process.start()
            process.join(timeout=draw.uniform(0.01, 0.08))
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
            if process.exitcode == 0:
                break
        run(out, pictures)
        require_equal(out, whole, pictures)
    assert kills >= 6


def test_processes_beside_each_other_in_one_folder(pictures: Named, whole: Path, tmp_path: Path) -> None:
    plain = pictures[:COUNT]
    processes = [forked.Process(target=run, args=(tmp_path, plain, (part, 3), 0.002)) for part in (1, 2, 3)]
    for process in processes:
        process.start()
    processes[1].join(timeout=0.02)
    processes[1].kill()  # one of them dies
    for process in processes:
        process.join()
    assert processes[0].exitcode == processes[2].exitcode == 0
    run(tmp_path, pictures)
    require_equal(tmp_path, whole, pictures)


def small_disk(out: Path, pictures: Named) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))  # no file may grow beyond this
    try:
        run(out, pictures)
    except OSError:
        os._exit(7)


def test_a_disk_that_fills_up_is_an_oserror_and_leaves_no_half_file(
    pictures: Named, whole: Path, tmp_path: Path
) -> None:
    process = forked.Process(target=small_disk, args=(tmp_path, pictures))
    process.start()
    process.join()
    assert process.exitcode == 7
    assert not list(tmp_path.glob("*.safetensors"))
    assert not list(tmp_path.glob(".*.part"))
    run(tmp_path, pictures)
    require_equal(tmp_path, whole, pictures)


def test_stopping_keeps_what_was_received(pictures: Named, whole: Path, tmp_path: Path) -> None:
    class Stopped(FakeTeacher):
        def visual_tokens(self, images, *, layer=None):  # type: ignore[no-untyped-def]
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().visual_tokens(images, layer=layer)

    teacher = Stopped()
    with pytest.raises(KeyboardInterrupt):
        write_tokens(tmp_path, CacheKey.of(teacher), teacher, pictures, decode, batch=2, shard_pictures=SHARD)
    assert len(TokenCache.open(tmp_path)) == 6  # three batches of two: a whole shard and a half one
    assert run(tmp_path, pictures) == COUNT - 6
    require_equal(tmp_path, whole, pictures)
