from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from ovgsr.config import Config, ConfigError, ModelSettings, find_recipe, load_config, validate_config
from ovgsr.errors import OvgsrError


def _recipe(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_defaults_file_and_overrides_in_that_order(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "name: mine\ntrain:\n  epochs: 4\n  seed: 1\nmodel:\n  width: 64\n")
    config = load_config(path, ["train.epochs=7", "data.split=null", "evaluation.profiles=[situformer]"])
    assert (config.name, config.train.epochs, config.train.seed) == ("mine", 7, 1)
    assert config.model.width == 64
    assert config.optim == Config().optim, "what no one names stays"
    assert config.data.split is None
    assert config.evaluation.profiles == ("situformer",)
    assert load_config(None) == Config()
    assert load_config(_recipe(tmp_path, "")) == Config()


def test_values_may_refer_to_one_another(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "name: size${data.image_size}\ndata:\n  image_size: 64\n")
    assert load_config(path).name == "size64"
    assert load_config(path, ["data.image_size=32"]).name == "size32"


def test_a_quoted_override_stays_text() -> None:
    assert load_config(None, ['data.root="2024"']).data.root == "2024"  # what ``ovgsr train --data 2024`` writes


def test_yaml_reads_no_as_false_and_precision_knows_it(tmp_path: Path) -> None:
    assert load_config(None, ["train.precision=no"]).train.precision == "no"
    assert load_config(_recipe(tmp_path, "train:\n  precision: no\n")).train.precision == "no"


def test_a_dumped_config_reads_back() -> None:
    config = load_config(None, ["optim.ema=0.5", "train.max_steps=3", "evaluation.profiles=[coformer]"])
    assert validate_config(config.model_dump(mode="json"), "a run") == config


def test_the_packages_recipes_are_found_by_name_and_files_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_config("smoke").name == load_config("smoke.yaml").name == "smoke"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").write_text("name: local\n")
    assert find_recipe("smoke") == Path("smoke")
    with pytest.raises(ConfigError, match=r"smokey: there is no such recipe file; .*sketch_open, smoke"):
        load_config("smokey")
    with pytest.raises(ConfigError, match=r"elsewhere/smoke\.yaml: there is no such recipe file"):
        load_config("elsewhere/smoke.yaml")


OVERRIDES = [
    # override, the message after the file's name
    ("train.epoch=3", r"unknown key 'train\.epoch'; did you mean 'epochs'\?"),
    ("trian.epochs=3", r"unknown key 'trian'; did you mean 'train'\?"),
    (
        "qqq=3",
        r"unknown key 'qqq'; known keys: name, task, data, model, backbone, pairs, loss, views, prompts",
    ),
    ("train.zzz=3", r"unknown key 'train\.zzz'; known keys: seed, epochs"),
    ("train.epochs=two", r"train\.epochs: .*valid integer"),
    ("train.epochs=2.5", r"train\.epochs: .*valid integer"),
    ("train.epochs=null", r"train\.epochs: .*valid integer"),
    ("train.epochs=0", r"train\.epochs: .*greater than or equal to 1"),
    ("train.epochs.x=1", r"train\.epochs: .*valid integer"),
    ("train=3", r"train: .*valid dictionary"),
    ("train.precision=fp8", r"train\.precision: .*'no', 'bf16' or 'fp16'"),
    ("evaluation.profiles=[x]", r"evaluation\.profiles\.0: .*'official'"),
    ("model.backbone=3", r"model\.backbone: .*valid string"),
    ("optim.ema=1", r"optim\.ema: .*less than 1"),
    ("data.flip=1.5", r"data\.flip: .*less than or equal to 1"),
    ("model.width=30", r"model\.width \(30\) must be a multiple of model\.heads \(4\)"),
    ("train.epochs=[", r"not a readable recipe"),
    ("task=actions", r"task: .*'situations' or 'interactions'"),
]


@pytest.mark.parametrize(("override", "message"), OVERRIDES, ids=[case[0] for case in OVERRIDES])
def test_a_bad_value_names_file_and_key(tmp_path: Path, override: str, message: str) -> None:
    path = _recipe(tmp_path, "name: mine\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: .*{message}"):
        load_config(path, [override])
    with pytest.raises(ConfigError, match=rf"^the defaults: .*{message}"):
        load_config(None, [override])


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"train\.epochs.*; .*train\.sede.*'seed'"):
        load_config(None, ["train.epochs=x", "train.sede=3"])


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the override 'train\.epochs' is not of the form section\.key=value"):
        load_config(None, ["train.epochs"])


FILES: list[tuple[str, str | bytes, str]] = [
    # what, content, message
    ("a list", "- a\n- b\n", "not a readable recipe"),
    ("a word", "hello\n", "unknown key 'hello'"),
    ("broken YAML", "train: [1,\n", r"not a readable recipe: .*line 2"),
    ("a tab", "train:\n\tseed: 1\n", r"not a readable recipe: .*line 2"),
    ("a key twice", "train:\n  seed: 1\n  seed: 2\n", "not a readable recipe: .*duplicate key seed"),
    ("no UTF-8", b"name: \xff\xfe\n", "not a readable recipe"),
    ("a reference to nothing", "name: ${nope}\n", "not a readable recipe: .*'nope' not found"),
    ("a number as key", "1: 2\n", "1: Keys should be strings"),
    ("an empty section", "train:\n", r"train: .*valid dictionary"),
    ("YAML that would run code", "name: !!python/object/apply:os.getcwd []\n", "not a readable recipe"),
]


@pytest.mark.parametrize(("what", "content", "message"), FILES, ids=[case[0] for case in FILES])
def test_a_bad_file_is_named(tmp_path: Path, what: str, content: str | bytes, message: str) -> None:
    path = _recipe(tmp_path, content)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: {message}"):
        load_config(path)


def test_settings_are_values() -> None:
    settings = ModelSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.width = 3
    assert issubclass(ConfigError, OvgsrError)


@pytest.mark.parametrize("setting", ["model.head=closed", "distill.label_text=true"])
def test_interactions_know_neither_a_closed_head_nor_a_control_by_texts(setting: str) -> None:
    with pytest.raises(ConfigError, match="task: interactions knows neither a closed head nor a teacher"):
        load_config(None, ["task=interactions", setting])
