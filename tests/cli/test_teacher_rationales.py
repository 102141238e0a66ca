"""``ovgsr teacher rationales``: whole runs of the command, and what must never be in a store."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.teacher.chat_server import RATE_LIMITED, ChatServer, user_text
from tests.teacher.replies import data_of, obedient_reply
from typer.testing import CliRunner, Result

from ovgsr.cli.teacher_rationales import NO_LLM, merge, rationales
from ovgsr.data.swig import read_annotations, read_split, read_vocabulary, with_verbs
from ovgsr.errors import OvgsrError
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.store import RationaleStore

_NO_TEXTS = ("file_name", "annotation_sha256", "provenance")

app = typer.Typer()
app.command("rationales")(rationales)
app.command("merge")(merge)

# Forms of SketchSWiG's twelve unseen and eight dev-unseen verbs, written down by hand. The first list must be in no
# text; a word of the second names a thing as well, and may stand where an annotator wrote it.
FORMS = """
watering watered waters waterer; feeding fed feeds feeder; lifting lifted lifts lifter; dropping dropped drops dropper;
photographing photographed photographs photographer photographers; nailing nailed nails; drumming drummed drummer;
shoveling shovelling shoveled shovelled shovels; leading led leads; climbing climbed climbs climber climbers;
rowing rowed rows rower; shearing sheared shorn shears shearer; spraying sprayed sprays sprayer;
dragging dragged drags; phoning phoned phones; mopping mopped mops; licking licked licks; falling fell fallen falls;
milking milked milks; stacking stacked stacks stacker
"""
THINGS = (
    "water feed lift drop photograph nail drum shovel lead climb row shear spray drag phone mop lick fall milk stack"
)


def run(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    command = words if words[0] == "merge" else ["rationales", *words]
    return CliRunner().invoke(app, command, env={"COLUMNS": "160"})


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """Every record by picture; a picture twice is an error."""
    found: dict[str, dict[str, Any]] = {}
    for path in folder.glob("rationales*.jsonl"):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            assert record["file_name"] not in found
            found[record["file_name"]] = record
    return found


def texts(value: Any) -> list[str]:
    """Every text anywhere in a record, but for its names and fingerprints."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, part in value.items() if key not in _NO_TEXTS for text in texts(part)]
    return [text for part in value for text in texts(part)] if isinstance(value, list) else []


