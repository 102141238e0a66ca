"""Settings: one small section each, strict YAML, overrides from the command line. An unknown key is an error.

A recipe (``configs/*.yaml``) names only what differs from the defaults below. ``load_config`` reads it with OmegaConf
(so ``${...}`` works), applies ``section.key=value`` overrides and validates the result.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ovgsr.errors import OvgsrError

SignalKind = Literal[
    "tokens",
    "embedding",
    "fixed",
    "known_words",
    "learned",
    "scene_only",
    "instance_only",
    "no_negatives",
    "no_regions",
    "block",
]
"""What stage 1 leaves for a student: ``tokens`` a cache of visual tokens, the others a folder of readings."""


Resize = Literal["squash", "letterbox"]
"""How a picture becomes the square that a student reads."""


class ConfigError(OvgsrError):
    """A recipe that cannot be used; the message names the file, the key and the remedy."""


class Section(BaseModel):
    """A group of settings; unknown keys are refused, values are checked once and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class DataSettings(Section):
    """Where the pictures come from and how they are varied."""

    root: str = Field("data/sketch_swig", description="folder of a data set in SWiG layout")
    split: str | None = Field(
        None, description="split file, or (interactions) the name of one of HICO-DET's; default: the data set's own"
    )
    image_size: int = Field(96, ge=16, le=2048, description="pictures are resized to this many pixels a side")
    resize: Resize = Field("squash", description="'squash' to a square, or 'letterbox': keep proportions and pad")
    cache_images: bool = Field(False, description="keep decoded pictures in memory")
    workers: int = Field(0, ge=0, description="processes that read pictures beside the training process")
    resized: int | None = Field(
        None,
        ge=16,
        description="read the copies of this size that ovgsr data prepare --resize made; default: the originals",
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="a picture or record that cannot be used ends the run, or is left out and named at its end"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring a training picture")
    crop: float = Field(
        0.1, ge=0, lt=1, description="largest share of a side by which the shown window is smaller, larger or shifted"
    )
    colour: float = Field(0.15, ge=0, lt=1, description="strength of brightness, contrast and saturation jitter")
    rare_repeat: float = Field(
        4.0, ge=1, description="how often a verb's pictures are repeated an epoch, at most, to even out the verbs"
    )


class ModelSettings(Section):
    """The student."""

    backbone: str = Field(
        "sketch", description="'sketch' (small, from scratch) or a Hugging Face model, by name or folder"
    )
    pretrained: bool = Field(True, description="load the backbone's weights (a Hugging Face backbone only)")
    width: int = Field(128, ge=8, description="width of tokens in encoder and decoders")
    heads: int = Field(4, ge=1, description="attention heads")
    encoder_layers: int = Field(1, ge=0, description="transformer layers over the scene token and the image tokens")
    readout_layers: int = Field(2, ge=1, description="cross-attention layers of a verb readout")
    decoder_layers: int = Field(2, ge=1, description="layers of the role (or pair) decoder")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the transformer blocks")
    text_encoder: str = Field("all-MiniLM-L6-v2", description="a sentence-transformers or CLIP text model")
    head: Literal["open", "closed"] = Field("open", description="score words by text or by learned class vectors")
    distilled_readout: bool = Field(False, description="a second verb readout, trained by a teacher only")

    @model_validator(mode="after")
    def _check_heads(self) -> ModelSettings:
        if self.width % self.heads:
            raise ValueError(f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})")
        return self


class BackboneSettings(Section):
    """How the backbone learns."""

    mode: Literal["full", "adapter", "frozen"] = Field(
        "full", description="all weights learn, low-rank adapters beside them (LoRA), or nothing does"
    )
    lora_rank: int = Field(8, ge=1, description="rank of an adapter's matrices")
    lora_alpha: int = Field(16, ge=1, description="an adapter's product is scaled by this over the rank")
    lora_targets: tuple[str, ...] = Field(
        (), description="ends of the names of layers with adapters; none: all linear layers and 1 x 1 convolutions"
    )


class LossSettings(Section):
    """Weights of the terms, and how rare verbs are balanced."""

    verb: float = Field(1.0, ge=0, description="weight of the verb's cross-entropy")
    noun: float = Field(1.0, ge=0, description="weight of the nouns' cross-entropy, mean over the annotators")
    box_l1: float = Field(5.0, ge=0, description="weight of the boxes' L1 distance")
    box_giou: float = Field(2.0, ge=0, description="weight of the boxes' generalised IoU")
    grounded: float = Field(1.0, ge=0, description="weight of the grounded-or-not term")
    balance: Literal["none", "balanced_softmax", "logit_adjustment"] = Field(
        "balanced_softmax", description="prior added to the verb logits while training (Ren 2020, Menon 2021)"
    )
    adjustment: float = Field(1.0, ge=0, description="strength tau of logit_adjustment")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="smoothing of the verb target")


