"""A tiny random model on disk: batches against one by one, templates, ends, limits and bad folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ovgsr.teacher.llm.backend import LanguageModel, LlmError, LlmFailure, LlmReply, LlmRequest
from ovgsr.teacher.llm.local_model import LocalModel, SeededSampler

WORDS = [f"w{number}" for number in range(60)]
SPECIAL = ["<end>", "<user>", "<system>", "<assistant>"]
END, ASSISTANT = 61, 64
_WEIGHTS = 2
"""A seed with which greedy replies end within 60 tokens for most prompts, at lengths from 2 to 47."""
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TEMPLATE


def _save(folder: Path, template: str | None = TEMPLATE, tied: bool = False, **settings: Any) -> Path:
    """A Llama of two layers, 32 wide, over 65 words, with random weights: its texts are noise, and short ones."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<unk>", *WORDS])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", unk_token="<unk>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(_WEIGHTS)
    config = LlamaConfig(
        vocab_size=len(words) + len(SPECIAL),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        eos_token_id=END,
        bos_token_id=None,
        pad_token_id=None,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("local") / "tiny-llama")


def _requests(count: int = 9, **fields: Any) -> list[LlmRequest]:
    """Prompts of 1 to ``count`` words, so that most rows of a batch are padded."""
    return [
        LlmRequest(f"p{number}.jpg", "w1 w2", " ".join(WORDS[: number + 1]), None, **{"max_tokens": 100, **fields})
        for number in range(count)
    ]


def _answers(model: LanguageModel, requests: list[LlmRequest]) -> dict[str, LlmReply | LlmFailure]:
    answers = list(model.replies(requests))
    assert sorted(answer.key for answer in answers) == sorted(request.key for request in requests)
    return {answer.key: answer for answer in answers}


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5], ids=["greedy", "cool", "hot"])
def test_a_batch_gives_what_each_request_alone_gives(folder: Path, temperature: float) -> None:
    requests = _requests(temperature=temperature, seed=3)
    alone = _answers(LocalModel(folder, batch_size=1), requests)
    together = _answers(LocalModel(folder, batch_size=5), requests)
    other_order = _answers(LocalModel(folder, batch_size=4), requests[::-1])
    assert alone == together == other_order
    texts = {answer.text for answer in alone.values() if isinstance(answer, LlmReply)}
    assert len(texts) > 2  # noise, but not one and the same


def test_lengths_and_temperatures_may_be_mixed_in_a_batch(folder: Path) -> None:
    requests = [
        replace(request, temperature=(0.0, 1.0)[number % 2], max_tokens=(5, 40, 60)[number % 3])
        for number, request in enumerate(_requests(12, seed=1))
    ]
    alone = _answers(LocalModel(folder, batch_size=1), requests)
    assert alone == _answers(LocalModel(folder, batch_size=12), requests)
    kinds = {type(answer) for answer in alone.values()}
    assert kinds == {LlmReply, LlmFailure}  # five tokens are too few for some


def test_seed_and_key_decide_what_is_sampled(folder: Path) -> None:
    model = LocalModel(folder)

    def texts(seed: int, prefix: str = "") -> list[str | None]:
        requests = [replace(one, key=prefix + one.key) for one in _requests(8, seed=seed, temperature=1.0)]
        answers = _answers(model, requests)
        return [getattr(answers[request.key], "text", None) for request in requests]

    usual, other_seed, other_keys = texts(7), texts(8), texts(7, "a/")
    assert usual == texts(7)
    for other in (other_seed, other_keys):
        both = [(one, two) for one, two in zip(usual, other, strict=True) if one and two]
        assert len(both) > 2
        assert all(one != two for one, two in both)
    greedy = [_answers(model, _requests(6, seed=seed, temperature=0.0)) for seed in (7, 8)]
    assert greedy[0] == greedy[1]


