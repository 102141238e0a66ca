"""A student on disk: config.json, model.safetensors, vocabulary.json and a model card.

``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` come from huggingface_hub's mixin. The files say what the
weights were trained on, which text encoder they read and which verbs they met; loading checks all of it and never
unpickles.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ovgsr.config import ModelSettings
from ovgsr.errors import OvgsrError
from ovgsr.files import write_atomically, write_text_atomically
from ovgsr.models.build import build_student
from ovgsr.models.image_adapter import merged_weights
from ovgsr.models.model_card import SITUATIONS, CardText, Provenance, model_card
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.models.text_encoder import same_encoder
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Vocabulary, VocabularyError

WEIGHTS, CONFIG, VOCABULARY, CARD = "model.safetensors", "config.json", "vocabulary.json", "README.md"


class CheckpointError(OvgsrError):
    """A checkpoint that is missing, damaged or does not fit what it is used with."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns verb logits into comparable scores, chosen on development pictures."""

    unseen_offset: float = 0.0
    """Added to the log score of every verb that was not in training (calibrated stacking, Chao et al. 2016)."""
    rare_offset: float = 0.0
    """The same for the rare verbs of the training split."""
    recognition_weight: float = 1.0
    """The recognizer's share among training verbs where a second readout was taught; 1 leaves that readout out."""

    def constants(self) -> dict[str, Any]:
        """The constants as arguments of an evaluation, which reports with and without them; empty where all are 0."""
        if not self.unseen_offset and not self.rare_offset:
            return {}
        return {"offset": self.unseen_offset, "rare_offset": self.rare_offset}


_Network = TypeVar("_Network", bound=nn.Module)