class DistillSettings(Section):
    """What the student learns from a frozen teacher's readings on disk (``ovgsr teacher signals``); none by default."""

    signals: str | None = Field(None, description="folder of the teacher's readings; none: no teacher")
    scene: float = Field(3.0, ge=0, description="weight of 1 - cosine between distilled readout and scene reading")
    relation: float = Field(1.0, ge=0, description="weight of the relation term: likeness to the batch's readings")
    relation_temperature: float = Field(0.1, gt=0, description="temperature of the relation term's softmax")
    instance: float = Field(1.5, ge=0, description="weight of 1 - cosine between role features and role readings")
    views: float = Field(0.0, ge=0, le=4, description="composite views shown for each training picture, on average")
    view_store: str | None = Field(None, description="folder of the composite views (ovgsr teacher signals)")
    tokens: float = Field(0.0, ge=0, description="weight of plain token distillation (needs token_cache)")
    token_cache: str | None = Field(None, description="folder of the teacher's visual tokens (ovgsr teacher tokens)")
    label_text: bool = Field(
        False, description="no teacher: the distilled readout learns the text of the annotated verb (a control)"
    )

    @model_validator(mode="after")
    def _check_sources(self) -> DistillSettings:
        if self.label_text and self.signals:
            raise ValueError("distill.label_text is the control without a teacher; leave out distill.signals")
        if self.views and not (self.signals and self.view_store):
            raise ValueError("distill.views needs distill.view_store, and distill.signals with readings of the views")
        if bool(self.tokens) != bool(self.token_cache):
            raise ValueError("distill.tokens and distill.token_cache go together; give both or none")
        return self

    @property
    def teaches_readout(self) -> bool:
        """Whether the distilled readout has something to learn from."""
        return (bool(self.signals) and bool(self.scene or self.relation)) or self.label_text


class PairSettings(Section):
    """The student for human-object interactions (``task: interactions``); what is not here it shares with the other."""

    queries: int = Field(64, ge=1, description="pair queries: pairs of a picture that can be found, at most")
    repeats: int = Field(
        3, ge=1, description="queries that answer for an annotated pair in the decoder layers before the last"
    )
    no_object: float = Field(0.1, ge=0, le=1, description="weight of 'no object' in the object's cross-entropy")
    focal_alpha: float = Field(0.5, gt=0, lt=1, description="share of the verbs' focal loss that positives get")
    focal_gamma: float = Field(2.0, ge=0, description="power of the verbs' focal loss")
    drop: Literal["pairs", "rows"] = Field(
        "pairs", description="what leaves training where a pair does something unseen: the pair, or its unseen rows"
    )
    view_boxes: bool = Field(True, description="a view's boxes and object are learned as annotated ones are")
    agreeing: bool = Field(
        True,
        description="a reading counts only where the training verb nearest to it is one of the pair's",
    )
    shape_features: bool = Field(
        False, description="the readings shape the student's features too, not the readout alone"
    )
    nms: float | None = Field(
        0.7, gt=0, le=1, description="near copies above this overlap of both boxes are dropped; null keeps them"
    )
    kept: int = Field(100, ge=1, description="scored interactions of a picture that are kept")


class ViewSettings(Section):
    """Composite views of training pictures, which a teacher reads from pixels; made once for all kinds of signals."""

    count: int = Field(6000, ge=0, description="views to make, at most; 0: none")
    candidates: float = Field(4.0, ge=1, description="candidates the teacher may look at for each of them")
    novel: float = Field(0.5, ge=0, le=1, description="a view is new where training verbs get less than this share")
    others: float = Field(2.0, ge=0, description="views kept that show nothing new, for each that does")


class PromptSettings(Section):
    """Stage 1: how the prompts are tuned through the frozen teacher."""

    pictures: int = Field(3000, ge=8, description="training pictures that prompts are tuned on, at most, spread evenly")
    steps: int = Field(150, ge=0, description="optimiser steps; 0 keeps the hand-written start")
    batch_size: int = Field(48, ge=2, description="pictures a step")
    roles: int = Field(96, ge=0, description="roles a step, at most, drawn among the batch's")
    views: int = Field(16, ge=0, description="composite views a step that are held to the anchor, if there are any")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate")
    temperature: float = Field(0.1, gt=0, description="temperature of the contrast with the rationales (NMPA)")
    learn_temperature: bool = Field(False, description="learn the temperature, from the given one on")
    anchor: float = Field(2.0, ge=0, description="weight of 1 - cosine to the hand-written prompt's scene reading")
    negatives: Literal["claim", "rationale", "none"] = Field(
        "claim", description="own negatives: what they claim, the judgement as written, or none"
    )
    check_every: int = Field(25, ge=1, description="steps between looks at dev; the best state is kept")
    dev_pictures: int = Field(400, ge=0, description="dev pictures looked at, spread evenly; 0: the last state is kept")


class OptimSettings(Section):
    """Optimiser and schedule."""

    learning_rate: float = Field(1.5e-3, gt=0, description="peak learning rate")
    backbone_scale: float = Field(1.0, ge=0, description="the backbone's learning rate as a share of the peak")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="a backbone layer's learning rate as a share of that of the layer above it"
    )
    weight_decay: float = Field(0.03, ge=0, description="decoupled weight decay (not on norms, biases, scales)")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises")
    final_scale: float = Field(0.01, ge=0, le=1, description="the last rate as a share of the peak (cosine)")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights; 0 turns averaging off")


