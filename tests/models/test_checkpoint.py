from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ovgsr.models.checkpoint import Calibration, CheckpointError, StudentCheckpoint
from ovgsr.models.model_card import Provenance
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Verb, Vocabulary

Make = Callable[..., StudentCheckpoint]
FILES = ["README.md", "config.json", "model.safetensors", "vocabulary.json"]


@pytest.fixture
def saved(make_checkpoint: Make, tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    make_checkpoint().save_pretrained(folder)
    return folder


def _config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _rewrite(folder: Path, change: Callable[[Any], Any]) -> None:
    config = _config(folder)
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


SETTINGS: list[dict[str, Any]] = [
    {},
    {"distilled_readout": True, "encoder_layers": 2},
    {"head": "closed"},
    {"dropout": 0.3},  # dropout must be off in what comes back
]


@torch.no_grad()
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_round_trip_gives_the_same_outputs_to_the_bit(
    make_checkpoint: Make, random_text: Callable[..., TextEmbeddings], tmp_path: Path, settings: dict[str, Any]
) -> None:
    checkpoint = make_checkpoint(**settings)
    for module in checkpoint.model.modules():  # as after training: statistics that are not the initial ones
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.uniform_(-0.1, 0.1)
    checkpoint.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    opened = StudentCheckpoint.from_pretrained(tmp_path)
    assert not opened.model.training
    pixels, text = torch.randn(2, 3, 32, 32), random_text()
    text = checkpoint.bind(text, checkpoint.vocabulary)
    verbs = torch.tensor([0, 1])
    first, second = checkpoint.model.encode(pixels), opened.model.encode(pixels)
    before, after = checkpoint.model.predict_verb(first, text), opened.model.predict_verb(second, text)
    assert torch.equal(before.recognition, after.recognition)
    if before.distilled is not None:
        assert after.distilled is not None
        assert torch.equal(before.distilled, after.distilled)
    roles, again = checkpoint.model.fill_roles(first, verbs, text), opened.model.fill_roles(second, verbs, text)
    assert torch.equal(roles.noun_logits, again.noun_logits)
    assert torch.equal(roles.boxes_cxcywh, again.boxes_cxcywh)
    assert torch.equal(roles.grounded_logits, again.grounded_logits)


def test_what_is_known_of_the_weights_comes_back(make_checkpoint: Make, tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    checkpoint.calibration = Calibration(1.25)
    checkpoint.provenance = Provenance("SketchSWiG", "Drawn pictures only.", "sketch_open", {"seed": 3})
    checkpoint.save_pretrained(tmp_path)
    opened = StudentCheckpoint.from_pretrained(tmp_path)
    assert opened.calibration == checkpoint.calibration
    assert opened.provenance == checkpoint.provenance
    assert opened.vocabulary == checkpoint.vocabulary
    assert opened.preprocess == checkpoint.preprocess
    assert opened.settings == checkpoint.settings
    assert opened.text_fingerprint == "random"
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for fact in (
        "SketchSWiG",
        "**Drawn pictures only.**",
        "sketch_open",
        "seed: 3",
        "3 verbs and 4 nouns",
        "apache-2.0",
    ):
        assert fact in card
    assert "from_pretrained(" in card


def test_saving_again_replaces_every_file(make_checkpoint: Make, saved: Path) -> None:
    other = make_checkpoint(seed=1)
    other.provenance = Provenance("another set")
    other.save_pretrained(saved)
    opened = StudentCheckpoint.from_pretrained(saved)
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(opened.model.state_dict()[name], tensor)
    assert "another set" in (saved / "README.md").read_text(encoding="utf-8")


def _flip_a_byte(folder: Path) -> None:
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-10] ^= 1
    (folder / "model.safetensors").write_bytes(weights)


def _truncate(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def _truncate_without_digest(folder: Path) -> None:
    _truncate(folder)
    _rewrite(folder, lambda config: config.pop("weights_sha256"))


def _change_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        _rewrite(folder, lambda config: config.pop("weights_sha256"))

    return spoil


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _set(*path: str, value: Any) -> Callable[[Path], None]:
    def change(config: Any) -> None:
        for part in path[:-1]:
            config = config[part]
        config[path[-1]] = value

    return lambda folder: _rewrite(folder, change)


SPOILED: list[tuple[str, Callable[[Path], None], str]] = [
    ("a flipped byte", _flip_a_byte, r"model\.safetensors: damaged, its SHA-256 .* download it again"),
    ("truncated weights", _truncate, r"model\.safetensors: damaged"),
    ("truncated, no digest", _truncate_without_digest, r"model\.safetensors: not a readable safetensors file"),
    (
        "a tensor missing",
        _change_tensors(lambda tensors: tensors.pop("merge.weight")),
        r"model\.safetensors: does not fit config\.json: 1 tensors missing, 0 unknown, 0 .*'merge\.weight'.*take both",
    ),
    (
        "an unknown tensor",
        _change_tensors(lambda tensors: tensors.update(new=torch.zeros(1))),
        "0 tensors missing, 1 unknown, 0 of",
    ),
    (
        "a tensor of another shape",
        _change_tensors(lambda tensors: tensors.update({"merge.bias": torch.zeros(3)})),
        "0 tensors missing, 0 unknown, 1 of",
    ),
    ("no weights", _remove("model.safetensors"), r"student: no model\.safetensors; a checkpoint is a folder"),
    ("no vocabulary", _remove("vocabulary.json"), r"student: no vocabulary\.json"),
    ("no config", _remove("config.json"), r"student: no config\.json"),
    (
        "another format",
        _set("format", value="ovgsr-student-9"),
        r"config\.json: the field 'format' is 'ovgsr-student-9'",
    ),
    ("config is no JSON", _write("config.json", b"{oops"), r"config\.json: not readable JSON"),
    ("config is binary", _write("config.json", b"\xff\xfe\x00"), r"config\.json: not readable JSON"),
    ("config is a list", _write("config.json", b"[]"), r"config\.json: must hold a JSON object"),
    ("vocabulary is no JSON", _write("vocabulary.json", b""), r"vocabulary\.json: not readable JSON"),
    ("vocabulary is another file", _write("vocabulary.json", b"{}"), r"vocabulary\.json: the field 'format'"),
    ("an unknown model setting", _set("model", "widht", value=3), r"config\.json: .*model\.widht"),
    ("a setting of the wrong kind", _set("model", "width", value="wide"), r"config\.json: .*model\.width"),
    (
        "contradicting settings",
        _set("model", "heads", value=5),
        r"config\.json: .*model\.width \(16\) must be a multiple",
    ),
    ("no text section", lambda folder: _rewrite(folder, lambda config: config.pop("text")), r"config\.json: .*'text'"),
    (
        "a text section of another kind",
        _set("text", value="MiniLM"),
        r"config\.json: a field is missing or of the wrong",
    ),
    (
        "a width that is no number",
        _set("text", "width", value="x"),
        r"config\.json: a field is missing or of the wrong",
    ),
    ("a text width of another encoder", _set("text", "width", value=13), r"model\.safetensors: does not fit"),
    ("no preprocessing size", _set("preprocess", value={}), r"config\.json: .*'size'"),
    (
        "an offset that is no number",
        _set("calibration", "unseen_offset", value="x"),
        r"config\.json: a field is missing",
    ),
    ("unknown provenance", _set("provenance", "who", value="x"), r"config\.json: .*'who'"),
]


@pytest.mark.parametrize(("what", "spoil", "message"), SPOILED, ids=[case[0] for case in SPOILED])
def test_a_checkpoint_that_cannot_be_used_says_which_file_and_why(
    saved: Path, what: str, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(saved)
    with pytest.raises(CheckpointError, match=message):
        StudentCheckpoint.from_pretrained(saved)


@pytest.mark.parametrize("name", ["no/such/folder/here", "./nothing"])
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder; give a checkpoint's folder or a hub id"):
        StudentCheckpoint.from_pretrained(tmp_path / name)


def test_a_name_on_the_hub_that_is_not_cached_is_a_sentence() -> None:
    with pytest.raises(CheckpointError, match="ovgsr-tests/absent: neither a folder here nor a model on the hub"):
        StudentCheckpoint.from_pretrained("ovgsr-tests/absent", local_files_only=True)


def test_words_of_another_text_encoder_are_refused(
    make_checkpoint: Make, random_text: Callable[..., TextEmbeddings]
) -> None:
    checkpoint = make_checkpoint()
    other = replace(random_text(), fingerprint="another")
    with pytest.raises(CheckpointError, match="embedded by 'random', not by 'another'; embed the vocabulary with"):
        checkpoint.bind(other, checkpoint.vocabulary)


def test_binding_finds_the_training_class_of_each_word(
    make_checkpoint: Make, random_text: Callable[..., TextEmbeddings], tiny_vocabulary: Vocabulary
) -> None:
    offered = Vocabulary(
        (Verb("barking", ("agent",)), Verb("flying", ("agent",)), Verb("throwing", ("agent", "item"))),
        tuple(reversed(tiny_vocabulary.nouns)),
    )
    text = make_checkpoint().bind(random_text((1, 1, 2)), offered)
    assert text.verb_classes is not None
    assert text.noun_classes is not None
    assert text.verb_classes.tolist() == [2, -1, 0]
    assert text.noun_classes.tolist() == [0, 4, 3, 2, 1]  # the empty answer is always there


def test_an_argument_that_nothing_reads_is_refused(saved: Path) -> None:
    with pytest.raises(TypeError, match="from_pretrained does not know devise"):
        StudentCheckpoint.from_pretrained(saved, devise="cpu")