class Checkpoint(ModelHubMixin, Generic[_Network]):
    """A network with all it takes to use it; one subclass a task.

    ``vocabulary`` is the training vocabulary: the default offer of a call, and the record of which words the weights
    have met.
    """

    FORMAT: ClassVar[str]
    """The field ``format`` of config.json, which tells the tasks apart."""
    CARD_TEXT: ClassVar[CardText]
    """What README.md says of the task."""

    def __init__(
        self,
        model: _Network,
        settings: ModelSettings,
        vocabulary: Vocabulary,
        preprocess: Preprocess,
        text_fingerprint: str,
        text_width: int,
        provenance: Provenance | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.vocabulary = vocabulary
        self.preprocess = preprocess
        self.text_fingerprint = text_fingerprint
        self.text_width = text_width
        self.provenance = provenance or Provenance()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], vocabulary: Vocabulary, network: _Network | None = None) -> Self:
        """A checkpoint as ``config.json`` describes it, with ``network`` or fresh weights.

        Raises whatever a wrong field causes.
        """
        raise CheckpointError(f"{cls.__name__} must say how its network is built")

    def more_config(self) -> dict[str, Any]:
        """What a task adds to ``config.json``."""
        return {}

    def require_encoder(self, fingerprint: str) -> None:
        """Raises CheckpointError where another text encoder made embeddings: its space is not the weights'."""
        if not same_encoder(fingerprint, self.text_fingerprint):
            raise CheckpointError(
                f"this checkpoint reads words embedded by {self.text_fingerprint!r}, not by {fingerprint!r}; "
                "embed the vocabulary with the checkpoint's own text encoder"
            )

    def describe(self) -> dict[str, Any]:
        """The content of ``config.json`` but for the hash of the weights."""
        tower: Any = self.model.tower
        return {
            "format": self.FORMAT,
            "model": self.settings.model_dump(),
            "tower": tower.describe(),
            "text": {"fingerprint": self.text_fingerprint, "width": self.text_width},
            "preprocess": self.preprocess.to_dict(),
            **self.more_config(),
            "provenance": {
                "dataset": self.provenance.dataset,
                "notice": self.provenance.notice,
                "recipe": self.provenance.recipe,
                "details": dict(self.provenance.details),
            },
        }

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in merged_weights(self.model).items()}
        write_atomically(save_directory / WEIGHTS, lambda path: save_file(weights, path, metadata={"format": "pt"}))
        config = self.describe()
        config["weights_sha256"] = hashlib.sha256((save_directory / WEIGHTS).read_bytes()).hexdigest()
        write_vocabulary(save_directory, self.vocabulary)
        write_text_atomically(
            save_directory / CARD, model_card(self.CARD_TEXT, self.settings, self.vocabulary, self.provenance)
        )
        write_text_atomically(save_directory / CONFIG, json.dumps(config, indent=2))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **unknown: Any,
    ) -> Self:
        """A checkpoint from a folder, or from a model on the Hugging Face hub.

        Raises CheckpointError naming the file at fault and the remedy, TypeError for an argument that nothing reads.
        """
        if unknown:
            raise TypeError(f"from_pretrained does not know {', '.join(unknown)}; a checkpoint holds its own settings")
        # The mixin's own would read config.json before it can be checked.
        return cls._from_pretrained(
            model_id=str(pretrained_model_name_or_path),
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **hub: Any) -> Self:
        weights_file = checkpoint_file(model_id, WEIGHTS, **hub)
        checkpoint, config = cls.read_description(model_id, **hub)
        _load_weights(checkpoint.model, weights_file, str(config.get("weights_sha256", "")))
        checkpoint.model.eval()
        return checkpoint

    @classmethod
    def read_description(
        cls, model_id: str, network: _Network | None = None, **hub: Any
    ) -> tuple[Self, Mapping[str, Any]]:
        """The checkpoint that a model's files describe, and its ``config.json``.

        With ``network`` it is that of an ONNX export, whose weights lie in its graphs; else it has fresh weights.
        Raises CheckpointError naming the file at fault and the remedy.
        """
        config_file, vocabulary_file = (checkpoint_file(model_id, name, **hub) for name in (CONFIG, VOCABULARY))
        config = _read_json(config_file)
        expected = cls.FORMAT if network is None else exported(cls.FORMAT)
        if config.get("format") != expected:
            raise CheckpointError(
                f"{config_file}: the field 'format' is {config.get('format')!r}, expected {expected!r}"
            )
        try:
            vocabulary = Vocabulary.from_json(_read_json(vocabulary_file))
        except VocabularyError as error:
            raise CheckpointError(f"{vocabulary_file}: {error}") from None
        try:
            return cls.from_config(config, vocabulary, network), config
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = _reason(error)
            raise CheckpointError(
                f"{config_file}: a field is missing or of the wrong kind: {reason}; take the file from the same "
                "checkpoint as the weights"
            ) from None


class StudentCheckpoint(Checkpoint[SituationTransformer]):
    """A student for situations; ``rare_verbs`` are the training verbs with few pictures."""

    FORMAT = "ovgsr-student-1"
    CARD_TEXT = SITUATIONS

    def __init__(
        self,
        model: SituationTransformer,
        settings: ModelSettings,
        vocabulary: Vocabulary,
        preprocess: Preprocess,
        text_fingerprint: str,
        text_width: int,
        calibration: Calibration | None = None,
        provenance: Provenance | None = None,
        rare_verbs: Sequence[str] = (),
    ) -> None:
        super().__init__(model, settings, vocabulary, preprocess, text_fingerprint, text_width, provenance)
        self.calibration = calibration or Calibration()
        self.rare_verbs = tuple(rare_verbs)

    def bind(self, text: TextEmbeddings, vocabulary: Vocabulary) -> TextEmbeddings:
        """``text``, the embeddings of ``vocabulary``, with the training class of each word beside it.

        Raises CheckpointError where another text encoder made them: its space is not the one the weights know.
        """
        self.require_encoder(text.fingerprint)
        verbs = {name: i for i, name in enumerate(self.vocabulary.verb_names)}
        nouns = {noun.key: i for i, noun in enumerate(self.vocabulary.answers)}
        return replace(
            text,
            verb_classes=torch.tensor([verbs.get(name, -1) for name in vocabulary.verb_names]),
            noun_classes=torch.tensor([nouns.get(noun.key, -1) for noun in vocabulary.answers]),
            rare_verbs=torch.tensor([name in self.rare_verbs for name in vocabulary.verb_names], dtype=torch.bool),
        )

    def more_config(self) -> dict[str, Any]:
        """The constants chosen on dev, and which verbs are rare."""
        return {"calibration": asdict(self.calibration), "rare_verbs": list(self.rare_verbs)}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], vocabulary: Vocabulary, network: SituationTransformer | None = None
    ) -> Self:
        """A student as ``config.json`` describes it, with ``network`` or fresh weights."""
        shared = shared_fields(config)
        model = network or build_student(
            shared["settings"],
            text_width=shared["text_width"],
            verb_classes=len(vocabulary.verbs),
            noun_classes=len(vocabulary.answers),
            tower=config["tower"],
        )
        return cls(
            model=model,
            vocabulary=vocabulary,
            calibration=Calibration(**{name: float(value) for name, value in config["calibration"].items()}),
            rare_verbs=config.get("rare_verbs", ()),
            **shared,
        )