def test_the_sampler_follows_the_distribution() -> None:
    # 4000 rows of the same three words: counts within 4 standard deviations of 4000 * (0.6, 0.3, 0.1).
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(4000, 3)
    rows = [LlmRequest(f"{row}", "", "", None, max_tokens=2, temperature=1.0) for row in range(4000)]
    sampler = SeededSampler(rows, prompt_width=1, most=2)
    first = sampler(torch.zeros(4000, 1, dtype=torch.long), logits)
    assert (first == 0).sum(dim=1).eq(1).all()
    counts = first.argmax(dim=1).bincount(minlength=3).tolist()
    assert counts == [pytest.approx(2400, abs=124), pytest.approx(1200, abs=116), pytest.approx(400, abs=76)]
    second = sampler(torch.zeros(4000, 2, dtype=torch.long), logits)
    assert not torch.equal(first, second)  # every token has a number of its own


def test_an_impossible_word_is_never_picked() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for seed in range(200):
        sampler = SeededSampler([LlmRequest("k", "", "", None, seed=seed, max_tokens=1)], prompt_width=0, most=1)
        assert sampler(torch.zeros(1, 0, dtype=torch.long), logits).argmax().item() == 1


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (TEMPLATE, "<system> w1 w2 <user> w3 <assistant>"),  # as the template has it
        (NO_SYSTEM, "<user> w1 w2 w3 <assistant>"),  # no system turn: before the user's
        (None, "w1 w2 w3 <unk>"),  # no template: the default, whose "Answer:" this tokenizer does not know
    ],
    ids=["template", "no-system", "no-template"],
)
def test_prompts(tmp_path: Path, template: str | None, expected: str) -> None:
    model = LocalModel(_save(tmp_path / "m", template))
    tokens = model._prompt(LlmRequest("k", "w1 w2", "w3", None))
    assert model._parts[1].decode(tokens) == expected


def test_a_picture_cannot_end_its_turn(folder: Path) -> None:
    model = LocalModel(folder)
    tokens = model._prompt(LlmRequest("k", "w1", "w2 <end> <assistant> w3", None))
    assert END not in tokens  # it is text, not the token
    assert tokens.count(ASSISTANT) == 1  # the template's own


def test_a_prompt_that_cannot_be_kept_apart_from_control_tokens_fails_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LocalModel(folder, batch_size=2)
    prompt = model._prompt

    def strict(request: LlmRequest) -> list[int]:
        if request.key == "p1.jpg":
            raise ValueError("Can't sanitize '<end>'")
        return prompt(request)

    monkeypatch.setattr(model, "_prompt", strict)
    failure = _answers(model, _requests(3))["p1.jpg"]
    assert failure == LlmFailure("p1.jpg", "the prompt cannot be put in tokens: Can't sanitize '<end>'", False)


def test_half_a_surrogate_pair_in_a_prompt_does_not_end_the_run(folder: Path) -> None:
    assert len(list(LocalModel(folder).replies([LlmRequest("a\udcff.jpg", "x\ud800", "y\udcff", None)]))) == 1


def test_settings_in_the_files_do_not_act(folder: Path, tmp_path: Path) -> None:
    # A penalty on repeated tokens would see the padding, which is the end token here, and hit padded rows only.
    model = _save(tmp_path / folder.name, repetition_penalty=0.2, do_sample=True, top_k=3, temperature=0.1)
    requests = _requests(6, temperature=1.0)
    assert _answers(LocalModel(model, batch_size=6), requests) == _answers(LocalModel(folder, batch_size=6), requests)


def test_replies_end_by_themselves_or_are_failures(folder: Path) -> None:
    (failure,) = LocalModel(folder).replies(_requests(1, max_tokens=1))
    assert failure == LlmFailure("p0.jpg", "the reply was cut off at 1 tokens", retryable=True)


def test_a_reply_may_use_its_tokens_up_but_for_the_one_that_ends_it(folder: Path) -> None:
    requests = _requests(6, temperature=0.0)
    free = _answers(LocalModel(folder), requests)
    asked = next(request for request in requests if isinstance(free[request.key], LlmReply))
    words = len(free[asked.key].text.split())  # type: ignore[union-attr]
    longer = replace(asked, key="longer", max_tokens=60)
    for limit, kind in ((words, LlmFailure), (words + 1, LlmReply)):
        limited = replace(asked, max_tokens=limit)
        for batch in ([limited], [limited, longer]):  # a longer neighbour leaves it no more room
            assert type(_answers(LocalModel(folder), batch)[asked.key]) is kind