class TrainSettings(Section):
    """The run."""

    seed: int = Field(0, ge=0, description="seed of weights, order and augmentation")
    epochs: int = Field(10, ge=1, description="passes over the training pictures")
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimiser steps")
    batch_size: int = Field(64, ge=1, description="pictures a step, of all processes together, before accumulation")
    accumulate: int = Field(1, ge=1, description="batches added up for one optimiser step")
    precision: Literal["no", "bf16", "fp16"] = Field("bf16", description="mixed precision")
    validate_every: int = Field(2, ge=1, description="epochs between evaluations on dev; the last is always evaluated")
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints; the end of an epoch is one")
    log_every: int = Field(20, ge=1, description="steps between lines of the metrics file")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: all")

    @field_validator("precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: Any) -> Any:
        return "no" if value is False else value


class ScaleSettings(Section):
    """How a run is fitted to machines; none of it changes what is learned, so a resumed run may have others."""

    shard: bool = Field(False, description="split weights and optimiser state over the processes (FSDP)")
    recompute: bool = Field(False, description="recompute layers on the way back: less memory, about a third more work")
    compile: bool = Field(False, description="compile the image tower: minutes at the start, faster steps on a GPU")
    timeout: float = Field(30, gt=0, description="minutes that processes wait for one another before the run ends")


class EvaluationSettings(Section):
    """How a trained model is scored."""

    batch_size: int = Field(100, ge=1, description="pictures a step")
    profiles: tuple[Literal["official", "coformer", "situformer"], ...] = Field(
        ("official", "coformer"), description="metric profiles of protocols.md"
    )
    offset_cost: float = Field(3.0, ge=0, description="points of seen top-1 on dev that the unseen offset may cost")


class Config(Section):
    """A whole recipe."""

    name: str = Field("custom", description="the recipe's name")
    task: Literal["situations", "interactions"] = Field(
        "situations", description="situations (SWiG), or human-object interactions (HICO-DET)"
    )
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    backbone: BackboneSettings = BackboneSettings()
    pairs: PairSettings = PairSettings()
    loss: LossSettings = LossSettings()
    views: ViewSettings = ViewSettings()
    prompts: PromptSettings = PromptSettings()
    distill: DistillSettings = DistillSettings()
    optim: OptimSettings = OptimSettings()
    train: TrainSettings = TrainSettings()
    scale: ScaleSettings = ScaleSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _check_task(self) -> Config:
        other = self.model.head == "closed" or self.distill.label_text or self.distill.tokens > 0
        if self.task == "interactions" and other:
            raise ValueError(
                "task: interactions knows neither a closed head nor a teacher's tokens or the control by label texts; "
                "leave out model.head, distill.tokens and distill.label_text"
            )
        return self


def load_config(path: Path | str | None, overrides: Sequence[str] = ()) -> Config:
    """A recipe from a YAML file, with ``section.key=value`` overrides on top of the defaults.

    ``path`` is a file, or the name of a recipe that the package carries (``sketch_open``), or None for the defaults.
    Raises ConfigError naming the file, the key and the nearest known key.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    source = "the defaults"
    layers: list[Any] = [OmegaConf.create({})]
    try:
        if path is not None:
            found = find_recipe(path)
            source = str(found)
            layers.append(OmegaConf.load(found))
        for override in overrides:
            if "=" not in override:
                raise ConfigError(f"the override {override!r} is not of the form section.key=value")
        layers.append(OmegaConf.from_dotlist(list(overrides)))
        plain = OmegaConf.to_container(OmegaConf.merge(*layers), resolve=True)
    except ConfigError:
        raise
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError, TypeError) as error:
        raise ConfigError(f"{source}: not a readable recipe: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise ConfigError(f"{source}: a recipe is a map of sections, this is a {type(plain).__name__}")
    return validate_config(plain, source)


def validate_config(plain: dict[Any, Any], source: str) -> Config:
    """A Config from plain data. Raises ConfigError whose message names ``source`` and the key."""
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "; ".join(_explain(problem) for problem in error.errors())) from None


def find_recipe(path: Path | str) -> Path:
    """The recipe's file: a path as given, else ``NAME.yaml`` among those in the package.

    Raises ConfigError listing the known names.
    """
    given = Path(path)
    if given.is_file():
        return given
    folder = Path(__file__).parent / "configs"
    named = folder / f"{given.name.removesuffix('.yaml')}.yaml"
    if given.parent == Path() and named.is_file():
        return named
    known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise ConfigError(f"{path}: there is no such recipe file; the package's recipes are: {known}")


def _explain(problem: Any) -> str:
    place = [str(part) for part in problem["loc"]]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        section: type[BaseModel] = Config
        for part in place[:-1]:
            annotation = section.model_fields[part].annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                section = annotation
        near = difflib.get_close_matches(place[-1], list(section.model_fields), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(section.model_fields)}"
        return f"unknown key {key!r}; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
