"""Pretraining of the embedded teacher, from scratch, on pictures and what is said about them.

Two stages. First the tower alone learns which words the answers hold (Joulin et al., arXiv 1511.02251): cheap, and it
gives the tower eyes before the text model asks for them. Then everything learns to answer, next word by next word
(LLaVA's own loss), the first stage's loss staying on beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovgsr.config import TrainSettings
from ovgsr.errors import OvgsrError
from ovgsr.teacher.tiny_llava import (
    MEAN,
    SIDE,
    STD,
    build_model,
    build_processor,
    conversation_ids,
    train_tokenizer,
)
from ovgsr.training.engine import Engine
from ovgsr.training.run_dir import RunDir, optimizer_from_tensors, optimizer_to_tensors

TOKENIZER_TEXTS = 20_000
"""Pictures whose texts the tokenizer is learnt from."""


Observer = Callable[[dict[str, Any]], None]
"""Hears the numbers of a step now and then."""


class PretrainingError(OvgsrError):
    """A pretraining that cannot run, or cannot go on, as asked."""


class Corpus(Protocol):
    """Pictures and conversations about them."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """RGB picture (H, W, 3) number ``index``."""
        ...

    def conversation(self, index: int) -> Sequence[tuple[str, str]]:
        """Questions and answers about it."""
        ...


@dataclass(frozen=True)
class PretrainingPlan:
    """Everything that decides the weights, besides corpus and number of processes."""

    word_steps: int = 2500
    caption_steps: int = 4000
    batch_size: int = 32  # a process
    word_rate: float = 2e-3
    caption_rate: float = 1e-3
    word_weight: float = 0.3
    warm_up: int = 300
    cool_down: float = 0.3  # the last share of the caption steps, in which the rate falls to zero
    held_out: int = 1000  # the last pictures, for the log only
    seed: int = 0


@dataclass(frozen=True)
class _Texts:
    ids: list[list[int]]
    answered: list[list[bool]]
    words: list[list[int]]
    word_weights: Tensor  # (V,) rarer words count more


class _WordTask(nn.Module):
    """Tower features, averaged -> which words the answers hold."""

    def __init__(self, model: Any, words: int) -> None:
        super().__init__()
        self.tower = model.model.vision_tower
        self.head = nn.Linear(model.config.vision_config.hidden_size, words)

    def forward(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy against the distribution of words (B, V)."""
        features = self.tower(pixels, output_hidden_states=True).hidden_states[-1]
        return F.cross_entropy(self.head(features.mean(1)).float(), targets)


