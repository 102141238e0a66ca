"""The store of rationales: killed, damaged, of another make, in parts, stale, large."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.rationales import (
    Gaze,
    Glimpse,
    Negative,
    PictureRationales,
    Provenance,
    RationaleError,
    annotation_sha256,
)
from ovgsr.teacher.jrg.store import (
    KEPT_REPLY,
    Quarantined,
    RationaleStore,
    Shard,
    StoreIdentity,
    StoreWriter,
    data_sha256,
    merge_stores,
)
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

IDENTITY = StoreIdentity(
    template="jrg-1",
    template_sha256="a" * 64,
    model="template:jrg-1",
    is_llm=False,
    split="mine",
    split_sha256="b" * 64,
    data="sketch",
    data_sha256="c" * 64,
    k=2,
    seed=0,
)


def picture(number: int, noun: str = "n1") -> AnnotatedImage:
    nouns = {"agent": GroundedNoun(noun, (0.0, 0.0, 9.0, 9.0), annotators=(noun,) * 3)}
    return AnnotatedImage(f"throwing_{number}.jpg", 96, 96, (Situation("throwing", nouns),))


def rationales(image: AnnotatedImage, text: str = "A man throws a ball.") -> PictureRationales:
    return PictureRationales(
        image.file_name,
        annotation_sha256(image),
        "throwing",
        Glimpse(text, (Negative("verb", "catching", "He is catching it."),)),
        {"agent": Gaze("A man throws.")},
        Provenance("jrg-1", "m", False, 3, "d" * 64, 2),
    )


def refusal(image: AnnotatedImage, *codes: str) -> Quarantined:
    return Quarantined(image.file_name, annotation_sha256(image), tuple((c, f"it is {c}") for c in codes), "no", 3)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    images = [picture(number) for number in range(5)]
    with StoreWriter(tmp_path / "s", IDENTITY) as writer:
        for image in images[:3]:
            writer.add(rationales(image))
        writer.quarantine(replace(refusal(images[3], "length"), reply="x" * 9000))
    store = RationaleStore.open(tmp_path / "s")
    assert list(store.read()) == [image.file_name for image in images[:3]]
    assert store.read()["throwing_1.jpg"] == rationales(images[1])
    assert store.read()["throwing_1.jpg"].provenance == rationales(images[1]).provenance
    assert store.missing(images) == (images[3], images[4])
    assert store.counts() == {"pictures": 3, "quarantined": 1, "length": 1}
    assert store.quarantined()["throwing_3.jpg"].reply == "x" * KEPT_REPLY
    assert store.identity == IDENTITY


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        'a quote " and a brace } and {"file_name": "other.jpg", "annotation_sha256": "' + "0" * 64 + '", }\n',
        "line separators \u2028 and \u0085 and a NUL \x00",
        "an emoji \U0001f600 and half of one \ud83d",
    ],
    ids=["a line end", "a forged record", "line separators", "a lone surrogate"],
)
def test_a_text_cannot_leave_its_record(tmp_path: Path, text: str) -> None:
    image, name = picture(1), 'with "quotes"\n and é.jpg'
    odd = replace(picture(2), file_name=name)
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(image, text))
        writer.add(rationales(odd))
        writer.quarantine(replace(refusal(picture(3), "length"), reply=text))
    store = RationaleStore.open(tmp_path)
    assert list(store.read()) == [image.file_name, name]
    assert store.read()[image.file_name].glimpse.positive == text
    assert store.quarantined()[picture(3).file_name].reply == text
    assert len((tmp_path / "rationales.jsonl").read_bytes().splitlines()) == 2


# What a kill can leave at the end of a file.
TAILS = [
    b'{"file_name": "throwing_9.jpg", "annotation_sh',  # half a line
    b"\0" * 700,  # blocks that were allocated but not written
    b'{"file_name": "throwing_9.jpg", "annotation_sha256": "' + b"0" * 64 + b'", "verb": \n',  # a line end came through
    b'{"file_name": "throwing_9.jpg", "annotation_sha256": "' + b"0" * 64 + b'", "verb": }\n',  # and looks whole
]


@pytest.mark.parametrize("tail", TAILS, ids=["half a line", "zeros", "a line end", "looks whole"])
def test_an_unfinished_tail_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    images = [picture(number) for number in range(4)]
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(images[0]))
        writer.add(rationales(images[1]))
    path = tmp_path / "rationales.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    with StoreWriter(tmp_path, IDENTITY) as writer:
        assert path.read_bytes() == whole
        writer.add(rationales(images[2]))
    assert RationaleStore.open(tmp_path).missing(images) == (images[3],)


def test_a_reader_passes_over_a_tail_that_is_being_written(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(picture(0)))
    with (tmp_path / "rationales.jsonl").open("ab") as stream:
        stream.write(TAILS[0])
    assert list(RationaleStore.open(tmp_path).read()) == ["throwing_0.jpg"]


def test_damage_in_the_middle_is_told_not_skipped(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, IDENTITY) as writer:
        for number in range(3):
            writer.add(rationales(picture(number)))
    path = tmp_path / "rationales.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][10:] + lines[2])
    with pytest.raises(
        RationaleError, match=rf"rationales\.jsonl: the line at byte {len(lines[0])} is damaged; delete"
    ):
        RationaleStore.open(tmp_path)
    path.write_bytes(lines[0].replace(b'"glimpse": {', b'"glimpse": [') + lines[1])  # found when it is read
    store = RationaleStore.open(tmp_path)
    assert store.read()["throwing_1.jpg"] == rationales(picture(1))
    with pytest.raises(RationaleError, match="the line at byte 0 is damaged"):
        store.read()["throwing_0.jpg"]


# field, its value here, and how both must be named
OTHERS = [
    ("template", "jrg-2", "'template' is 'jrg-1' there and 'jrg-2' here"),
    ("template_sha256", "e" * 64, "'template_sha256' is"),
    ("model", "openai:qwen", "'model' is 'template:jrg-1' there and 'openai:qwen' here"),
    ("split_sha256", "e" * 64, "'split_sha256' is"),
    ("data_sha256", "e" * 64, "'data_sha256' is"),
    ("k", 3, "'k' is 2 there and 3 here"),
    ("seed", 1, "'seed' is 0 there and 1 here"),
]


@pytest.mark.parametrize(("field", "value", "words"), OTHERS, ids=[case[0] for case in OTHERS])
def test_another_make_is_refused(tmp_path: Path, field: str, value: Any, words: str) -> None:
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(picture(0)))
    with pytest.raises(RationaleError, match=words):
        StoreWriter(tmp_path, replace(IDENTITY, **{field: value}))
    StoreWriter(tmp_path, replace(IDENTITY, data="renamed", split="renamed")).close()  # names are for people


def test_a_store_of_another_split_is_refused_by_its_reader(tmp_path: Path) -> None:
    split = VerbSplit("mine", ("throwing", "eating"), ("kicking",), ("feeding",), ("falling",))
    StoreWriter(tmp_path, replace(IDENTITY, split_sha256=split.fingerprint)).close()
    reordered = VerbSplit("other name", ("eating", "throwing"), ("kicking",), ("feeding",), ("falling",))
    assert RationaleStore.open(tmp_path, split=reordered).identity.split == "mine"
    moved = VerbSplit("mine", ("throwing", "eating", "feeding"), ("kicking",), (), ("falling",))
    with pytest.raises(RationaleError, match=r"made for the split 'mine' .* a verb unseen here may be named in them"):
        RationaleStore.open(tmp_path, split=moved)


def test_the_words_of_a_data_set_have_a_fingerprint(tiny_vocabulary: Vocabulary) -> None:
    assert data_sha256(tiny_vocabulary) == data_sha256(replace(tiny_vocabulary, name="renamed"))
    assert data_sha256(tiny_vocabulary) != data_sha256(tiny_vocabulary.with_nouns(tiny_vocabulary.nouns[1:]))


def test_damaged_descriptions_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(RationaleError, match=r"store\.json: there is no such file"):
        RationaleStore.open(tmp_path / "none")
    (tmp_path / "store.json").write_text('{"format": "ovgsr-rationales-9"}')
    with pytest.raises(RationaleError, match="'ovgsr-rationales-9'; this version reads 'ovgsr-rationales-1'"):
        RationaleStore.open(tmp_path)
    (tmp_path / "store.json").write_text('{"format": "ovgsr-rationales-1", "template": "jrg-1"}')
    with pytest.raises(RationaleError, match="no store's description"):
        StoreWriter(tmp_path, IDENTITY)
    (tmp_path / "store.json").unlink()
    (tmp_path / "rationales.jsonl").write_text("")
    with pytest.raises(RationaleError, match=r"rationales but no store\.json"):
        StoreWriter(tmp_path, IDENTITY)


def test_a_changed_annotation_makes_a_record_stale(tmp_path: Path) -> None:
    before, after = picture(0, "n1"), picture(0, "n2")
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(before, "the old text of it"))
        writer.quarantine(refusal(picture(1, "n1"), "length"))
        store = writer.read()
        assert not store.read()  # not flushed yet: only what is on disk is there
        writer.flush()
        store = writer.read()
        assert store.stale([after]) == ("throwing_0.jpg",)
        assert store.missing([after]) == (after,)
        assert store.read([after]) == {}
        assert set(store.quarantined([picture(1, "n1")])) == {"throwing_1.jpg"}
        assert not store.quarantined([picture(1, "n2")])  # another annotation deserves another try
        writer.add(rationales(after, "the new text of it"))
    store = RationaleStore.open(tmp_path)
    assert not store.stale([after])
    assert store.read()["throwing_0.jpg"].glimpse.positive == "the new text of it"
    assert len(store) == 1


def test_a_shard_mends_what_the_whole_file_has_stale(tmp_path: Path) -> None:
    before, after = picture(0, "n1"), picture(0, "n2")
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(before))
    shard = next(Shard(i, 3) for i in (1, 2, 3) if after.file_name in Shard(i, 3))
    with StoreWriter(tmp_path, IDENTITY, shard) as writer:
        writer.add(rationales(after, "the new text of it"))
    for newest in ("rationales.jsonl", f"rationales{shard.suffix}.jsonl"):  # whichever was copied here last
        os.utime(tmp_path / newest, (time.time() + 60, time.time() + 60))
        store = RationaleStore.open(tmp_path)
        assert not store.missing([after])
        assert store.read([after])[after.file_name].glimpse.positive == "the new text of it"


def test_shards_part_the_pictures(tmp_path: Path) -> None:
    names = [f"throwing_{number}.jpg" for number in range(400)]
    parts = [[name for name in names if name in Shard(i, 4)] for i in (1, 2, 3, 4)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(70 <= len(part) <= 130 for part in parts)  # 100 each but for chance (4.3 standard deviations)
    assert Shard.parse("2/4") == Shard(2, 4)
    for text in ("0/4", "5/4", "2", "a/b", "1/0", "-1/3"):
        with pytest.raises(RationaleError, match="must be i/n"):
            Shard.parse(text)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stop"])
def test_a_write_that_breaks_off_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    writer, real = StoreWriter(tmp_path, IDENTITY), os.write
    writer.add(rationales(picture(0)))
    writer.flush()
    whole = (tmp_path / "rationales.jsonl").read_bytes()
    broken = [True]

    def write(descriptor: int, data: memoryview) -> int:
        if not broken:
            return real(descriptor, data[:100])  # a system may take less than it is given
        real(descriptor, data[:100])
        raise error

    monkeypatch.setattr(os, "write", write)
    writer.add(rationales(picture(1)))
    with pytest.raises(type(error)):
        writer.flush()
    assert (tmp_path / "rationales.jsonl").read_bytes() == whole
    broken.clear()
    writer.close()  # there is room again: nothing was forgotten
    assert list(RationaleStore.open(tmp_path).read()) == ["throwing_0.jpg", "throwing_1.jpg"]


def test_one_writer_a_shard(tmp_path: Path) -> None:
    first = StoreWriter(tmp_path, IDENTITY, Shard(1, 2))
    with pytest.raises(RationaleError, match="another process is writing here"):
        StoreWriter(tmp_path, IDENTITY, Shard(1, 2))
    StoreWriter(tmp_path, IDENTITY, Shard(2, 2)).close()
    first.close()
    StoreWriter(tmp_path, IDENTITY, Shard(1, 2)).close()
    with pytest.raises(RationaleError, match="was closed"):
        first.add(rationales(picture(0)))


def test_a_disk_without_locks_is_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(RationaleError, match=r"cannot be locked \(No locks available\)"):
        StoreWriter(tmp_path, IDENTITY)


def test_stores_of_several_machines_are_merged(tmp_path: Path) -> None:
    images = [picture(number) for number in range(6)]
    with StoreWriter(tmp_path / "a", IDENTITY, Shard(1, 2)) as writer:
        for image in images[3::-1]:
            writer.add(rationales(image, "of the first machine"))
        writer.quarantine(refusal(images[4], "length"))
    with StoreWriter(tmp_path / "b", IDENTITY, Shard(2, 2)) as writer:
        writer.add(rationales(images[0], "of the second machine"))
        writer.add(rationales(images[4], "of the second machine"))
        writer.quarantine(refusal(images[5], "language"))
    store = merge_stores(tmp_path / "all", [tmp_path / "a", tmp_path / "b"])
    assert list(store.read()) == [image.file_name for image in images[:5]]  # sorted by name
    assert store.read()[images[0].file_name].glimpse.positive == "of the first machine"
    assert set(store.quarantined()) == {images[5].file_name}
    assert len((tmp_path / "all" / "rationales.jsonl").read_bytes().splitlines()) == 5
    with pytest.raises(RationaleError, match="there is a store already"):
        merge_stores(tmp_path / "all", [tmp_path / "a"])
    StoreWriter(tmp_path / "c", replace(IDENTITY, seed=5)).close()
    with pytest.raises(RationaleError, match="'seed' is 5 there and 0 here"):
        merge_stores(tmp_path / "d", [tmp_path / "a", tmp_path / "c"])
    with StoreWriter(tmp_path / "e", IDENTITY) as writer:
        writer.add(rationales(picture(0, "n2")))
    with pytest.raises(RationaleError, match=r"different annotations of throwing_0\.jpg"):
        merge_stores(tmp_path / "f", [tmp_path / "a", tmp_path / "e"])


def test_a_merge_that_fails_leaves_no_half_store(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a", IDENTITY) as writer:
        for number in range(3):
            writer.add(rationales(picture(number)))
    path = tmp_path / "a" / "rationales.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"glimpse"', '"glance"').replace('"glance"', '"glimpse"', 2))  # the last one's
    with pytest.raises(RationaleError, match="lacks a field"):
        merge_stores(tmp_path / "all", [tmp_path / "a"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    path.write_text(whole)
    (tmp_path / "all").mkdir()  # an empty folder is a new one
    assert len(merge_stores(tmp_path / "all", [tmp_path / "a"])) == 3


def test_a_record_of_another_shape_is_named(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, IDENTITY) as writer:
        writer.add(rationales(picture(0)))
    path = tmp_path / "rationales.jsonl"
    path.write_text(path.read_text().replace('"glimpse"', '"glance"'))
    with pytest.raises(RationaleError, match=r"rationales\.jsonl: throwing_0\.jpg: .*lacks a field"):
        RationaleStore.open(tmp_path).read()["throwing_0.jpg"]


WRITE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from typing import Any
from tests.teacher.jrg.test_rationale_store import IDENTITY, StoreWriter, picture, rationales
with StoreWriter(Path(sys.argv[1]), IDENTITY) as writer:
    missing = writer.read()
    for number in itertools.count():
        image = picture(number)
        if not missing.missing([image]):
            continue
        writer.add(rationales(image, f"text {number} of the picture " * 40))
"""


