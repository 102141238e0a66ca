"""The parts of stage 1: everything a frozen teacher leaves on disk before a student is trained.

Below ``work``: ``tokens`` and ``view_tokens`` (visual tokens), ``rationales``, ``views``, ``prompts/KIND`` and the
readings themselves, ``KIND``. Every part is resumable and made once, whichever kinds of readings ask for it; who asks
for one that another process is making waits for that.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageOps

from ovgsr.config import Config
from ovgsr.data.swig import image_folder, image_path, read_other_verbs
from ovgsr.distillation.rationale_data import RationaleData, write_template_rationales
from ovgsr.distillation.role_inputs import AnnotatedRoles
from ovgsr.distillation.view_store import ViewStore, source_fingerprint, write_views
from ovgsr.distillation.word_space import WordSpace
from ovgsr.errors import OvgsrError
from ovgsr.models.preprocess import decode_image, load_image
from ovgsr.models.text_encoder import TextEncoder, load_text_encoder
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.record_lines import locked
from ovgsr.teacher.jrg.store import STORE_FILE, RationaleStore
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.picture_maps import seen_region
from ovgsr.teacher.tokens.cache import CacheKey, TokenCache
from ovgsr.teacher.tokens.making import write_tokens
from ovgsr.training.novelty import NovelPictures
from ovgsr.training.training_data import TrainingData, read_training_data
from ovgsr.vocabulary import Vocabulary


class StageObserver(Protocol):
    """Whoever watches the teacher at work; printing is theirs."""

    def stage(self, name: str) -> None:
        """Another part begins."""

    def progress(self, done: int, total: int) -> None:
        """So much of the part is done."""


class Watchless:
    """Watches nothing."""

    def stage(self, name: str) -> None:
        """Nobody is told."""

    def progress(self, done: int, total: int) -> None:
        """Nobody is told."""


class StageParts:
    """The parts of stage 1 for one data set, one teacher and one seed, made when they are asked for."""

    def __init__(
        self,
        config: Config,
        work: Path,
        *,
        teacher: str = "sketch",
        device: str | None = None,
        observer: StageObserver | None = None,
    ) -> None:
        self.config, self.work, self.name = config, work, teacher
        self.seed = config.train.seed
        self._device = device
        self.observer: StageObserver = observer or Watchless()

    def identity(self) -> dict[str, Any]:
        """What decides what stage 1 leaves, but for the prompts: two folders that agree in it hold the same."""
        return {
            "teacher_name": self.name,
            "text_encoder": self.config.model.text_encoder,
            "seed": self.seed,
            "views": self.config.views.model_dump(mode="json"),
            "split": self.data.split.fingerprint,
            "pictures": source_fingerprint(self.data.train),
        }

    @cached_property
    def data(self) -> TrainingData:
        """The training data; unseen verbs' words are not in its vocabulary."""
        return read_training_data(self.config.data)

    @cached_property
    def teacher(self) -> MultimodalLLM:
        """The frozen multimodal LLM."""
        return MultimodalLLM.from_pretrained(self.name, device=self._device)

    @cached_property
    def encoder(self) -> TextEncoder:
        """The student's text encoder, whose space the readings lie in."""
        return load_text_encoder(self.config.model.text_encoder)

    @cached_property
    def words(self) -> WordSpace:
        """The teacher's vocabulary in the text encoder's space."""
        return WordSpace.of(self.teacher.vocabulary, self.encoder)

    @cached_property
    def roles(self) -> AnnotatedRoles:
        """What the annotations say of the training pictures' roles."""
        return self.roles_of(self.data.train)

    def roles_of(self, images: Sequence[AnnotatedImage], vocabulary: Vocabulary | None = None) -> AnnotatedRoles:
        """What the annotations say of some pictures' roles, with boxes where the teacher sees them.

        ``vocabulary`` holds the pictures' verbs; by default the training vocabulary.
        """
        seen = lru_cache(maxsize=None)(partial(seen_region, self.teacher.processor))
        return AnnotatedRoles(images, vocabulary or self.data.vocabulary, self.encoder, self.teacher.device, seen=seen)

    def tokens(self) -> TokenCache:
        """The visual tokens of all training pictures."""
        root = self.data.root
        named = [(image.file_name, image_path(root, image.file_name)) for image in self.data.train]
        return self._cached("visual tokens", self.work / "tokens", named)

    def views(self) -> ViewStore:
        """Composite views of training pictures, those that show the teacher something new, and some others."""
        self.observer.stage("composite views")
        novel = NovelPictures(self.teacher, self.words, self.data.vocabulary.verb_names, self.config.views)
        with self._turn("views"):
            return write_views(
                self.work / "views",
                self.data.train,
                image_folder(self.data.root),
                count=self.config.views.count,
                seed=self.seed,
                choose=novel,
                chosen_by=novel.fingerprint,
                candidates_per_view=self.config.views.candidates,
                open_image=load_image,
                progress=self.observer.progress,
            )

    def view_tokens(self, views: ViewStore, *, mirrored: bool = False) -> TokenCache:
        """The visual tokens of all views, or of their mirror images."""
        named = [(name, views.path(name)) for name in views.names]
        if mirrored:
            folder = self.work / "view_tokens_mirrored"
            return self._cached("visual tokens of the mirrored views", folder, named, _decode_mirrored)
        return self._cached("visual tokens of the views", self.work / "view_tokens", named)

    @cached_property
    def rationales(self) -> RationaleStore:
        """The rationales of the training pictures: those that lie in ``work`` already, else by the template writer."""
        folder = self.work / "rationales"
        self.observer.stage("rationales")
        if (folder / STORE_FILE).is_file():
            store = RationaleStore.open(folder, split=self.data.split)
            if store.identity.is_llm:  # an LLM wrote them: what it left out stays left out
                return store
        told = RationaleData(self.data.whole, self.data.split, self.data.train, read_other_verbs(self.data.root))
        with self._turn("rationales"):
            return write_template_rationales(
                folder, told, seed=self.seed, progress=lambda done, total, *_: self.observer.progress(done, total)
            )

    def _turn(self, part: str) -> AbstractContextManager[None]:
        """Waits until no other process is at work on a part: kinds may be made side by side in one folder."""
        return locked(self.work / f".{part}.lock")

    def _cached(
        self,
        title: str,
        folder: Path,
        named: Sequence[tuple[str, Path]],
        decode: Callable[[bytes, str], Image.Image] | None = None,
    ) -> TokenCache:
        key = CacheKey.of(self.teacher, layer="projector", grid=None, dtype="int8")
        self.observer.stage(title)
        failures: list[str] = []
        with self._turn(folder.name):
            write_tokens(
                folder,
                key,
                self.teacher,
                named,
                decode or _decode,
                progress=lambda done, total, _: self.observer.progress(done, total),
                on_failure=failures.append,
            )
        if failures:
            raise OvgsrError(f"{len(failures)} pictures could not be shown to the teacher; {failures[0]}")
        return TokenCache.open(folder, expect=key)


def _decode(content: bytes, name: str) -> Image.Image:
    return decode_image(io.BytesIO(content), name)


def _decode_mirrored(content: bytes, name: str) -> Image.Image:
    return ImageOps.mirror(_decode(content, name))
