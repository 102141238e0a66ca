"""A frozen teacher as the pair student meets it: readings of annotated pairs and views of one pair, from disk.

A view is a composed cut (``distillation.pair_cuts``). It is shown where its base was cut out, in the training picture:
people and things then have the size that they have at test, and the pair has others around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from ovgsr.boxes import scale_to_unit, xyxy_to_cxcywh
from ovgsr.config import DistillSettings
from ovgsr.data.hico_det import HicoDetFold
from ovgsr.data.pair_targets import AllPairs
from ovgsr.data.teaching import RecordedView
from ovgsr.distillation.pair_cuts import PairCut, cut_name, training_cuts
from ovgsr.distillation.recorded import drawn, open_signals, open_views
from ovgsr.distillation.signal_info import UNNAMED, SignalError
from ovgsr.distillation.view_store import ViewStore, source_fingerprint
from ovgsr.distillation.views import roles_in_view
from ovgsr.interactions import HUMAN, OBJECT, PERSON
from ovgsr.tensors import PairTargets, TeacherSignals


class _Shown(NamedTuple):
    """A view in which both human and object can be seen: its position among the views, and the cut it was made of."""

    number: int
    base: PairCut
    size_wh: tuple[int, int]  # pixels of the annotated picture


class RecordedPairs:
    """What ``distill`` asks for, picture by picture (``data.teaching.RecordedTeacher``); picklable.

    ``pairs`` are the targets of the training pictures in ``train``, whose order the readings follow; ``open_picture``
    gives a training picture by its file name. Of a pair whose verbs the teacher has no word for the reading says
    something else, and is left out (docs/mipd.md). So is, where ``told_verbs`` (V, D) are given, the embeddings of the
    training verbs, a reading whose nearest verb is not one of the pair's.

    Raises SignalError where the readings are in another text encoder's space, are of other pairs, or hold none of the
    views' readings.
    """

    def __init__(
        self,
        train: HicoDetFold,
        pairs: AllPairs,
        settings: DistillSettings,
        *,
        open_picture: Callable[[str], Image.Image],
        told_verbs: Tensor | None = None,
        text_fingerprint: str,
        text_width: int,
    ) -> None:
        assert settings.signals, "without readings there is no teacher"
        self._store = open_signals(settings.signals, text_fingerprint, text_width)
        cuts = training_cuts(train)
        if self._store.info.details.get("pictures") != source_fingerprint([cut.image for cut in cuts]):
            raise SignalError(
                f"{settings.signals}: these are readings of other pairs than those of the training pictures; write "
                "them with ovgsr teacher signals for this data set, with the same data.split and pairs.drop"
            )
        unnamed = set(self._store.info.details.get(UNNAMED, ()))
        named = [cut for cut in cuts if not unnamed.issuperset((cut.verb, *cut.others))]
        if told_verbs is not None and named:
            own = [{train.vocabulary.verb_index(verb) for verb in cut.pair.verbs} for cut in named]
            nearest = _nearest(torch.stack([self._store.scene(cut.name) for cut in named]), told_verbs)
            named = [cut for cut, verbs, verb in zip(named, own, nearest, strict=True) if verb in verbs]
        told = {cut.name for cut in named}
        self._names = [
            [name if (name := cut_name(image.file_name, number)) in told else None for number in numbers]
            for image, numbers in zip(train.images, pairs.numbers, strict=True)
        ]
        self.views_a_picture = settings.views
        self._open_picture = open_picture
        self._views = open_views(settings, self._store)
        self._shown: list[_Shown] = []
        if self._views is not None:
            self._shown, self._targets = _pair_views(self._views, train, cuts)

    def signals(self, index: int) -> TeacherSignals:
        """The readings of a picture's pairs, with B = 1; zeros where the teacher has none."""
        nothing = torch.zeros(self._store.info.width)
        readings = [nothing if name is None else self._store.scene(name) for name in self._names[index]]
        return TeacherSignals(pairs=torch.stack(readings)[None] if readings else nothing.expand(1, 0, -1))

    def views(self, generator: np.random.Generator) -> list[RecordedView]:
        """Views drawn at random, ``distill.views`` of them a picture on average, each in the picture of its base."""
        if not self._shown:
            return []
        return [
            RecordedView(
                self._picture(self._shown[k]), self._store.view_scene(self._shown[k].number), self._targets.rows(k)
            )
            for k in drawn(len(self._shown), self.views_a_picture, generator)
        ]

    def _picture(self, shown: _Shown) -> Image.Image:
        assert self._views is not None
        picture = self._open_picture(shown.base.picture).copy()
        # A large picture may have been decoded smaller than it was annotated.
        scales = picture.width / shown.size_wh[0], picture.height / shown.size_wh[1]
        left, top, right, bottom = (
            round(edge * scale) for edge, scale in zip(shown.base.crop, scales * 2, strict=True)
        )
        view = self._views.picture(self._views.views[shown.number].name)
        picture.paste(view.resize((max(1, right - left), max(1, bottom - top))), (left, top))
        return picture


def _nearest(readings: Tensor, words: Tensor) -> list[int]:
    """The word (V, D) that each reading (n, D) lies nearest to, what is common to all of either taken off."""
    towards = normalize(words.float() - words.float().mean(dim=0), dim=-1)
    apart = normalize(readings.float() - readings.float().mean(dim=0), dim=-1)
    found: list[int] = (apart @ towards.T).argmax(dim=-1).tolist()
    return found


def _pair_views(views: ViewStore, train: HicoDetFold, cuts: Sequence[PairCut]) -> tuple[list[_Shown], PairTargets]:
    """The views that show a pair, and as targets which human and object these are. No verb is said of them."""
    images = [cut.image for cut in cuts]
    sizes = {image.file_name: (image.width, image.height) for image in train.images}
    shown, boxes, things = [], [], []
    for number, view in enumerate(views.views):
        filled = roles_in_view(view.plan, images)
        human, thing = filled.get(HUMAN), filled.get(OBJECT)
        if human is None or thing is None or human.noun != PERSON:
            continue
        base = cuts[view.plan.base]
        shown.append(_Shown(number, base, sizes[base.picture]))
        boxes.append(
            [
                [side + edge for side, edge in zip(one.box_xyxy or (), base.crop[:2] * 2, strict=True)]
                for one in (human, thing)
            ]
        )
        things.append(train.vocabulary.answers.index(train.vocabulary.noun(thing.noun)))
    size = torch.tensor([one.size_wh for one in shown], dtype=torch.float32).reshape(-1, 1, 2)
    corners = scale_to_unit(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 2, 4), size)
    return shown, PairTargets(
        mask=torch.ones(len(shown), 1, dtype=torch.bool),
        boxes_cxcywh=xyxy_to_cxcywh(corners)[:, None],
        object_index=torch.tensor(things, dtype=torch.long)[:, None],
        verbs=torch.zeros(len(shown), 1, len(train.vocabulary.verbs), dtype=torch.bool),
    )
