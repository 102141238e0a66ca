"""Which pictures a command is given, and the names of what it writes for them."""

from __future__ import annotations

from pathlib import Path

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def find_pictures(paths: list[Path], out: Path | None = None) -> list[Path]:
    """The pictures named, and those in the folders named, sorted; no picture is an error.

    Where ``out`` lies in such a folder, its pictures are left out: they are results of an earlier run.
    """
    from ovgsr.errors import OvgsrError

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            results = None if out is None else _below(path, out)
            files = [file for file in path.rglob("*") if results is None or not file.is_relative_to(results)]
            inside = sorted(file for file in files if file.suffix.lower() in PICTURE_ENDINGS)
            if not inside:
                raise OvgsrError(f"{path}: no picture in this folder ({', '.join(sorted(PICTURE_ENDINGS))})")
            found += inside
        else:
            found.append(path)
    return found


def _below(folder: Path, out: Path) -> Path | None:
    """``out`` as a path that begins with ``folder``, however both are written; None where it does not lie in it."""
    above, inner = folder.resolve(), out.resolve()
    return folder / inner.relative_to(above) if inner != above and inner.is_relative_to(above) else None


def output_names(pictures: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """Each picture with its output path but for the ending; equal names of different folders get a number."""
    taken: set[str] = set()
    named = []
    for picture in pictures:
        name, number = picture.stem, 1
        while name in taken:  # a picture may itself be called x_2
            number += 1
            name = f"{picture.stem}_{number}"
        taken.add(name)
        named.append((picture, out / name))
    return named


def with_ending(target: Path, ending: str) -> Path:
    """``target`` with ``ending`` appended; ``with_suffix`` would make one file of holiday.1 and holiday.2."""
    return target.with_name(target.name + ending)
