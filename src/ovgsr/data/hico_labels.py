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
from ovgsr.errors import first_line
from ovgsr.hoi_vocabulary import Interaction

POSITIVE = 1
"""A label's other values mean: negative, unsure, not asked."""


def labels_path(source: Path) -> Path | None:
    """The ``anno.mat`` of a data set folder, or beside a file of it; None where there is none."""
    root = data_root(source)
    files = (root / "hico_20160224_det" / "anno.mat", root / "anno.mat")
    return next((file for file in files if file.is_file()), None)


def labelled_objects(path: Path, fold: Fold, interactions: Sequence[Interaction]) -> Mapping[str, frozenset[str]]:
    """Picture -> the objects of the interactions that it is labelled positive for.

    ``interactions`` are HICO-DET's, in the order of its HOI ids. Raises DataError where the file is not theirs.
    """
    from scipy.io import loadmat

    names = (f"list_{fold}", f"anno_{fold}")
    try:
        content = loadmat(path, variable_names=names, squeeze_me=True)
        pictures, labels = (content[name] for name in names)
    except KeyError as error:
        raise DataError(f"{path}: the variable {error} is missing; is it HICO-DET's anno.mat?") from None
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        raise DataError(f"{path}: cannot be read as a .mat file ({first_line(error)}); download it again") from None
    if labels.shape != (len(interactions), len(pictures)):
        raise DataError(
            f"{path}: {names[1]!r} must be {len(interactions)} interactions x {len(pictures)} pictures, "
            f"not {' x '.join(map(str, labels.shape))}; is it HICO-DET's anno.mat?"
        )
    return {
        str(picture): frozenset(interactions[row][1] for row in (column == POSITIVE).nonzero()[0])
        for picture, column in zip(pictures, labels.T, strict=True)
    }
