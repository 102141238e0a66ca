"""A frozen teacher as stage 2 meets it: vectors, views and cached tokens from disk, no model in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ovgsr.config import DistillSettings
from ovgsr.data.teaching import RecordedView
from ovgsr.distillation.signal_store import SignalError, SignalStore
from ovgsr.distillation.view_store import ViewStore
from ovgsr.models.text_encoder import same_encoder
from ovgsr.teacher.tokens.cache import TokenCache
from ovgsr.tensors import TeacherSignals


class RecordedReadings:
    """What ``distill`` asks for, picture by picture (``data.teaching.RecordedTeacher``); picklable.

    ``missing`` counts the training pictures without a reading: they are learned from their annotation alone.

    Raises SignalError where the readings are in another text encoder's space, hold none of the views' readings, or
    belong to other pictures.
    """

    def __init__(
        self, file_names: Sequence[str], settings: DistillSettings, *, text_fingerprint: str, text_width: int
    ) -> None:
        self._names = tuple(file_names)
        self.views_a_picture = settings.views
        self._store: SignalStore | None = None
        self._views: ViewStore | None = None
        self._tokens: TokenCache | None = None
        self.role_width = self.token_width = self.missing = 0
        if settings.signals:
            self._store = open_signals(settings.signals, text_fingerprint, text_width)
            self.role_width = self._store.info.role_width or 0
            self.missing = len(self._store.missing(self._names))
            if self.missing == len(self._names):
                raise SignalError(
                    f"{settings.signals}: holds no reading of any of the {len(self._names)} training pictures; "
                    "write them for this data set with ovgsr teacher signals"
                )
        if self._store is not None:
            self._views = open_views(settings, self._store)
        if settings.token_cache:
            self._tokens = TokenCache.open(settings.token_cache)
            absent = self._tokens.missing(self._names)
            if absent:
                raise SignalError(
                    f"{settings.token_cache}: lacks the tokens of {len(absent)} training pictures, {absent[0]} first; "
                    "write them with ovgsr teacher tokens"
                )
            self.token_width = self._tokens.read(self._names[:1]).tokens.shape[-1]

    def signals(self, index: int) -> TeacherSignals:
        """The readings of a picture, with B = 1; zeros where the teacher has none."""
        name = self._names[index]
        scene = roles = None
        if self._store is not None:
            scene = self._store.scene(name)[None]
            roles = self._store.roles(name)[None] if self.role_width else None
        if self._tokens is None:
            return TeacherSignals(scene, roles)
        read = self._tokens.read([name])
        return TeacherSignals(scene, roles, read.tokens, read.grid)

    def views(self, generator: np.random.Generator) -> list[RecordedView]:
        """Views drawn at random, ``distill.views`` of them a picture on average."""
        if self._views is None or self._store is None:
            return []
        chosen = drawn(len(self._views), self.views_a_picture, generator)
        return [RecordedView(self._views.picture(self._views.views[k].name), self._store.view_scene(k)) for k in chosen]


def open_signals(folder: str, text_fingerprint: str, text_width: int) -> SignalStore:
    """The readings in a folder. Raises SignalError where they are in another text encoder's space."""
    store = SignalStore.open(Path(folder))
    info = store.info
    if not same_encoder(info.text_fingerprint, text_fingerprint) or info.width != text_width:
        raise SignalError(
            f"{folder}: readings in the space of the text encoder {info.text_fingerprint!r} ({info.width} "
            f"numbers), but the student reads words embedded by {text_fingerprint!r} ({text_width}); write them "
            "anew with the student's text encoder"
        )
    return store


def open_views(settings: DistillSettings, store: SignalStore) -> ViewStore | None:
    """The views that the settings name, None where none are asked for; SignalError where the readings are of others."""
    if not settings.views or not settings.view_store:
        return None
    views = ViewStore.open(Path(settings.view_store))
    if store.info.views_digest != views.digest:
        raise SignalError(
            f"{settings.signals}: its readings are not of the views in {settings.view_store}; "
            "write both anew with ovgsr teacher signals"
        )
    return views


def drawn(among: int, a_picture: float, generator: np.random.Generator) -> list[int]:
    """Positions drawn at random, ``a_picture`` of them on average."""
    count = int(a_picture) + int(generator.random() < a_picture - int(a_picture))
    chosen: list[int] = generator.integers(among, size=count).tolist()
    return chosen


def readings_or_none(
    file_names: Sequence[str], settings: DistillSettings, *, text_fingerprint: str, text_width: int
) -> RecordedReadings | None:
    """The readings that the settings name, None where they name none."""
    if not settings.signals and not settings.token_cache:
        return None
    return RecordedReadings(file_names, settings, text_fingerprint=text_fingerprint, text_width=text_width)