class _CaptionTask(nn.Module):
    """The whole model: the next word of every answer, and the words of the picture beside it."""

    def __init__(self, model: Any, head: nn.Linear, word_weight: float) -> None:
        super().__init__()
        self.model, self.head, self.word_weight = model, head, word_weight

    def forward(self, pixels: Tensor, ids: Tensor, answered: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the share of right next words (B pictures; ``ids``, ``answered`` (B, T); ``targets`` (B, V))."""
        llava = self.model.model
        features = llava.vision_tower(pixels, output_hidden_states=True).hidden_states[-1]
        visual = llava.multi_modal_projector(features)
        embedded = llava.get_input_embeddings()(ids)
        spots = (ids == self.model.config.image_token_id)[..., None]
        embedded = embedded.masked_scatter(spots, visual.to(embedded.dtype))
        states = llava.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        logits = self.model.lm_head(states[:, :-1][answered[:, 1:]]).float()
        wanted = ids[:, 1:][answered[:, 1:]]
        words = F.cross_entropy(self.head(features.mean(1)).float(), targets)
        right = (logits.argmax(-1) == wanted).float().mean()
        return F.cross_entropy(logits, wanted) + self.word_weight * words, right


@dataclass(frozen=True)
class _Stage:
    number: int
    task: nn.Module
    steps: int
    rate: float
    before: int  # steps of the stages before it


class Pretraining:
    """One run in a folder; ``run`` goes on where a killed one stopped."""

    def __init__(self, corpus: Corpus, out: Path, plan: PretrainingPlan, *, threads: int | None = None) -> None:
        precision = "bf16" if torch.accelerator.is_available() or _fast_bfloat16() else "no"
        self.engine = Engine(TrainSettings(precision=precision, batch_size=plan.batch_size, threads=threads))
        batch = plan.batch_size * self.engine.processes
        if len(corpus) < plan.held_out + batch:
            raise PretrainingError(
                f"the corpus has {len(corpus)} pictures, fewer than the {plan.held_out} held out and one batch of "
                f"{batch}; draw more"
            )
        self.corpus, self.out, self.plan = corpus, out, plan
        self.run_dir = RunDir(out)
        self._open_folder()
        torch.manual_seed(plan.seed)
        texts = [corpus.conversation(index) for index in range(len(corpus))]
        self.tokenizer = train_tokenizer(text for turns in texts[:TOKENIZER_TEXTS] for turn in turns for text in turn)
        self.texts = _encode(self.tokenizer, texts)
        self.model = build_model(self.tokenizer)
        # The plain attention: on a CPU the fused kernel's backward pass is slow (50 against 70 pictures/s measured).
        self.model.model.language_model.set_attn_implementation("eager")
        self.words = _WordTask(self.model, len(self.tokenizer))
        self.captions = _CaptionTask(self.model, self.words.head, plan.word_weight)

    def run(self, observer: Observer | None = None, *, save_every: int = 500, log_every: int = 50) -> None:
        """Both stages to the end; then the teacher's files are in ``out/teacher``."""
        plan = self.plan
        stages = (
            _Stage(0, self.words, plan.word_steps, plan.word_rate, before=0),
            _Stage(1, self.captions, plan.caption_steps, plan.caption_rate, before=plan.word_steps),
        )
        done = self._restore(None)
        for stage in stages:
            if done < stage.before + stage.steps:
                self._run_stage(stage, max(done - stage.before, 0), observer, save_every, log_every)
        if self.engine.is_main:
            self.save_teacher(self.out / "teacher")
        self.engine.wait()

    def save_teacher(self, folder: Path) -> None:
        """Model, tokenizer and processor in half precision, loadable by ``AutoModelForImageTextToText``."""
        import copy

        halved = copy.deepcopy(self.model).half()
        halved.save_pretrained(folder)
        build_processor(self.tokenizer).save_pretrained(folder)

    def _run_stage(self, stage: _Stage, first: int, observer: Observer | None, save_every: int, log_every: int) -> None:
        optimizer: Any = torch.optim.AdamW(
            stage.task.parameters(), lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.03, fused=True
        )
        if first:
            self._restore(optimizer)
        prepared, optimizer = self.engine.prepare(stage.task, optimizer)
        parameters = list(stage.task.parameters())
        stage.task.train()
        clock, seen = time.monotonic(), 0
        for step, indices in zip(range(first, stage.steps), self._batches(first, stage.number), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * _rate(step, stage.steps, self.plan, cool=stage.number == 1)
            loss, right = self._forward(prepared, stage.number, indices)
            self.engine.backward(loss)
            self.engine.clip(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seen += len(indices) * self.engine.processes
            done = stage.before + step + 1
            if (step + 1) % log_every == 0:
                numbers = self.engine.mean({"loss": loss, "right": right})
                speed = seen / (time.monotonic() - clock)
                self._log({"stage": stage.number, "step": done, **numbers, "pictures_per_second": speed}, observer)
            if (step + 1) % save_every == 0 or step + 1 == stage.steps:
                self._save(optimizer, done, stage.number)

    def _forward(self, task: nn.Module, stage: int, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        device = self.engine.device
        pixels, targets = self._pixels(indices).to(device), self._word_targets(indices).to(device)
        with self.engine.autocast():
            if stage == 0:
                return task(pixels, targets), torch.zeros((), device=device)
            ids, answered = self._conversations(indices)
            loss, right = task(pixels, ids.to(device), answered.to(device), targets)
            return loss, right

    def _batches(self, first: int, stage: int) -> Iterator[list[int]]:
        """This process's pictures of each step from ``first`` on: a function of seed, stage and step alone."""
        share = self.plan.batch_size * self.engine.processes
        count = len(self.corpus) - self.plan.held_out
        per_epoch = count // share
        step = first
        while True:
            epoch, within = divmod(step, per_epoch)
            order = np.random.default_rng([self.plan.seed, stage, epoch]).permutation(count)
            for position in range(within, per_epoch):
                whole = order[position * share : (position + 1) * share]
                yield whole[self.engine.process :: self.engine.processes].tolist()
                step += 1

    def _pixels(self, indices: Sequence[int]) -> Tensor:
        """(B, 3, 128, 128), resized and normalised as the processor does it."""
        pictures = torch.from_numpy(np.stack([self.corpus.picture(index) for index in indices]))
        pixels = pictures.permute(0, 3, 1, 2).float() / 255
        pixels = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

    def _word_targets(self, indices: Sequence[int]) -> Tensor:
        targets = torch.zeros(len(indices), len(self.tokenizer))
        for row, index in enumerate(indices):
            targets[row, self.texts.words[index]] = 1.0
        targets *= self.texts.word_weights
        return targets / targets.sum(1, keepdim=True)

    def _conversations(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        longest = max(len(self.texts.ids[index]) for index in indices)
        ids = torch.full((len(indices), longest), int(self.tokenizer.pad_token_id))
        answered = torch.zeros(len(indices), longest, dtype=torch.bool)
        for row, index in enumerate(indices):
            own = self.texts.ids[index]
            ids[row, : len(own)] = torch.tensor(own)
            answered[row, : len(own)] = torch.tensor(self.texts.answered[index])
        return ids, answered

    @torch.no_grad()
    def held_out_scores(self, pictures: int = 512) -> dict[str, float]:
        """Loss and share of right next words on pictures that were never trained on."""
        self.captions.eval()
        last = range(len(self.corpus) - min(pictures, self.plan.held_out), len(self.corpus))
        scores = []
        for at in range(last.start, last.stop, self.plan.batch_size):
            indices = list(range(at, min(at + self.plan.batch_size, last.stop)))
            loss, right = self._forward(self.captions, 1, indices)
            scores.append((float(loss), float(right)))
        self.captions.train()
        loss, right = np.mean(scores, axis=0)
        return {"held_out_loss": float(loss), "held_out_right": float(right)}

    def _log(self, record: dict[str, Any], observer: Observer | None) -> None:
        if not math.isfinite(record["loss"]):
            raise PretrainingError(f"{self.out}: the loss of step {record['step']} is not a number; lower the rate")
        if self.engine.is_main:
            self.run_dir.log({"epoch": 0, **record})
            if observer is not None:
                observer(record)

    def _open_folder(self) -> None:
        """A folder of another plan is refused; the number of caption steps may grow before the rate falls."""
        plan = {**asdict(self.plan), "pictures": len(self.corpus), "processes": self.engine.processes}
        self.record = {"plan": plan}
        self._resumed = self.run_dir.load_state()
        if self._resumed is None:
            self.out.mkdir(parents=True, exist_ok=True)
            return
        _, numbers = self._resumed
        found = numbers["plan"]
        differing = sorted(key for key in plan if found.get(key) != plan[key] and key != "caption_steps")
        if differing:
            raise PretrainingError(
                f"{self.out}: this run was started with another {differing[0]} ({found.get(differing[0])!r}, now "
                f"{plan[differing[0]]!r}); use the same, or another folder"
            )
        if self.engine.is_main:
            self.run_dir.cut_log(int(numbers["done"]), 0)

    def _save(self, optimizer: Any, done: int, stage: int) -> None:
        self.engine.wait()
        if not self.engine.is_main:
            return
        if stage == 1:
            self.run_dir.log({"stage": stage, "step": done, "epoch": 0, **self.held_out_scores()})
        own = {f"captions.{name}": tensor.detach().clone() for name, tensor in self.captions.state_dict().items()}
        tensors = {**own, **optimizer_to_tensors(optimizer), **self.engine.random_states()}
        self.run_dir.save_state(tensors, {**self.record, "done": done})

    def _restore(self, optimizer: Any) -> int:
        """Puts back what the folder held when it was opened; the steps done by then."""
        if self._resumed is None:
            return 0
        tensors, numbers = self._resumed
        prefix = "captions."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        self.captions.load_state_dict(own)
        if optimizer is not None:
            optimizer_from_tensors(optimizer, tensors)
            self.engine.load_random_states(tensors)
        return int(numbers["done"])


def _encode(tokenizer: Any, texts: Sequence[Sequence[tuple[str, str]]]) -> _Texts:
    encoded = [conversation_ids(tokenizer, turns) for turns in texts]
    words = [
        sorted({token for token, answer in zip(ids, answered, strict=True) if answer}) for ids, answered in encoded
    ]
    counts = np.bincount(np.concatenate([np.asarray(one) for one in words]), minlength=len(tokenizer))
    weights = torch.from_numpy(np.log(len(texts) / np.maximum(counts, 1))).float().clamp(min=0.01)
    return _Texts([ids for ids, _ in encoded], [answered for _, answered in encoded], words, weights)


def _rate(step: int, steps: int, plan: PretrainingPlan, *, cool: bool) -> float:
    """Warm-up, constant, then (with ``cool``) linear to zero: a run can be prolonged until the rate falls."""
    warm = min(1.0, (step + 1) / plan.warm_up)
    if not cool:
        return warm
    return warm * min(1.0, (steps - step) / max(1.0, plan.cool_down * steps))


def _fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively; emulated, it is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