def shared_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``config.json`` that every task has, as arguments of a checkpoint."""
    # How a backbone was tuned was a field of earlier versions; a finished student is the same either way.
    settings = {name: value for name, value in config["model"].items() if name != "freeze_backbone"}
    return {
        "settings": ModelSettings.model_validate(settings),
        "preprocess": Preprocess.from_dict(config["preprocess"]),
        "text_fingerprint": str(config["text"]["fingerprint"]),
        "text_width": int(config["text"]["width"]),
        "provenance": Provenance(**config["provenance"]),
    }


def checkpoint_format(name: str | Path, **hub: Any) -> str:
    """The field ``format`` of a checkpoint's config.json; raises CheckpointError where there is none."""
    return str(_read_json(checkpoint_file(str(name), CONFIG, **hub)).get("format"))


def exported(form: str) -> str:
    """The ``format`` of an ONNX export of a checkpoint of that format."""
    return f"{form}-onnx"


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes ``vocabulary.json``."""
    write_text_atomically(folder / VOCABULARY, json.dumps(vocabulary.to_json(), ensure_ascii=False, indent=1))


def checkpoint_file(model_id: str, name: str, **hub: Any) -> Path:
    """A checkpoint's file on this machine; ``hub`` are arguments of huggingface_hub's ``hf_hub_download``.

    Raises CheckpointError where the folder lacks it, or the hub cannot give it.
    """
    local = Path(model_id) / name
    if Path(model_id).is_dir():
        if not local.is_file():
            raise CheckpointError(
                f"{model_id}: no {name}; a checkpoint is a folder written by save_pretrained, or by ovgsr export"
            )
        return local
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model_id):
        raise CheckpointError(f"{model_id}: no such folder; give a checkpoint's folder or a hub id, owner/name")
    try:
        return Path(hf_hub_download(model_id, name, **hub))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{model_id}: neither a folder here nor a model on the hub that can be reached ({reason})"
        ) from None


def _load_weights(model: nn.Module, file: Path, digest: str) -> None:
    if digest and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise CheckpointError(
            f"{file}: damaged, its SHA-256 is not the one that config.json records; copy or download it again"
        )
    try:
        weights: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a readable safetensors file ({error}); copy or download it again") from None
    expected = model.state_dict()
    for name in expected.keys() & weights.keys():
        if weights[name].ndim == 0 and expected[name].shape == (1,):  # as scales were kept before they could be split
            weights[name] = weights[name].reshape(1)
    missing, extra = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    wrong = [n for n in expected.keys() & weights.keys() if expected[n].shape != weights[n].shape]
    if missing or extra or wrong:
        raise CheckpointError(
            f"{file}: does not fit config.json: {len(missing)} tensors missing, {len(extra)} unknown, {len(wrong)} of "
            f"another shape (first: {min([*missing, *extra, *wrong])!r}); take both files from one checkpoint"
        )
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in weights.items()})


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in ('model', *first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file}: not readable JSON ({error}); copy or download the checkpoint again") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{file}: must hold a JSON object")
    return record
