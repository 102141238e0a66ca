"""What a teacher's folder must hold, what identifies it, and how its prompts are written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from ovgsr.teacher import loading
from ovgsr.teacher.chat import ChatFormat
from ovgsr.teacher.loading import fingerprint_of
from ovgsr.teacher.multimodal_llm import MultimodalLLM, TeacherError

from .conftest import picture, tiny_tokenizer

Load = Callable[[str], MultimodalLLM]


@pytest.fixture
def copied(tiny_llava_folder: Path, tmp_path: Path) -> Path:
    """A LLaVA folder to be spoilt."""
    return Path(shutil.copytree(tiny_llava_folder, tmp_path / "copied"))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_loaded_teacher_is_frozen_and_quiet(tiny_llava_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    teacher = MultimodalLLM.from_pretrained(str(tiny_llava_folder))
    assert capfd.readouterr() == ("", "")
    assert (teacher.hidden_size, teacher.layer_count, teacher.model_type) == (32, 3, "llava")
    assert teacher.name == str(tiny_llava_folder)
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    if teacher.device.type == "cpu":
        assert teacher.precision == "fp32"
        assert teacher.model.dtype == torch.float32


def test_a_hub_name_is_looked_up(tiny_llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tiny_llava_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    teacher = MultimodalLLM.from_pretrained("someone/tiny-llava", revision="abc", device="cpu")
    assert (asked["name"], asked["revision"], teacher.name) == ("someone/tiny-llava", "abc", "someone/tiny-llava")
    assert teacher.fingerprint == fingerprint_of(tiny_llava_folder)
    assert "*.safetensors" in asked["allow_patterns"]
    assert not [pattern for pattern in asked["allow_patterns"] if "bin" in pattern or "py" in pattern]

    def fail(name: str, **options: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        TeacherError, match=r"'someone/gone' is neither a folder .*no network.*hf download someone/gone"
    ):
        MultimodalLLM.from_pretrained("someone/gone")


def test_the_shipped_teacher_and_a_data_set_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sketch").mkdir()
    assert loading.find_teacher("sketch").parts[-3:] == ("ovgsr", "assets", "sketch_teacher")
    (tmp_path / "sketch" / "config.json").touch()
    assert loading.find_teacher("sketch") == Path("sketch")


@pytest.mark.parametrize("device", ["no such thing", "meta:x"])
def test_a_device_that_is_none(tiny_llava_folder: Path, device: str) -> None:
    with pytest.raises(TeacherError, match=f"the device '{device}' cannot be used on this machine .*; name cpu"):
        MultimodalLLM.from_pretrained(tiny_llava_folder, device=device)


def spoil_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def pickled_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_off(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def without_a_tensor(folder: Path) -> None:
    def drop(weights: dict[str, torch.Tensor]) -> None:
        del weights[next(name for name in weights if name.endswith("norm.weight"))]

    change_weights(folder, drop)


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def without_image_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_config, "no config.json"),
        (pickled_only, "pickled"),
        (cut_off, "does not load"),
        (without_a_tensor, "weights lack"),
        (without_tokenizer, "the processor of 'llava' does not load"),
        (without_image_processor, "the processor of 'llava' does not load"),
    ],
)
def test_a_spoilt_folder_is_a_sentence(copied: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(copied)
    with pytest.raises(TeacherError, match=message) as caught:
        MultimodalLLM.from_pretrained(copied, device="cpu")
    assert str(copied) in str(caught.value)


def test_other_kinds_of_models_are_refused(tmp_path: Path) -> None:
    from transformers import GitConfig, GitForCausalLM, LlamaConfig, LlamaForCausalLM

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=400, **small)).save_pretrained(tmp_path / "llama")
    with pytest.raises(TeacherError, match="does not load as an image-text-to-text model"):
        MultimodalLLM.from_pretrained(tmp_path / "llama", device="cpu")
    # GIT reads the picture beside the text, not in its place
    vision = {**small, "image_size": 32, "patch_size": 16}
    GitForCausalLM(GitConfig(vision_config=vision, vocab_size=400, **small)).save_pretrained(tmp_path / "git")
    with pytest.raises(TeacherError, match="GitForCausalLM does not put picture tokens"):
        MultimodalLLM.from_pretrained(tmp_path / "git", device="cpu")


def test_eight_bits_need_a_package(tiny_llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    for precision in ("int8", "int4"):
        with pytest.raises(
            TeacherError, match=rf"{precision} weights need .*pip install 'ovgsr\[teacher\]' bitsandbytes"
        ):
            MultimodalLLM.from_pretrained(tiny_llava_folder, device="cpu", precision=precision)  # type: ignore[arg-type]


def test_the_fingerprint_is_of_contents(copied: Path, tiny_llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint_of(tiny_llava_folder)
    assert fingerprint_of(copied) == before  # whatever the folder is called
    (copied / "README.md").write_text("about this model")
    assert fingerprint_of(copied) == before
    monkeypatch.setattr(loading, "_WHOLE_FILE", 1000)  # as a large file is read: in samples
    monkeypatch.setattr(loading, "_SAMPLE", 64)
    sampled = fingerprint_of(copied)
    assert sampled == fingerprint_of(tiny_llava_folder) != before

    def train(weights: dict[str, torch.Tensor]) -> None:
        for weight in weights.values():
            weight.mul_(1.01)

    change_weights(copied, train)
    assert fingerprint_of(copied) != sampled  # trained further: same names, shapes and sizes
    monkeypatch.undo()
    trained = fingerprint_of(copied)
    assert trained != before
    (copied / "chat_template.jinja").write_text("{{ 'Q: <image>' }}")
    assert fingerprint_of(copied) != trained


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("llava", "<image>"),
        ("qwen", "<|image_pad|>"),
        ("qwen", "<|video_pad|>"),
        ("qwen", "<|im_end|>"),  # would end the user's turn
        ("llava", "</s>"),  # ends a text; its template does not hold it literally
        ("qwen3", "<|vision_start|>"),
        ("paligemma", "<image>"),
        ("gemma3", "<start_of_image>"),
        ("gemma3", "<image_soft_token>"),
        ("internvl", "<IMG_CONTEXT>"),
        ("idefics3", "<fake_token_around_image>"),
    ],
)
def test_texts_that_would_make_a_second_picture(tiny_teacher: Load, family: str, text: str) -> None:
    teacher, image = tiny_teacher(family), picture(0)
    spoilt = f"what is {text} here?"
    with pytest.raises(TeacherError, match="the place of a picture"):
        teacher.generate([image], [spoilt])
    with pytest.raises(TeacherError, match="the place of a picture"):
        teacher.generate([image], ["what?"], answer_start=spoilt)
    with pytest.raises(TeacherError, match="the place of a picture"):
        teacher.score([image], "what?", ["a dog", spoilt])


def test_tokens_that_a_model_is_asked_with_are_allowed() -> None:
    class Processor:
        tokenizer = tiny_tokenizer(("<image>", "<|box_start|>"))
        image_token, chat_template = "<image>", None

        def __call__(self, images: Any, text: str) -> None: ...

    chat = ChatFormat(Processor())
    assert chat.prompt("where is <|box_start|>?") == "<image>\nwhere is <|box_start|>?\n"


def test_without_a_chat_template(copied: Path) -> None:
    (copied / "chat_template.jinja").unlink()
    teacher = MultimodalLLM.from_pretrained(copied, device="cpu")
    inputs = teacher.processor(text=["<image>\nWhat?\n"], images=[[picture(0)]], return_tensors="pt")
    written = teacher.model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    expected = teacher.processor.tokenizer.decode(written, skip_special_tokens=True).strip()
    assert teacher.generate([picture(0)], ["What?"], max_new_tokens=4) == [expected]


def test_a_template_for_text_only_is_not_used(copied: Path) -> None:
    (copied / "chat_template.jinja").write_text("{% for m in messages %}{{ m['role'] }}: hello {% endfor %}")
    teacher = MultimodalLLM.from_pretrained(copied, device="cpu")
    assert teacher._chat.prompt("What?") == "<image>\nWhat?\n"


@pytest.mark.parametrize("family", ["llava", "gemma3", "paligemma", "qwen"])
def test_one_start_token(tiny_teacher: Load, family: str) -> None:
    """Gemma's template writes it, LLaVA's leaves it to the tokenizer, PaliGemma's processor adds its own."""
    teacher = tiny_teacher(family)
    shown = teacher._show([picture(0)], ["What?"])[0]
    assert (shown.ids == teacher.processor.tokenizer.bos_token_id).sum() == 1