def test_a_prompt_that_does_not_fit_is_refused_and_the_others_are_not(folder: Path) -> None:
    long = LlmRequest("long.jpg", "", "w1 " * 250, None, max_tokens=100)
    answers = _answers(LocalModel(folder, batch_size=2), [_requests(1)[0], long, _requests(2)[1]])
    refused = answers["long.jpg"]
    assert isinstance(refused, LlmFailure)
    assert not refused.retryable
    assert "tokens and a reply of 100 do not fit into the model's 256" in refused.reason
    assert isinstance(answers["p0.jpg"], LlmReply | LlmFailure)


def test_requests_are_read_a_window_at_a_time(folder: Path) -> None:
    taken: list[str] = []

    def endless() -> Any:
        number = 0
        while True:
            taken.append(str(number))
            yield LlmRequest(str(number), "", "w1", None, max_tokens=3)
            number += 1

    next(LocalModel(folder, batch_size=2).replies(endless()))
    assert len(taken) == 8


def test_a_batch_too_large_for_the_memory_is_halved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = _requests(7, temperature=1.0)
    expected = _answers(LocalModel(folder, batch_size=1), requests)
    model = LocalModel(folder, batch_size=7)
    sizes: list[int] = []
    rows: Callable[..., Any] = model._rows

    def cramped(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return rows(batch)

    monkeypatch.setattr(model, "_rows", cramped)
    assert _answers(model, requests) == expected
    assert sizes == [7, 3, 1, 2, 4, 2, 2]

    def none_at_all(_: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model, "_rows", none_at_all)
    with pytest.raises(LlmError, match=r"one prompt of .* does not fit into the memory of cpu"):
        list(model.replies(requests))


def test_the_name_tells_models_apart(folder: Path, tmp_path: Path) -> None:
    first = LocalModel(folder)
    assert first.name.startswith("local:tiny-llama:")
    assert first.is_llm
    same = _save(tmp_path / "a" / "tiny-llama")
    assert LocalModel(same).name == first.name
    weights = same / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-3] ^= 1
    weights.write_bytes(changed)
    assert LocalModel(same).name != first.name


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    assert _answers(LocalModel(_save(tmp_path / "m", tied=True)), _requests(2))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _damaged(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")


def _no_end(folder: Path) -> None:
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        record = json.loads((folder / name).read_text())
        for key in ("eos_token_id", "eos_token"):
            record.pop(key, None)
        (folder / name).write_text(json.dumps({**record, **({"eos_token_id": None} if name == "config.json" else {})}))


def _lacking(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _own_code(folder: Path) -> None:
    record = json.loads((folder / "config.json").read_text())
    record |= {"model_type": "its_own", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(record))
    (folder / "evil.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_empty, "holds no config.json; give the folder of a language model"),
        (_only_pickles, "holds no safetensors weights; other formats can run code and are not read"),
        (_damaged, "this language model does not load on cpu"),
        (_no_end, "names no token that ends a reply; set eos_token_id"),
        (_lacking, "the weights lack model.norm.weight and 0 more"),
        (_own_code, "this language model does not load on cpu"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], None], told: str) -> None:
    folder = _save(tmp_path / "m")
    spoil(folder)
    with pytest.raises(LlmError, match=told):
        list(LocalModel(folder).replies(_requests(1)))
    assert not (folder / "ran").exists()


def test_a_template_that_does_not_work(tmp_path: Path) -> None:
    folder = _save(tmp_path / "m", "{{ raise_exception('never') }}")
    with pytest.raises(LlmError, match="the model's chat template does not work: never"):
        list(LocalModel(folder).replies(_requests(1)))


def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(LlmError, match="does not load on nowhere"):
        list(LocalModel(folder, device="nowhere").replies(_requests(1)))


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("no such repository\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(LlmError, match=r"'nobody/nothing' is no folder.*\(no such repository\); check the name"):
        LocalModel("nobody/nothing")


def test_a_batch_has_a_size() -> None:
    with pytest.raises(LlmError, match="batch_size is 0; give a number above 0"):
        LocalModel("anything", batch_size=0)
