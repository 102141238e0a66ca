"""Human-object pairs as small pictures, one each: what a teacher is shown of them.

A teacher that reads a whole picture says what is done somewhere in it. Cut to one pair, the picture shows one act, and
everything that stage 1 does with pictures of one situation (``docs/mipd.md``) is done with the cuts: they are written
as a data set in SWiG layout, whose verbs are named by their gerunds (``riding``), as teachers speak of what is done.

A cut is the box around human and object with a margin, widened to a square as far as the picture goes: teachers squash
or pad what is not square.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovgsr.data import swig
from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import HicoDetFold, annotation_path, image_folder, read_hico_det
from ovgsr.data.hoi_check import annotated_folds
from ovgsr.data.hoi_pairs import InteractionPair, merge_rows
from ovgsr.data.hoi_rows import interaction_situation
from ovgsr.data.hoi_splits import Drop, read_hoi_split, training_fold
from ovgsr.files import write_bytes_atomically, write_text_atomically
from ovgsr.hoi_vocabulary import NO_INTERACTION, HoiSplit, Interaction
from ovgsr.interactions import HUMAN, OBJECT, PERSON
from ovgsr.models.preprocess import load_image
from ovgsr.situation import AnnotatedImage, BoxXyxy
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

PLAN_FILE = "pair_cuts.json"
MARGIN = 0.15
"""Of the sides of the box around the pair, on each side (docs/mipd.md: less and more were read worse)."""
_QUALITY = 95


@dataclass(frozen=True, slots=True)
class PairCut:
    """One pair of a picture with the part ``crop`` of it (left, top, right, bottom, whole pixels) that is cut out.

    Of several verbs that a pair has, ``verb`` is the rarest, as a gerund; the others are in ``others``.
    """

    name: str
    picture: str
    crop: tuple[int, int, int, int]
    pair: InteractionPair
    verb: str
    others: tuple[str, ...]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Pixels of the cut."""
        left, top, right, bottom = self.crop
        return right - left, bottom - top

    @property
    def image(self) -> AnnotatedImage:
        """The cut as an annotated picture; boxes in its pixels, cut off at its edges."""
        boxes = (_inside(box, self.crop) for box in (self.pair.human_box_xyxy, self.pair.object_box_xyxy))
        return AnnotatedImage(self.name, *self.size_wh, (interaction_situation(self.verb, self.pair.object, *boxes),))

    def record(self) -> dict[str, Any]:
        """The cut as a record in SWiG's JSON."""
        nouns = self.image.situation.nouns
        width, height = self.size_wh
        return {
            "verb": self.verb,
            "width": width,
            "height": height,
            "frames": [{role: noun.noun for role, noun in nouns.items()}],
            "bb": {role: list(noun.box_xyxy or ()) for role, noun in nouns.items()},
        }


def cut_name(file_name: str, number: int) -> str:
    """The file name of a picture's pair ``number``, counted from 0 in the order of ``merge_rows``."""
    return f"{file_name}#{number}.jpg"


def cut_box(pair: InteractionPair, width: int, height: int, margin: float = MARGIN) -> tuple[int, int, int, int]:
    """The part of a picture that is cut out for a pair: square, but where the picture is too narrow or too low."""
    boxes = pair.human_box_xyxy, pair.object_box_xyxy
    left, top = (min(box[axis] for box in boxes) for axis in (0, 1))
    right, bottom = (max(box[axis] for box in boxes) for axis in (2, 3))
    side = (1 + 2 * margin) * max(right - left, bottom - top)

    def along(low: float, high: float, length: int) -> tuple[int, int]:
        size = max(1, round(min(side, length)))
        start = round(min(max((low + high - size) / 2, 0), length - size))
        return start, start + size

    (x1, x2), (y1, y2) = along(left, right, width), along(top, bottom, height)
    return x1, y1, x2, y2


def pair_cuts(fold: HicoDetFold, usual: Counter[str]) -> Iterator[PairCut]:
    """The cuts of a fold's pairs, ``no_interaction`` aside. ``usual`` counts the training pairs of each verb."""
    gerunds = _gerunds(fold.vocabulary)
    for image in fold.images:
        for number, pair in enumerate(merge_rows(image)):
            verbs = sorted(
                (verb for verb in pair.verbs if verb != NO_INTERACTION), key=lambda verb: (usual[verb], verb)
            )
            crop = cut_box(pair, image.width, image.height)
            if verbs and all(_shows(box, crop) for box in (pair.human_box_xyxy, pair.object_box_xyxy)):
                first, *others = (gerunds[verb] for verb in verbs)
                name = cut_name(image.file_name, number)
                yield PairCut(name, image.file_name, crop, pair, first, tuple(others))


def training_cuts(train: HicoDetFold) -> list[PairCut]:
    """The cuts of what training meets."""
    return list(pair_cuts(train, _usual(train)))


