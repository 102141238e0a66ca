"""HICO's image-level labels, which say what pictures the Known-Object setting counts for an object.

They are in the ``anno.mat`` that comes with HICO-DET's pictures (Chao et al.), and in no JSON file: a picture may be
labelled positive for an interaction whose pairs were too hidden to be boxed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import data_root
from ovgsr.data.swig import Fold
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.mat_files import read_mat

POSITIVE = 1
"""A label's other values mean: negative, unsure, not asked."""


def labels_path(source: Path) -> Path | None:
    """The ``anno.mat`` of a data set folder, or beside a file of it; None where there is none."""
    root = data_root(source)
    files = (root / "hico_20160224_det" / "anno.mat", root / "anno.mat")
    return next((file for file in files if file.is_file()), None)


def labelled_objects(path: Path, fold: Fold, interactions: Sequence[Interaction]) -> Mapping[str, frozenset[str]]:
    """Picture -> the objects of the interactions that it is labelled positive for.

    ``interactions`` are HICO-DET's, in the order of its HOI ids. Raises DataError or
    MatFileError where the file is not theirs.
    """
    names = (f"list_{fold}", f"anno_{fold}")
    content = read_mat(path, names, squeeze=True)
    missing = [name for name in names if name not in content]
    if missing:
        raise DataError(f"{path}: the variable {missing[0]!r} is missing; is it HICO-DET's anno.mat?")
    pictures, labels = (content[name] for name in names)
    if labels.shape != (len(interactions), len(pictures)):
        raise DataError(
            f"{path}: {names[1]!r} must be {len(interactions)} interactions x {len(pictures)} pictures, "
            f"not {' x '.join(map(str, labels.shape))}; is it HICO-DET's anno.mat?"
        )
    return {
        str(picture): frozenset(interactions[row][1] for row in (column == POSITIVE).nonzero()[0])
        for picture, column in zip(pictures, labels.T, strict=True)
    }
