"""Where a multimodal LLM's files are, what identifies them, and how they become a frozen model and its processor.

Safetensors weights only, never code from a model's repository, and always the processors of transformers that work
on PIL pictures: one picture gives the same pixels on every machine, with torchvision or without.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from ovgsr.errors import OvgsrError, first_line
from ovgsr.hub import download_model

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8", "int4"]
"""``auto``: bf16 on an accelerator that computes in it, else fp32. int8 and int4 need the bitsandbytes package."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WHOLE_FILE = 256 * 2**20
_SAMPLES, _SAMPLE = 256, 2**16
_DESCRIPTIONS = ("*.json", "*.jinja", "*.txt", "*.model")
_OTHER_FORMATS = ["consolidated*", "original/*", "onnx/*"]


SHIPPED_TEACHER = "sketch"
"""The name of the teacher that the package carries: it knows drawn pictures only."""


class TeacherError(OvgsrError):
    """A teacher that is not there, cannot be loaded or cannot do what is asked; the sentence says what to do."""


@dataclass(frozen=True)
class LoadedTeacher:
    """A frozen model in evaluation mode, its processor, and what identifies both."""

    model: Any
    processor: Any
    folder: Path
    fingerprint: str
    device: torch.device
    precision: Precision


def load_teacher(
    name: str | Path, *, device: str | torch.device | None, precision: Precision, revision: str | None
) -> LoadedTeacher:
    """The model of a folder or of a name on the Hugging Face Hub, frozen.

    Raises TeacherError where it is not there, has no safetensors weights, is no image-text-to-text model, or needs a
    package that is not installed.
    """
    place = _device(device)  # before anything is downloaded
    folder = find_teacher(name, revision)
    fingerprint = fingerprint_of(folder)
    exact: Precision = _automatic(place) if precision == "auto" else precision
    with quiet():
        model = _load_model(folder, place, exact)
        processor = _load_processor(folder, model.config)
    return LoadedTeacher(model, processor, folder, fingerprint, place, exact)