def write_pair_cuts(
    source: Path,
    folder: Path,
    *,
    split: str | Path | None = None,
    drop: Drop = "pairs",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The training and dev pairs of a data set in HICO-DET's layout as a data set in SWiG's, in ``folder``; resumable.

    Nothing that the split holds back is in it, but for the names of verbs without a training interaction: the split
    file needs them, as SWiG's does, so that nothing written names them. Raises DataError where the data set or the
    split cannot be used, or the folder holds cuts of another make.
    """
    held = read_hoi_split(source, split)
    whole = read_hico_det(source, "train")
    train = training_fold(whole, held, drop)
    dev = read_hico_det(source, "dev") if "dev" in annotated_folds(source) else None
    plan = _plan(source, held, drop, dev is not None)
    _require_same(folder / PLAN_FILE, plan)
    verbs = _verb_split(whole, train, held)
    folds = {"train": training_cuts(train)}
    shown = None if dev is None else [*pair_cuts(_without_test(dev, held), _usual(train))]
    folds["dev"] = [cut for cut in shown or () if cut.verb in verbs.candidates("dev")]
    done, total = 0, sum(map(len, folds.values()))
    write_text_atomically(folder / PLAN_FILE, json.dumps(plan, indent=1))
    for name, cuts in folds.items():
        for of_one in _by_picture(cuts):
            _write_pictures(image_folder(source, name), folder, of_one)  # type: ignore[arg-type]
            done += len(of_one)
            if progress is not None:
                progress(done, total)
    _write_tables(folder, whole.vocabulary, verbs, folds)
    return folder


def _usual(train: HicoDetFold) -> Counter[str]:
    """How many training pairs each verb has."""
    return Counter(verb for image in train.images for pair in merge_rows(image) for verb in pair.verbs)


def _by_picture(cuts: Iterable[PairCut]) -> Iterator[list[PairCut]]:
    groups: dict[str, list[PairCut]] = {}
    for cut in cuts:
        groups.setdefault(cut.picture, []).append(cut)
    yield from groups.values()


def _write_pictures(images: Path, folder: Path, cuts: Sequence[PairCut]) -> None:
    missing = [cut for cut in cuts if not swig.image_path(folder, cut.name).is_file()]
    if not missing:
        return
    picture = load_image(images / missing[0].picture)
    for cut in missing:
        buffer = io.BytesIO()
        picture.crop(cut.crop).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
        write_bytes_atomically(swig.image_path(folder, cut.name), buffer.getvalue())


def _write_tables(folder: Path, vocabulary: Vocabulary, verbs: VerbSplit, folds: dict[str, list[PairCut]]) -> None:
    frame = {"order": [HUMAN, OBJECT], "roles": {}, "def": "", "abstract": ""}
    nouns = {PERSON, *(cut.pair.object for cut in folds["train"])}
    space = {
        "verbs": dict.fromkeys((*verbs.training, *verbs.dev_unseen, *verbs.unseen), frame),
        "nouns": {n.key: {"gloss": list(n.words), "def": ""} for n in vocabulary.nouns if n.key in nouns},
    }
    others = {cut.name: cut.others for cuts in folds.values() for cut in cuts if cut.others}
    written: dict[Path, Any] = {swig.space_path(folder): space, swig.split_path(folder): verbs.to_json()}
    written[swig.other_verbs_path(folder)] = others
    for fold, cuts in folds.items():
        written[swig.annotation_path(folder, fold)] = {cut.name: cut.record() for cut in cuts}
    for path, content in written.items():
        write_text_atomically(path, json.dumps(content))


def _verb_split(whole: HicoDetFold, train: HicoDetFold, held: HoiSplit | None) -> VerbSplit:
    """The split of the verbs alone: combinations of seen words count as seen, since the words are."""
    gerunds, known = _gerunds(whole.vocabulary), {NO_INTERACTION, *train.vocabulary.verb_names}

    def hidden(interactions: Iterable[Interaction]) -> tuple[str, ...]:
        verbs = {verb for verb, _ in interactions} - known
        known.update(verbs)
        return tuple(gerunds[verb] for verb in sorted(verbs))

    return VerbSplit(
        held.name if held else "all interactions seen",
        seen=tuple(gerunds[verb] for verb in train.vocabulary.verb_names if verb != NO_INTERACTION),
        unseen=hidden(held.unseen if held else ()),
        dev_unseen=hidden(held.dev_unseen if held else ()),
    )


def _without_test(dev: HicoDetFold, held: HoiSplit | None) -> HicoDetFold:
    """Dev without the pairs that also do something which is unseen on test."""
    if held is None:
        return dev
    return training_fold(dev, HoiSplit(held.name, held.unseen))


def _gerunds(vocabulary: Vocabulary) -> dict[str, str]:
    return {verb.name: verb.gerund or verb.name for verb in vocabulary.verbs}


def _inside(box_xyxy: BoxXyxy, crop: tuple[int, int, int, int]) -> BoxXyxy:
    """A box in pixels of the cut, cut off at its edges."""
    x1, y1, x2, y2 = box_xyxy
    left, top, right, bottom = crop
    width, height = right - left, bottom - top
    return (
        min(max(x1 - left, 0), width),
        min(max(y1 - top, 0), height),
        min(max(x2 - left, 0), width),
        min(max(y2 - top, 0), height),
    )


def _shows(box_xyxy: BoxXyxy, crop: tuple[int, int, int, int]) -> bool:
    x1, y1, x2, y2 = _inside(box_xyxy, crop)
    return x2 > x1 and y2 > y1


def _plan(source: Path, held: HoiSplit | None, drop: Drop, has_dev: bool) -> dict[str, Any]:
    """What decides which cuts there are, and what they show."""
    files = [annotation_path(source, fold) for fold in (("train", "dev") if has_dev else ("train",))]
    told = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    split = None if held is None else held.to_json()
    return {"format": "ovgsr-pair-cuts-1", "margin": MARGIN, "drop": drop, "files": told, "split": split}


def _require_same(path: Path, plan: dict[str, Any]) -> None:
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if found != plan:
        raise DataError(f"{path}: these are the pairs of another data set or split; choose another folder")