@pytest.fixture(scope="module")
def written(sketch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the template writer over the whole training set."""
    out = tmp_path_factory.mktemp("rationales") / "template"
    result = run("--data", sketch_root, "--out", out, "--k", 3)
    assert result.exit_code == 0, result.output
    assert re.search(r"written +│? *120", result.output)
    assert NO_LLM in " ".join(result.output.split())
    assert "for example" in result.output
    assert "pictures/s" in result.output
    return out


@pytest.fixture(scope="module")
def pictures(sketch_root: Path) -> dict[str, AnnotatedImage]:
    split = read_split(sketch_root)
    assert split is not None
    return {i.file_name: i for i in with_verbs(read_annotations(sketch_root, "train"), split.training)}


def test_the_store_covers_every_filled_role(written: Path, pictures: dict[str, AnnotatedImage]) -> None:
    store = RationaleStore.open(written).read(pictures.values())
    assert set(store) == set(pictures)
    for name, image in pictures.items():
        record = store[name]
        filled = [role for role, noun in image.situation.nouns.items() if noun.noun]
        assert list(record.gazes) == filled
        assert len(record.glimpse.negatives) == 3
        assert all(1 <= len(gaze.negatives) <= 3 for gaze in record.gazes.values())
        assert len(set(record.texts())) == len(record.texts())
        assert (record.verb, record.provenance.is_llm) == (image.situation.verb, False)
    kinds = {
        negative.kind for record in store.values() for gaze in record.gazes.values() for negative in gaze.negatives
    }
    assert kinds == {"filler", "role", "place"}


def test_no_unseen_verb_in_any_form_is_ever_in_a_store(
    written: Path, sketch_root: Path, pictures: dict[str, AnnotatedImage]
) -> None:
    split, vocabulary = read_split(sketch_root), read_vocabulary(sketch_root)
    assert split is not None
    assert len(split.unseen) + len(split.dev_unseen) == len(FORMS.split(";")) == len(THINGS.split()) == 20
    never, things = set(re.findall(r"[a-z]+", FORMS)), set(THINGS.split())
    assert {*split.unseen, *split.dev_unseen} <= never
    found, allowed = 0, 0
    for name, record in lines(written).items():
        annotated = {
            word
            for noun in pictures[name].situation.nouns.values()
            for key in noun.annotators
            for phrase in vocabulary.noun(key).words
            for word in re.findall(r"[a-z]+", phrase.lower())
        }
        for text in texts(record):
            words = set(re.findall(r"[a-z]+", text.lower()))
            assert not words & never, (name, text)
            assert not (words & things) - annotated, (name, text)
            found, allowed = found + 1, allowed + len(words & things)
    assert found > 2000
    assert 0 < allowed < 200  # the nouns did occur, so the distinction was tried


def test_again_there_is_nothing_to_do(written: Path, sketch_root: Path) -> None:
    before = (written / "rationales.jsonl").read_bytes()
    result = run("--data", sketch_root, "--out", written, "--k", 3)
    assert result.exit_code == 0
    assert re.search(r"there already +│? *120", result.output)
    assert (written / "rationales.jsonl").read_bytes() == before


def test_shards_make_what_one_run_makes(written: Path, sketch_root: Path, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        assert run("--data", sketch_root, "--out", tmp_path / "s", "--k", 3, "--shard", shard).exit_code == 0
    assert len(list((tmp_path / "s").glob("rationales.*-of-2.jsonl"))) == 2
    assert lines(tmp_path / "s") == lines(written)
    result = run("merge", tmp_path / "s", "--out", tmp_path / "m")
    assert "120 pictures with rationales, 0 quarantined" in result.output
    assert lines(tmp_path / "m") == lines(written)
    refused = run("merge", tmp_path / "nowhere", "--out", tmp_path / "n").exception
    assert "store.json: there is no such file" in str(refused)


# What is asked for besides --data and --k 3, and words of the sentence.
REFUSED: list[tuple[str, list[str], str]] = [
    ("another seed", ["--seed", "1"], "'seed' is 0 there and 1 here"),
    ("an unknown backend", ["--backend", "gpt"], "--backend must be one of template, openai, local, not 'gpt'"),
    ("no model", ["--backend", "openai"], "--backend openai needs --model"),
    ("a model for no LLM", ["--model", "qwen"], "of no use to --backend template"),
    ("a server for a local model", ["--backend", "local", "--model", "x", "--base-url", "http://x"], "openai"),
    ("a key for no server", ["--key-variable", "MY_KEY"], "--key-variable and --requests-per-minute are options of"),
    ("no key", ["--backend", "openai", "--model", "x", "--key-variable", "NO_SUCH_KEY"], "variable NO_SUCH_KEY"),
    ("no model in the folder", ["--backend", "local", "--model", "."], r"holds no config\.json"),
    ("a template for no LLM", ["--template", "mine"], "--template is for an LLM"),
    ("a bad shard", ["--shard", "3/2"], "the shard '3/2' must be i/n"),
    ("no such split", ["--split", "none.json"], r"none\.json"),
]


@pytest.mark.parametrize(("name", "arguments", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_bad_option_is_a_sentence(
    written: Path, sketch_root: Path, name: str, arguments: list[str], words: str
) -> None:
    before = (written / "rationales.jsonl").read_bytes()
    result = run("--data", sketch_root, "--out", written, "--k", 3, *arguments)
    assert isinstance(result.exception, OvgsrError), result.output
    assert re.search(words, str(result.exception))
    assert (written / "rationales.jsonl").read_bytes() == before


def test_a_split_that_makes_a_seen_verb_unseen_is_another_store(
    written: Path, sketch_root: Path, tmp_path: Path
) -> None:
    own = read_split(sketch_root)
    assert own is not None
    record = {"format": "ovgsr-split-1", "name": "mine", "seen": own.seen[2:], "rare": own.rare}
    record |= {"unseen": [*own.unseen, *own.seen[:2]], "dev_unseen": own.dev_unseen}
    (tmp_path / "mine.json").write_text(json.dumps(record), encoding="utf-8")
    arguments = ("--data", sketch_root, "--k", 3, "--split", tmp_path / "mine.json")
    assert "'split_sha256'" in str(run(*arguments, "--out", written).exception)
    assert run(*arguments, "--out", tmp_path / "s").exit_code == 0
    assert own.seen[:2] == ("throwing", "kicking")
    for found in lines(tmp_path / "s").values():
        words = set(re.findall(r"[a-z]+", " ".join(texts(found)).lower()))
        assert not words & {"throwing", "throws", "thrown", "threw", "thrower", "kicking", "kicks", "kicked", "kicker"}


def test_a_server_writes_and_is_asked_again(sketch_root: Path, tmp_path: Path) -> None:
    hostile: list[str] = []

    def answer(body: dict[str, Any]) -> str:
        good = obedient_reply(data_of(user_text(body)))
        if hostile:
            good["gazes"][next(iter(good["gazes"]))]["positive"] += " It was led here."
        return json.dumps(good)

    out = tmp_path / "s"
    with ChatServer(answer, lambda number: RATE_LIMITED if number == 2 else None) as server:
        settings = ("--backend", "openai", "--model", "tiny-chat", "--base-url", server.base_url, "--concurrency", 2)
        result = run("--data", sketch_root, "--out", out, "--limit", 4, *settings)
        assert result.exit_code == 0, result.output
        assert NO_LLM not in " ".join(result.output.split())
        hostile.append("now")
        result = run("--data", sketch_root, "--out", out, "--limit", 6, "--attempts", 2, *settings)
        assert result.exit_code == 1
        assert re.search(r"unseen_verb +│? *2", result.output)
        assert run("--data", sketch_root, "--out", out, "--limit", 6, *settings).exit_code == 1  # still two without
        hostile.clear()
        result = run("--data", sketch_root, "--out", out, "--limit", 6, "--retry-quarantined", *settings)
        assert result.exit_code == 0
    assert len(lines(out)) == 6
    assert not any("led" in text.split() for record in lines(out).values() for text in texts(record))
    stored = RationaleStore.open(out)
    assert (stored.identity.model, stored.identity.is_llm) == ("openai:tiny-chat", True)
    assert {record.provenance.model for record in stored.read().values()} == {"tiny-chat"}
    assert "--backend" not in (out / "store.json").read_text()
    with pytest.raises(OvgsrError, match=r"'model'|'template_sha256'"):
        raise run("--data", sketch_root, "--out", out).exception or AssertionError


def test_a_picture_of_which_nothing_was_said_is_left_out(sketch_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(sketch_root / "SWiG_jsons", root / "SWiG_jsons")
    path = root / "SWiG_jsons" / "train.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    name = next(iter(records))
    for frame in records[name]["frames"]:
        frame.update(dict.fromkeys(frame, ""))
    path.write_text(json.dumps(records), encoding="utf-8")
    result = run("--data", root, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert re.search(r"filled no role +│? *1 ", result.output) and re.search(r"quarantined +│? *0 ", result.output)
    assert name not in lines(tmp_path / "out") and len(lines(tmp_path / "out")) == len(records) - 1