def find_teacher(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a model: ``name`` itself, the shipped one's, or the Hub's files, downloaded if need be."""
    folder, shipped = Path(name).expanduser(), str(name) == SHIPPED_TEACHER
    if (folder / "config.json").is_file() if shipped else folder.is_dir():  # a data set may have that name, too
        return folder
    if shipped:
        return Path(str(resources.files("ovgsr") / "assets" / "sketch_teacher"))
    return download_model(
        str(name),
        lambda reason: TeacherError(
            f"the teacher {str(name)!r} is neither a folder nor in this machine's Hugging Face cache, and downloading "
            f"it failed ({reason}); check the name and the network, or fetch it where there is one with: "
            f"hf download {name}"
        ),
        patterns=(*_DESCRIPTIONS, "*.safetensors"),
        ignored=_OTHER_FORMATS,
        revision=revision,
    )


def fingerprint_of(folder: Path) -> str:
    """SHA-256 over what decides a teacher's outputs: configuration, processors, tokenizer and weights.

    The same on every machine for the same files, whatever the folder is called. Of a weight file above 256 MiB the
    size, the header and 256 evenly spaced pieces of 64 KiB count, so that 15 GB take a second and a model that was
    trained further, whose every tensor is another, is still told apart.

    Raises TeacherError where the folder holds no config.json or no safetensors weights.
    """
    if not (folder / "config.json").is_file():
        raise TeacherError(f"{folder}: there is no config.json; name the folder of a Hugging Face model")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = any(folder.glob("*.bin"))
        reason = "the weights are pickled (*.bin), which may run code when loaded" if pickled else "there are none"
        raise TeacherError(f"{folder}: no safetensors weights ({reason}); use a model with *.safetensors files")
    described = {path for pattern in _DESCRIPTIONS for path in folder.glob(pattern)}
    digest = hashlib.sha256()
    for path in sorted(described, key=lambda path: path.name):
        if path.name not in {"trainer_state.json", "README.txt"}:
            digest.update(f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for path in weights:
        digest.update(f"{path.name}\n{_weight_digest(path)}\n".encode())
    return digest.hexdigest()


def _weight_digest(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= _WHOLE_FILE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        header = int.from_bytes(stream.read(8), "little")
        digest.update(stream.read(min(header, _WHOLE_FILE)))
        for sample in range(_SAMPLES):
            stream.seek((size - _SAMPLE) * sample // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def _device(device: str | torch.device | None) -> torch.device:
    if device is not None:
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise TeacherError(
                f"the device {str(device)!r} cannot be used on this machine ({_reason(error)}); name cpu or leave "
                "it out"
            ) from None
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def _automatic(device: torch.device) -> Precision:
    if device.type == "cpu":
        return "fp32"
    try:
        ones = torch.ones(8, 8, dtype=torch.bfloat16, device=device)
        module: Any = torch.get_device_module(device)
        # Devices emulate bf16 where they lack it, which is slower than fp32.
        native = getattr(module, "is_bf16_supported", lambda **_: True)(including_emulation=False)
        return "bf16" if native and bool((ones @ ones).isfinite().all()) else "fp32"
    except (RuntimeError, TypeError, AttributeError):
        return "fp32"


def _quantization(folder: Path, precision: Precision, device: torch.device) -> dict[str, Any]:
    if importlib.util.find_spec("bitsandbytes") is None or importlib.util.find_spec("accelerate") is None:
        raise TeacherError(
            f"{folder}: {precision} weights need packages that are not installed; install them with: "
            "pip install 'ovgsr[teacher]' bitsandbytes, or choose bf16, fp16 or fp32"
        )
    import transformers

    make: Any = transformers.BitsAndBytesConfig
    settings = (
        make(load_in_8bit=True)
        if precision == "int8"
        else make(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    )
    return {"quantization_config": settings, "device_map": {"": str(device)}}


def _load_model(folder: Path, device: torch.device, precision: Precision) -> Any:
    from transformers import AutoModelForImageTextToText

    quantized = precision in ("int8", "int4")
    extra = _quantization(folder, precision, device) if quantized else {"dtype": _DTYPES[precision]}
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **extra
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise TeacherError(
            f"{folder}: this teacher does not load as an image-text-to-text model: {_reason(error)}; "
            "name a folder or a Hub model with safetensors weights"
        ) from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise TeacherError(
            f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} more; fetch or write the model again"
        )
    model = model.eval().requires_grad_(False)
    _require_spliced(model, folder)
    return model if quantized else model.to(device)


def _require_spliced(model: Any, folder: Path) -> None:
    """A teacher's pictures have to be tokens in the inputs of a decoder that is a row of blocks."""
    core: Any = getattr(model, "model", None)
    blocks = getattr(core.get_decoder(), "layers", None) if hasattr(core, "get_decoder") else None
    spliced = hasattr(core, "get_image_features") and image_token_id(model.config) is not None
    if model.config.is_encoder_decoder or not spliced or not isinstance(blocks, nn.ModuleList):
        raise TeacherError(
            f"{folder}: {type(model).__name__} does not put picture tokens into the inputs of a decoder-only language "
            "model, which every use of a teacher needs; use one that does, such as LLaVA, Qwen-VL, InternVL, "
            "PaliGemma, Gemma 3 or SmolVLM"
        )


def image_token_id(config: Any) -> int | None:
    """The id that stands for picture tokens in a prompt, under either of the names that families give it."""
    found = getattr(config, "image_token_id", None)
    return found if found is not None else getattr(config, "image_token_index", None)


def _load_processor(folder: Path, config: Any) -> Any:
    """The family's processor with its tokenizer and image processor, and without its video processor.

    Video processors exist on torchvision only, and nothing here shows a teacher a film.
    """
    import transformers
    from transformers.models.auto.image_processing_auto import AutoImageProcessor  # some versions hide it at the top
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    local: dict[str, Any] = {"local_files_only": True}
    make_tokenizer: Any = transformers.AutoTokenizer
    make_image_processor: Any = AutoImageProcessor
    try:
        family: Any = PROCESSOR_MAPPING[type(config)]
        picture_only: Any = type(family.__name__, (family,), {"check_argument_for_proper_class": _check_unless_none})
        described, _ = family.get_processor_dict(str(folder), **local)
        tokenizer: Any = make_tokenizer.from_pretrained(folder, **local)
        parts = {
            "tokenizer": lambda: tokenizer,
            "image_processor": lambda: make_image_processor.from_pretrained(folder, backend="pil", **local),
        }
        arguments = [parts.get(attribute, lambda: None)() for attribute in family.get_attributes()]
        processor = picture_only.from_args_and_dict(arguments, described)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise TeacherError(
            f"{folder}: the processor of {config.model_type!r} does not load: {_reason(error)}; the folder must "
            "hold the tokenizer's and the image processor's files (preprocessor_config.json, tokenizer.json ...)"
        ) from error
    if not processor.chat_template:
        processor.chat_template = tokenizer.chat_template
    if tokenizer.pad_token is None:  # padding is cut off again: any token will do
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return processor


def _check_unless_none(self: Any, name: str, argument: Any) -> Any:
    family: Any = type(self).__mro__[1]
    return None if argument is None else family.check_argument_for_proper_class(self, name, argument)


def _reason(error: BaseException) -> str:
    return first_line(error).rstrip(".")


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no chatter on standard error while a model loads; put back afterwards."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def argument_names(function: Any) -> Mapping[str, Any]:
    """The names that a family's method takes: the installed code is asked, not a table of families."""
    import inspect

    return inspect.signature(function).parameters
