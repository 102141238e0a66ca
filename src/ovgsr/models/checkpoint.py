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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ovgsr.config import ModelSettings
from ovgsr.errors import OvgsrError
from ovgsr.files import write_atomically, write_text_atomically
from ovgsr.models.build import build_student
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.models.text_encoder import same_encoder
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Vocabulary, VocabularyError

FORMAT = "ovgsr-student-1"
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


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights come from, as every result that comes from them says."""

    dataset: str = ""
    notice: str = ""
    recipe: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


class StudentCheckpoint(ModelHubMixin):
    """A student with all it takes to use it.

    ``vocabulary`` is the training vocabulary: the default offer of a call, and the record of which words the weights
    have met; ``rare_verbs`` are those of them with few training pictures.
    """

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
        self.model = model
        self.settings = settings
        self.vocabulary = vocabulary
        self.preprocess = preprocess
        self.text_fingerprint = text_fingerprint
        self.text_width = text_width
        self.calibration = calibration or Calibration()
        self.provenance = provenance or Provenance()
        self.rare_verbs = tuple(rare_verbs)

    def bind(self, text: TextEmbeddings, vocabulary: Vocabulary) -> TextEmbeddings:
        """``text``, the embeddings of ``vocabulary``, with the training class of each word beside it.

        Raises CheckpointError where another text encoder made them: its space is not the one the weights know.
        """
        if not same_encoder(text.fingerprint, self.text_fingerprint):
            raise CheckpointError(
                f"this checkpoint reads words embedded by {self.text_fingerprint!r}, not by {text.fingerprint!r}; "
                "embed the vocabulary with the checkpoint's own text encoder"
            )
        verbs = {name: i for i, name in enumerate(self.vocabulary.verb_names)}
        nouns = {noun.key: i for i, noun in enumerate(self.vocabulary.answers)}
        return replace(
            text,
            verb_classes=torch.tensor([verbs.get(name, -1) for name in vocabulary.verb_names]),
            noun_classes=torch.tensor([nouns.get(noun.key, -1) for noun in vocabulary.answers]),
            rare_verbs=torch.tensor([name in self.rare_verbs for name in vocabulary.verb_names], dtype=torch.bool),
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        write_atomically(save_directory / WEIGHTS, lambda path: save_file(weights, path, metadata={"format": "pt"}))
        config = {
            "format": FORMAT,
            "model": self.settings.model_dump(),
            "tower": self.model.tower.describe(),
            "text": {"fingerprint": self.text_fingerprint, "width": self.text_width},
            "preprocess": self.preprocess.to_dict(),
            "calibration": asdict(self.calibration),
            "rare_verbs": list(self.rare_verbs),
            "provenance": {
                "dataset": self.provenance.dataset,
                "notice": self.provenance.notice,
                "recipe": self.provenance.recipe,
                "details": dict(self.provenance.details),
            },
            "weights_sha256": hashlib.sha256((save_directory / WEIGHTS).read_bytes()).hexdigest(),
        }
        vocabulary = json.dumps(self.vocabulary.to_json(), ensure_ascii=False, indent=1)
        write_text_atomically(save_directory / VOCABULARY, vocabulary)
        write_text_atomically(save_directory / CARD, model_card(self))
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
    ) -> StudentCheckpoint:
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
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **_: Any,
    ) -> StudentCheckpoint:
        def file(name: str) -> Path:
            local = Path(model_id) / name
            if Path(model_id).is_dir():
                if not local.is_file():
                    raise CheckpointError(f"{model_id}: no {name}; a checkpoint is a folder written by save_pretrained")
                return local
            if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model_id):
                raise CheckpointError(f"{model_id}: no such folder; give a checkpoint's folder or a hub id, owner/name")
            try:
                return Path(
                    hf_hub_download(
                        model_id,
                        name,
                        revision=revision,
                        cache_dir=cache_dir,
                        force_download=force_download,
                        local_files_only=local_files_only,
                        token=token,
                    )
                )
            except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
                reason = str(error).strip().splitlines()[0]
                raise CheckpointError(
                    f"{model_id}: neither a folder here nor a model on the hub that can be reached ({reason})"
                ) from None

        return open_checkpoint(file(CONFIG), file(VOCABULARY), file(WEIGHTS))


def open_checkpoint(config_file: Path, vocabulary_file: Path, weights_file: Path) -> StudentCheckpoint:
    """A checkpoint from its three files. Raises CheckpointError naming the file at fault and the remedy."""
    config = _read_json(config_file)
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{config_file}: the field 'format' is {config.get('format')!r}, expected {FORMAT!r}")
    try:
        vocabulary = Vocabulary.from_json(_read_json(vocabulary_file))
    except VocabularyError as error:
        raise CheckpointError(f"{vocabulary_file}: {error}") from None
    try:
        settings = ModelSettings.model_validate(config["model"])
        text_width = int(config["text"]["width"])
        model = build_student(
            settings,
            text_width=text_width,
            verb_classes=len(vocabulary.verbs),
            noun_classes=len(vocabulary.answers),
            tower=config["tower"],
        )
        checkpoint = StudentCheckpoint(
            model=model,
            settings=settings,
            vocabulary=vocabulary,
            preprocess=Preprocess.from_dict(config["preprocess"]),
            text_fingerprint=str(config["text"]["fingerprint"]),
            text_width=text_width,
            calibration=Calibration(**{name: float(value) for name, value in config["calibration"].items()}),
            provenance=Provenance(**config["provenance"]),
            rare_verbs=config.get("rare_verbs", ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = _reason(error)
        raise CheckpointError(
            f"{config_file}: a field is missing or of the wrong kind: {reason}; take the file from the same checkpoint "
            "as the weights"
        ) from None
    _load_weights(model, weights_file, str(config.get("weights_sha256", "")))
    model.eval()
    return checkpoint


def _load_weights(model: SituationTransformer, file: Path, digest: str) -> None:
    if digest and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise CheckpointError(
            f"{file}: damaged, its SHA-256 is not the one that config.json records; copy or download it again"
        )
    try:
        weights: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a readable safetensors file ({error}); copy or download it again") from None
    expected = model.state_dict()
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


def model_card(checkpoint: StudentCheckpoint) -> str:
    """The checkpoint's README.md in the Hugging Face hub's format: what it is, its data, its use and its licence."""
    provenance, vocabulary = checkpoint.provenance, checkpoint.vocabulary
    backbone = checkpoint.settings.backbone
    notice = f"\n**{provenance.notice}**\n" if provenance.notice else ""
    details = "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in provenance.details.items())
    return _CARD.format(
        notice=notice,
        dataset=provenance.dataset or "not recorded",
        recipe=provenance.recipe or "not recorded",
        details=details,
        backbone="a small residual network trained from scratch" if backbone == "sketch" else f"`{backbone}`",
        text_encoder=checkpoint.settings.text_encoder,
        verbs=len(vocabulary.verbs),
        nouns=len(vocabulary.nouns),
    )


_CARD = """---
library_name: ovgsr
license: apache-2.0
tags:
- situation-recognition
- grounded-situation-recognition
- open-vocabulary
---

# Grounded situation recognition

Says what is going on in a picture (a verb), who and what takes part (a noun for each role of the verb's frame) and
where (a box). Verbs and nouns are an argument of the call: words outside the training vocabulary can be offered too.
{notice}
## Use

```python
from ovgsr import SituationRecognizer

recognizer = SituationRecognizer.from_pretrained("path/to/this/folder")
print(recognizer("picture.jpg").best)
```

## Training

- data: {dataset}
- vocabulary: {verbs} verbs and {nouns} nouns (`vocabulary.json`)
- recipe: {recipe}
- image encoder: {backbone}
- text encoder: {text_encoder}
{details}
## Licence

The weights are under the Apache License 2.0. Where the image encoder was pretrained, or the data set has terms of its
own, those apply as well.
"""


def _read_json(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file}: not readable JSON ({error}); copy or download the checkpoint again") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{file}: must hold a JSON object")
    return record
