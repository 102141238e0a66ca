"""What the whole suite shares: one small drawn data set, one student trained for a few steps, and tiny random ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ovgsr.config import Config, ModelSettings, PairSettings, validate_config
from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.models.build import build_pair_student, build_student
from ovgsr.models.checkpoint import StudentCheckpoint
from ovgsr.models.heads import TextSimilarity
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Noun, Verb, Vocabulary
from tiny_backbones import save_backbone

TEXT_WIDTH = 12


@pytest.fixture(scope="session", autouse=True)
def one_thread_and_a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Text embeddings go to a folder of this session; one thread makes sums come out the same every time."""
    variables = {"OVGSR_CACHE": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    torch.set_num_threads(1)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def sketch_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SketchSWiG with 120 training pictures and one dev and one test picture a verb."""
    from ovgsr.sketch.write import write_sketch_swig

    root = tmp_path_factory.mktemp("data") / "sketch"
    write_sketch_swig(root, seed=7, train=120, dev_per_verb=1, test_per_verb=1)
    return root


@pytest.fixture(scope="session")
def swig_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON files, without pictures, of a data set of SWiG's 504 verbs: a dozen training records a verb."""
    from swig_records import write_swig_records

    return write_swig_records(tmp_path_factory.mktemp("swig") / "mine", {"train": 12, "dev": 1, "test": 1})


@pytest.fixture(scope="session")
def tiny_config(sketch_root: Path) -> Callable[..., Config]:
    """Settings of a run of seconds on ``sketch_root``; keyword arguments replace fields of their sections."""

    def make(**sections: dict[str, Any]) -> Config:
        plain: dict[str, Any] = {
            "name": "tiny",
            "data": {"root": str(sketch_root), "image_size": 32, "cache_images": True},
            "model": {"width": 16, "heads": 2, "readout_layers": 1, "decoder_layers": 1},
            "train": {"epochs": 2, "batch_size": 24, "precision": "no", "log_every": 1, "threads": 1},
        }
        for name, fields in sections.items():
            plain[name] = plain.get(name, {}) | fields
        return validate_config(plain, "a test")

    return make


@pytest.fixture(scope="session")
def trained_run(tiny_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of three steps."""
    from ovgsr.training.loop import train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_config(train={"max_steps": 3}), out)
    return out


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model of ``tiny_backbones``, saved at the first call."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_backbone(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(scope="session")
def tiny_vocabulary() -> Vocabulary:
    """Three verbs with frames of two, three and one roles, and four nouns."""
    return Vocabulary(
        verbs=(
            Verb("throwing", ("agent", "item"), "to send something through the air"),
            Verb("cutting", ("agent", "item", "tool"), abstract="An AGENT cuts an ITEM with a TOOL."),
            Verb("barking", ("agent",)),
        ),
        nouns=(Noun("n1", ("man",)), Noun("n2", ("dog",)), Noun("n3", ("ball",)), Noun("n4", ("knife",))),
        name="tiny",
    )


def random_unit(*shape: int, seed: int = 0) -> Tensor:
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.fixture(scope="session")
def random_text() -> Callable[..., TextEmbeddings]:
    """Random embeddings of a vocabulary: ``roles`` holds each verb's number of roles."""

    def make(roles: tuple[int, ...] = (2, 3, 1), nouns: int = 5, *, pad: int = 0, seed: int = 0) -> TextEmbeddings:
        longest = max(roles) + pad
        mask = torch.arange(longest) < torch.tensor(roles)[:, None]
        texts = torch.zeros(len(roles), longest, TEXT_WIDTH)
        texts[:, : max(roles)] = random_unit(len(roles), max(roles), TEXT_WIDTH, seed=seed + 1)
        return TextEmbeddings(
            verbs=random_unit(len(roles), TEXT_WIDTH, seed=seed),
            roles=texts * mask[..., None],
            role_mask=mask,
            nouns=random_unit(nouns, TEXT_WIDTH, seed=seed + 2),
            fingerprint="random",
        )

    return make


@pytest.fixture(scope="session")
def make_student() -> Callable[..., SituationTransformer]:
    """A random student, ready to predict; keyword arguments are model settings."""

    def make(*, seed: int = 0, verb_classes: int = 3, noun_classes: int = 5, **settings: Any) -> SituationTransformer:
        torch.manual_seed(seed)
        chosen = ModelSettings.model_validate({"width": 16, "heads": 2, **settings})
        student = build_student(chosen, text_width=TEXT_WIDTH, verb_classes=verb_classes, noun_classes=noun_classes)
        for scores in (student.verb_scores, student.noun_scores):
            if isinstance(scores, TextSimilarity):  # as in a trained student: the words' common part is not zero
                scores.centre.copy_(0.1 * random_unit(TEXT_WIDTH, seed=9))
        return student.eval()

    return make


@pytest.fixture(scope="session")
def make_checkpoint(
    make_student: Callable[..., SituationTransformer], tiny_vocabulary: Vocabulary
) -> Callable[..., StudentCheckpoint]:
    """A checkpoint around a random student that knows ``tiny_vocabulary``."""

    def make(*, seed: int = 0, **settings: Any) -> StudentCheckpoint:
        model = make_student(seed=seed, **settings)
        return StudentCheckpoint(
            model=model,
            settings=ModelSettings.model_validate({"width": 16, "heads": 2, **settings}),
            vocabulary=tiny_vocabulary,
            preprocess=Preprocess(32, model.tower.mean, model.tower.std),
            text_fingerprint="random",
            text_width=TEXT_WIDTH,
        )

    return make


@pytest.fixture(scope="session")
def make_pair_checkpoint() -> Callable[..., PairCheckpoint]:
    """A random pair student that was offered two of the combinations of two verbs and two objects."""

    def make(
        *,
        seed: int = 0,
        text_width: int = TEXT_WIDTH,
        fingerprint: str = "random",
        distilled: bool = False,
        **pairs: Any,
    ) -> PairCheckpoint:
        torch.manual_seed(seed)
        settings = ModelSettings.model_validate({"width": 16, "heads": 2, "distilled_readout": distilled})
        chosen = PairSettings.model_validate({"queries": 5, "kept": 6, **pairs})
        model = build_pair_student(settings, chosen, text_width=text_width).eval()
        return PairCheckpoint(
            model=model,
            settings=settings,
            pairs=chosen,
            vocabulary=Vocabulary(
                tuple(
                    Verb(name, (HUMAN, OBJECT), gerund=gerund)
                    for name, gerund in (("ride", "riding"), ("hold", "holding"))
                ),
                (Noun("horse", ("horse",)), Noun("baseball_bat", ("baseball bat",))),
                "toy",
            ),
            interactions=(("ride", "horse"), ("hold", "baseball_bat")),
            preprocess=Preprocess(32, model.tower.mean, model.tower.std),
            text_fingerprint=fingerprint,
            text_width=text_width,
        )

    return make
