"""What learned prompts, gazes and negative rationales add to the hand-written prompt, as the teacher gets worse.

Run: python benchmarks/prompt_study.py --data data/sketch_swig --work runs/stage [--noise 0 1 2] [--seeds 0 1 2]

``--work`` is a folder of ``ovgsr teacher signals``: its tokens, rationales and views are read; the prompts tuned here
are not kept. Noise is added to every visual token that the language model reads, in units of the tokens' own standard
deviation, for every kind of prompts alike: a teacher that sees badly. Printed, as Markdown, for dev pictures, which no
prompt is tuned on: how often the scene reading lies nearest to the picture's own verb, among all verbs of dev; and how
often a grounded role's reading, with its annotated box, lies nearest to an annotator's noun, among all nouns of dev.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovgsr.config import load_config
from ovgsr.data.swig import image_path
from ovgsr.distillation.prompts import PromptReader
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import embed_vocabulary
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens
from ovgsr.training.prompt_tuning import PromptTuning
from ovgsr.training.stage_one import fresh_prompts, spread, tuning_data
from ovgsr.training.stage_parts import StageParts

KINDS = ("fixed", "scene_only", "instance_only", "no_negatives", "learned")
BATCH = 50


class NoisyTeacher:
    """A teacher whose language model reads noisy visual tokens; everything else is the teacher's own."""

    def __init__(self, teacher: MultimodalLLM, noise: float) -> None:
        self._teacher, self._noise = teacher, noise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._teacher, name)

    def soft_token_states(self, visual: Sequence[VisualTokens], *rest: Any, **options: Any) -> Tensor:
        """As the teacher's own, after noise that is the same whenever the same picture is read."""
        return self._teacher.soft_token_states([self._noisy(one) for one in visual], *rest, **options)

    def _noisy(self, visual: VisualTokens) -> VisualTokens:
        seed = int(visual.tokens.double().abs().sum() * 1e3) % (1 << 31)
        noise = torch.randn(visual.tokens.shape, generator=torch.Generator().manual_seed(seed))
        return VisualTokens(visual.tokens + self._noise * visual.tokens.std() * noise, visual.grid)


class Examination:
    """Dev pictures and the words that compete on them."""

    def __init__(self, stage: StageParts, limit: int) -> None:
        data = stage.data
        self.images = spread(data.dev, limit)
        self.vocabulary = data.whole.with_verbs(data.split.candidates("dev"))
        used = {key for image in data.dev for noun in image.situation.nouns.values() for key in noun.annotators if key}
        nouns = [noun for noun in self.vocabulary.nouns if noun.key in used]
        self.nouns = {noun.key: index for index, noun in enumerate(nouns)}
        self.noun_words = _centred(stage.encoder.encode([noun.gloss for noun in nouns]))
        self.verb_words = _centred(embed_vocabulary(self.vocabulary, stage.encoder).told_verbs)
        self.visual: list[VisualTokens] = []
        for start in range(0, len(self.images), BATCH):
            paths = [image_path(data.root, image.file_name) for image in self.images[start : start + BATCH]]
            self.visual += stage.teacher.visual_tokens([load_image(path) for path in paths])
        self.roles = stage.roles_of(self.images, self.vocabulary)
        self.groups = data.split.groups("dev")

    @torch.no_grad()
    def scores(self, prompts: PromptReader, teacher: MultimodalLLM) -> dict[str, float]:
        """Percent right: verbs by group, nouns of training verbs' and of unseen verbs' roles."""
        prompts.eval()
        scenes, found = [], {"nouns": [0, 0], "nouns, unseen verbs": [0, 0]}
        for start in range(0, len(self.images), BATCH):
            indices = range(start, min(start + BATCH, len(self.images)))
            roles = self.roles(indices)
            read = prompts(teacher, [self.visual[index] for index in indices], roles)
            scenes.append(read.scene.float())
            if read.roles is not None:
                self._count(self.images[start : start + BATCH], read.roles.float(), roles.grounded, found)
        scene = _centred(torch.cat(scenes))
        named = [self.vocabulary.verb_names[k] for k in (scene @ self.verb_words.T).argmax(dim=1).tolist()]
        right = [name == image.situation.verb for name, image in zip(named, self.images, strict=True)]
        verbs = {
            f"verb, {group}": _percent([r for r, i in zip(right, self.images, strict=True) if i.situation.verb in of])
            for group, of in self.groups.items()
        }
        return verbs | {name: 100 * hits / max(1, count) for name, (hits, count) in found.items()}

    def _count(
        self, images: Sequence[AnnotatedImage], read: Tensor, grounded: Tensor, found: dict[str, list[int]]
    ) -> None:
        keys = list(self.nouns)
        # The mean reading of a batch says what all pictures share.
        centred = normalize(read - read[grounded].mean(dim=0), dim=-1)
        nearest = (centred @ self.noun_words.T).argmax(dim=-1)
        for row, image in enumerate(images):
            group = "nouns, unseen verbs" if image.situation.verb in self.groups["unseen"] else "nouns"
            for place, role in enumerate(self.vocabulary.verb(image.situation.verb).roles):
                accepted = image.situation.nouns[role].accepted
                if grounded[row, place] and accepted & self.nouns.keys():
                    found[group][0] += keys[int(nearest[row, place])] in accepted
                    found[group][1] += 1


def _centred(rows: Tensor) -> Tensor:
    return normalize(rows - rows.mean(dim=0), dim=-1)


def _percent(right: Sequence[bool]) -> float:
    return 100 * sum(right) / max(1, len(right))


def tuned(stage: StageParts, kind: str, teacher: MultimodalLLM, seed: int) -> PromptReader:
    """Prompts of a kind, tuned through ``teacher`` to the last step."""
    torch.manual_seed(seed)
    prompts = fresh_prompts(stage, kind)
    if kind != "fixed":
        settings = stage.config.prompts
        PromptTuning(
            prompts, fresh_prompts(stage, "fixed"), teacher, tuning_data(stage, kind), settings, seed=seed
        ).run()
    return prompts


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 1.0, 2.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--dev", type=int, default=400)
    parser.add_argument("--override", action="append", default=[])
    options = parser.parse_args()
    config = load_config(None, [*options.override, f"data.root={options.data}", "prompts.dev_pictures=0"])
    stage = StageParts(config, options.work)
    examination = Examination(stage, options.dev)
    header: list[str] = []
    for noise in options.noise:
        teacher = cast(MultimodalLLM, NoisyTeacher(stage.teacher, noise))
        for kind in options.kinds:
            seeds = options.seeds[:1] if kind == "fixed" else options.seeds
            scores = [examination.scores(tuned(stage, kind, teacher, seed), teacher) for seed in seeds]
            if not header:
                header = list(scores[0])
                print("| noise | prompts | " + " | ".join(header) + " |\n" + "| --- " * (len(header) + 2) + "|")
            cells = [_mean_and_spread([score[name] for score in scores]) for name in header]
            print(f"| {noise:g} | {kind} | " + " | ".join(cells) + " |", flush=True)


def _mean_and_spread(values: Sequence[float]) -> str:
    spread_of = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread_of}"


if __name__ == "__main__":
    main()