@pytest.mark.parametrize(
    ("start", "candidates", "texts"),
    [
        # a word after a word gets its space and is one token with it
        ("someone is", ["carrying"], [" carrying"]),
        ("someone is", [" carrying"], [" carrying"]),
        # the start's own space belongs to the candidates' tokens
        ("someone is ", ["carrying", "cutting"], [" carrying", " cutting"]),
        # no space inside quotes or after brackets, none before a comma
        ('{"verb": "', ["carrying"], ["carrying"]),
        ("someone", [", a man"], [", a man"]),
        ("Yes,", ["someone"], [" someone"]),
        # without a start the template's own space comes first (LLaVA: "ASSISTANT: answer")
        ("", ["carrying"], [" carrying"]),
    ],
)
def test_candidates_are_tokenised_where_they_stand(
    tiny_teacher: Load, start: str, candidates: list[str], texts: list[str]
) -> None:
    teacher = tiny_teacher("llava")
    tokenizer = teacher.processor.tokenizer
    prompt = teacher._chat.prompt("What?")
    answer = teacher._chat.continued(prompt, start, candidates)
    spoken = [tokenizer.decode(ids) for ids in answer.candidates]
    assert spoken == texts
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    kept = asked[: len(asked) - answer.dropped]
    for ids, candidate in zip(answer.candidates, candidates, strict=True):
        whole = tokenizer.decode([*kept, *answer.start, *ids])
        assert whole.endswith(candidate)
        assert tokenizer(whole, add_special_tokens=False)["input_ids"] == [*kept, *answer.start, *ids]


def test_questions_that_cannot_be_asked(tiny_teacher: Load) -> None:
    teacher = tiny_teacher("llava")
    image = picture(0)
    with pytest.raises(TeacherError, match="2 questions need as many pictures"):
        teacher.generate([image], ["What?", "Who?"])
    with pytest.raises(TeacherError, match="there are none"):
        teacher.generate(None, ["What?"])
    with pytest.raises(TeacherError, match="at least one candidate"):
        teacher.score([image], "What?", [])
    with pytest.raises(TeacherError, match="the candidate '' has no token"):
        teacher.score([image], "What?", ["dog", ""])
    assert teacher.generate([], []) == []
    assert teacher.visual_tokens([]) == []
    assert teacher.score([], "What?", ["dog", "man"]).shape == (0, 2)


def test_pictures_in_other_modes(tiny_teacher: Load) -> None:
    teacher = tiny_teacher("llava")
    images = [picture(0).convert(mode) for mode in ("L", "RGBA", "P")]
    assert [visual.tokens.shape for visual in teacher.visual_tokens(images)] == [(16, 32)] * 3