def test_kill_nine_loses_nothing_that_was_on_disk(tmp_path: Path) -> None:
    folder, before = tmp_path / "s", 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(folder)], cwd=Path(__file__).parents[3])
        await_growth(folder / "rationales.jsonl", before)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        store = RationaleStore.open(folder)
        assert len(store) > before
        before = len(store)
    StoreWriter(folder, IDENTITY).close()  # cuts the tail and finds no lock left behind
    lines = (folder / "rationales.jsonl").read_bytes().splitlines()
    names = [json.loads(line)["file_name"] for line in lines]
    assert names == [f"throwing_{number}.jpg" for number in range(len(names))]  # nothing lost, nothing twice
    assert len(names) == before


def await_growth(path: Path, records: int, wait: Callable[[float], None] = time.sleep) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.is_file() and path.read_bytes().count(b"\n") > records + 40:
            return
        wait(0.02)
    raise AssertionError("the other process wrote nothing")


def test_a_store_of_all_of_swig_opens_quickly(tmp_path: Path) -> None:
    """75,702 pictures in about a second; here an eighth of them with a generous bound, on a busy machine."""
    count = 9_463
    StoreWriter(tmp_path, IDENTITY).close()
    record = rationales(picture(0), "a sentence of the usual length about what is going on " * 30)
    plain = json.dumps(record.to_json())
    with (tmp_path / "rationales.jsonl").open("w") as stream:
        stream.writelines(plain.replace("throwing_0.jpg", f"throwing_{n}.jpg", 1) + "\n" for n in range(count))
    started = time.perf_counter()
    store = RationaleStore.open(tmp_path)
    seconds = time.perf_counter() - started
    assert len(store) == count
    assert seconds < 1.0
    assert store.read()["throwing_77.jpg"].glimpse == record.glimpse
