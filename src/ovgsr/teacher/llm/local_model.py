"""A text-generation model of transformers on this machine: batched, seeded, from safetensors files only."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError
from torch import Tensor

from ovgsr.errors import first_line
from ovgsr.hub import download_model
from ovgsr.teacher.llm.backend import LlmError, LlmFailure, LlmReply, LlmRequest, encodable
from ovgsr.teacher.loading import quiet

Precision = Literal["stored", "float32", "bfloat16", "float16"]
DEFAULT_CHAT = "{system}\n\n{user}\n\nAnswer:\n"
"""What a model without a chat template is given."""
_WINDOW = 4
"""Batches that are looked at together, to put prompts of a length into one."""
_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
_SAMPLE, _SAMPLES = 64 * 1024, 16


class LocalModel:
    """A causal language model in a folder, or of the Hugging Face Hub.

    What is sampled for a request depends on its ``seed`` and ``key`` and nothing else: each request draws its own
    random numbers, one a token, whatever shares its batch and however it is sorted into one. Only the rounding of
    batched arithmetic can still differ with the batch, and turn a token in a near-tie; with ``batch_size`` 1 a reply
    is the same to the byte on one machine. Temperature 0 is greedy; top-k, top-p and repetition penalties that a
    model's files ask for are not applied. A ``schema`` is not enforced: the prompt has to ask for it.

    ``precision`` "stored" keeps the files' own. Weights load at the first request.

    Raises LlmError where there is no such model or it holds no safetensors weights.
    """

    is_llm = True

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "stored",
        batch_size: int = 8,
    ) -> None:
        if batch_size < 1:
            raise LlmError(f"batch_size is {batch_size}; give a number above 0")
        self._folder = _find(str(model))
        self._label = self._folder.resolve().name if Path(model).is_dir() else str(model)
        self.name = f"local:{self._label}:{_fingerprint(self._folder)}"
        self._device, self._precision, self._batch_size = device, precision, batch_size

    def replies(self, requests: Iterable[LlmRequest]) -> Iterator[LlmReply | LlmFailure]:
        """Answers batch by batch, one for each request; ``4 * batch_size`` requests are read at a time.

        Raises LlmError where the model does not load or one prompt alone does not fit into memory.
        """
        source = iter(requests)
        while window := list(itertools.islice(source, _WINDOW * self._batch_size)):
            fitting: list[tuple[LlmRequest, list[int]]] = []
            for request in window:
                prompt = self._checked_prompt(request)
                if isinstance(prompt, LlmFailure):
                    yield prompt
                else:
                    fitting.append((request, prompt))
            fitting.sort(key=lambda pair: len(pair[1]))
            for start in range(0, len(fitting), self._batch_size):
                yield from self._generate(fitting[start : start + self._batch_size])

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        return _load(self._folder, self._device, self._precision)

    @cached_property
    def _ends(self) -> list[int]:
        model, tokenizer = self._parts
        named = model.generation_config.eos_token_id
        ends = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
        if not ends:
            raise LlmError(f"{self._folder}: the model names no token that ends a reply; set eos_token_id in its files")
        return sorted(ends)

    @property
    def _longest(self) -> int | None:
        return getattr(self._parts[0].config.get_text_config(), "max_position_embeddings", None)

    def _checked_prompt(self, request: LlmRequest) -> list[int] | LlmFailure:
        try:
            prompt = self._prompt(request)
        except LlmError:
            raise
        except ValueError as error:  # a control token in the text that this tokenizer cannot write as text
            return LlmFailure(request.key, f"the prompt cannot be put in tokens: {error}", retryable=False)
        if self._longest and len(prompt) + request.max_tokens > self._longest:
            reason = (
                f"the prompt of {len(prompt)} tokens and a reply of {request.max_tokens} do not fit into the model's "
                f"{self._longest}"
            )
            return LlmFailure(request.key, reason, retryable=False)
        return prompt

    def _prompt(self, request: LlmRequest) -> list[int]:
        """The prompt's tokens. Where a template takes no system turn, its text goes before the user's."""
        from jinja2.exceptions import TemplateError

        tokenizer, system_text, user_text = self._parts[1], encodable(request.system), encodable(request.user)
        if not tokenizer.chat_template:
            return list(tokenizer(DEFAULT_CHAT.format(system=system_text, user=user_text))["input_ids"])
        system = [{"role": "system", "content": system_text}] if system_text else []
        try:
            return _chat(tokenizer, [*system, {"role": "user", "content": user_text}])
        except TemplateError:
            pass
        try:
            return _chat(tokenizer, [{"role": "user", "content": f"{system_text}\n\n{user_text}"}])
        except TemplateError as error:
            raise LlmError(f"{self._folder}: the model's chat template does not work: {error}") from None

    def _generate(self, batch: Sequence[tuple[LlmRequest, list[int]]]) -> list[LlmReply | LlmFailure]:
        try:
            rows = self._rows(batch)
        except torch.OutOfMemoryError:
            rows = None  # halved below: while the error is handled, it holds on to the tensors
        if rows is None:
            if len(batch) == 1:
                raise LlmError(
                    f"{self._folder}: one prompt of {len(batch[0][1])} tokens does not fit into the memory of "
                    f"{self._device}; take a smaller model or precision bfloat16"
                )
            half = len(batch) // 2
            return [*self._generate(batch[:half]), *self._generate(batch[half:])]
        return [self._reply(request, row) for (request, _), row in zip(batch, rows, strict=True)]

    def _rows(self, batch: Sequence[tuple[LlmRequest, list[int]]]) -> list[list[int]]:
        """The new tokens of each row, as long as the longest reply of the batch."""
        import transformers

        model, configuration = self._parts[0], cast("Any", transformers.GenerationConfig)
        width = max(len(prompt) for _, prompt in batch)
        tokens = torch.full((len(batch), width), self._ends[0])
        mask = torch.zeros_like(tokens)
        for row, (_, prompt) in enumerate(batch):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        most = max(request.max_tokens for request, _ in batch)
        settings = configuration(
            max_new_tokens=most, do_sample=False, eos_token_id=self._ends, pad_token_id=self._ends[0]
        )
        sampler = SeededSampler([request for request, _ in batch], width, most)
        with torch.inference_mode():
            grown = model.generate(
                input_ids=tokens.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=settings,
                logits_processor=transformers.LogitsProcessorList([sampler]),
            )
        return grown[:, width:].tolist()  # type: ignore[no-any-return]

    def _reply(self, request: LlmRequest, row: list[int]) -> LlmReply | LlmFailure:
        end = next((place for place, token in enumerate(row) if token in self._ends), None)
        if end is None or end >= request.max_tokens:
            return LlmFailure(request.key, f"the reply was cut off at {request.max_tokens} tokens", retryable=True)
        text = self._parts[1].decode(row[:end], skip_special_tokens=True).strip()
        if not text:
            return LlmFailure(request.key, "the reply is empty", retryable=True)
        return LlmReply(request.key, text, self._label)


class SeededSampler:
    """A logits processor that leaves one token standing: the one that inverse-transform sampling picks.

    Row i takes its t-th token with the t-th number of a generator seeded by the i-th request's seed and key.
    """

    def __init__(self, requests: Sequence[LlmRequest], prompt_width: int, most: int) -> None:
        self._prompt_width = prompt_width
        self._temperature = torch.tensor([[request.temperature] for request in requests], dtype=torch.float32)
        self._draws = torch.zeros(len(requests), most)
        for row, request in enumerate(requests):
            self._draws[row, : request.max_tokens] = torch.rand(request.max_tokens, generator=_generator(request))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (rows, words) in which all but the picked token are minus infinity."""
        if self._draws.device != scores.device:
            self._draws, self._temperature = self._draws.to(scores.device), self._temperature.to(scores.device)
        logits = scores.float()
        heat = self._temperature.clamp(min=1e-6)
        mass = torch.softmax(logits / heat, dim=-1).cumsum(dim=-1)
        # Scaled by the total, which rounding leaves a little off 1; a draw is below 1, so some word always exceeds it.
        aim = self._draws[:, input_ids.shape[1] - self._prompt_width, None] * mass[:, -1:]
        sampled = torch.searchsorted(mass, aim, right=True).clamp(max=mass.shape[1] - 1)
        picked = torch.where(self._temperature > 0, sampled, logits.argmax(dim=-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter(1, picked, 0.0)


def _generator(request: LlmRequest) -> torch.Generator:
    digest = hashlib.sha256(f"{request.seed}\n{request.key}".encode("utf-8", "surrogatepass")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _chat(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    # Reasoning would use up the reply's length; templates that know no such switch ignore it. What looks like a
    # control token inside a message is text, where the installed transformers can tell.
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, enable_thinking=False, sanitize_control_tokens=True
    )
    return list(encoded["input_ids"])


def _find(model: str) -> Path:
    if Path(model).is_dir():
        folder = Path(model)
    else:
        folder = download_model(
            model,
            lambda reason: LlmError(
                f"the language model {model!r} is no folder, and the Hugging Face Hub does not give it ({reason}); "
                "check the name and the network, or name a folder with config.json, tokenizer and safetensors weights"
            ),
            patterns=_WANTED,
        )
    if not (folder / "config.json").is_file():
        raise LlmError(f"{folder} holds no config.json; give the folder of a language model")
    if not list(folder.glob("*.safetensors")):
        raise LlmError(f"{folder} holds no safetensors weights; other formats can run code and are not read")
    return folder


def _fingerprint(folder: Path) -> str:
    """Tells models apart without reading gigabytes: small files whole, of weights their size, header and samples."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".model"):
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
        elif path.suffix == ".safetensors":
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with path.open("rb") as file:
                for sample in range(_SAMPLES + 1):
                    file.seek(max(0, size - _SAMPLE) * sample // _SAMPLES)
                    digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:12]


def _load(folder: Path, device: str | torch.device, precision: Precision) -> tuple[Any, Any]:
    import transformers

    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    dtype = "auto" if precision == "stored" else getattr(torch, precision)
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
            factory: Any = transformers.AutoModelForCausalLM
            model, report = factory.from_pretrained(
                folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **safe
            )
            model = model.to(device).eval()
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = first_line(error)
        raise LlmError(f"{folder}: this language model does not load on {device}: {reason}") from None
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise LlmError(f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} more; fetch the model again")
    # A model's own penalties would also act on the padding, and so on what else is in the batch.
    ends = model.generation_config.eos_token_id
    settings: Any = transformers.GenerationConfig
    model.generation_config = settings(eos_token_id=ends)
    return model, tokenizer
