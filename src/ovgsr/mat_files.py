"""Reading MATLAB's ``.mat`` files, whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovgsr.errors import OvgsrError, first_line


class MatFileError(OvgsrError):
    """A file that cannot be read as a ``.mat`` file: the message names it and the remedy."""


def read_mat(path: Path, names: Sequence[str], *, squeeze: bool = False) -> dict[str, Any]:
    """Those of the named variables that the file has; ``squeeze`` drops axes of length one.

    Raises MatFileError where it is no ``.mat`` file up to version 7.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=list(names), squeeze_me=squeeze)
    except NotImplementedError:
        raise MatFileError(f"{path}: a file of MATLAB 7.3; save it with save(..., '-v7')") from None
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        what = f"cannot be read as a .mat file ({first_line(error)})"
        raise MatFileError(f"{path}: {what}; write or download it again") from None
    return {name: content[name] for name in names if name in content}
