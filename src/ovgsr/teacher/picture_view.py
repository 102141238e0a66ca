"""A teacher looking at one picture: what it says, where it looks as it says the verb, and what looks alike to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from PIL import Image
from torch import Tensor

from ovgsr.errors import first_line
from ovgsr.situation import BoxXyxy
from ovgsr.teacher.picture_maps import attention_map, attention_shares, seen_region, token_map

Found = TypeVar("Found")


class LookingTeacher(Protocol):
    """What the page asks of a multimodal LLM (``MultimodalLLM`` has it)."""

    @property
    def name(self) -> str:
        """Shown on the page."""

    def generate(self, images: Sequence[Image.Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Its replies."""

    def attention_to_picture(
        self, image: Image.Image, question: str, *, answer_start: str
    ) -> tuple[Tensor, tuple[int, int] | None]:
        """Weights (M,) of the picture's tokens, and their grid."""

    def visual_tokens(self, images: Sequence[Image.Image]) -> Sequence[VisualGrid]:
        """Tokens (M, D) of each picture."""


class VisualGrid(Protocol):
    """A picture's tokens (M, D) and their rows and columns."""

    @property
    def tokens(self) -> Tensor:
        """(M, D)."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns; None where the family has no single grid."""


@dataclass(frozen=True)
class PictureMap:
    """A map over the picture. ``note`` says what is to be seen, also to who cannot see it."""

    image: Image.Image
    title: str
    note: str
    is_heat: bool = False


@dataclass(frozen=True)
class TeacherView:
    """What a teacher says of one picture and does with it; ``notes`` say what could not be had."""

    teacher: str
    caption: str = ""
    maps: tuple[PictureMap, ...] = ()
    notes: tuple[str, ...] = ()


def look(
    teacher: LookingTeacher,
    image: Image.Image,
    boxes_xyxy: Mapping[str, BoxXyxy],
    *,
    question: str,
    answer_start: str,
    caption_tokens: int = 40,
) -> TeacherView:
    """The teacher's own caption, where it looks after ``answer_start``, and its tokens as colours.

    ``boxes_xyxy`` are the roles' boxes in pixels of ``image``; each gets its share of the attention. What a family
    cannot give ends in a note.
    """
    region = seen_region(getattr(teacher, "processor", None), *image.size)
    notes: list[str] = []
    maps: list[PictureMap] = []

    def saying() -> str:
        return teacher.generate([image], [question], max_new_tokens=caption_tokens)[0].strip()

    def attending() -> PictureMap | None:
        weights, grid = teacher.attention_to_picture(image, question, answer_start=answer_start)
        if grid is None:
            notes.append("no attention map: this family's picture tokens are no single grid")
            return None
        shares = attention_shares(weights, grid, region, boxes_xyxy)
        heat = attention_map(image, weights, grid, region)
        total = 100 * float(weights.double().sum())
        title = f"Attention while it says the verb, after “{answer_start} …”"
        return PictureMap(heat, title, _attention_note(shares, total, grid), is_heat=True)

    def comparing() -> PictureMap | None:
        visual = teacher.visual_tokens([image])[0]
        if visual.grid is None:
            notes.append("no token map: this family's picture tokens are no single grid")
            return None
        tiles, share = token_map(image, visual.tokens, visual.grid, region)
        note = (
            f"{visual.grid[0]} × {visual.grid[1]} visual tokens; like colours are like tokens. The three principal "
            f"components shown are {100 * share:.0f} % of the tokens' variance."
        )
        return PictureMap(tiles, "Visual tokens", note)

    said = _attempt(saying, "no caption", notes) or ""
    maps += [found for found in (_attempt(attending, "no attention map", notes),) if found]
    maps += [found for found in (_attempt(comparing, "no token map", notes),) if found]
    if maps and _is_cut(region, image):
        notes.append("this teacher sees only the part of the picture that is not faded in the maps")
    return TeacherView(teacher.name, said, tuple(maps), tuple(notes))


def _attempt(work: Callable[[], Found], failure: str, notes: list[str]) -> Found | None:
    try:
        return work()
    except Exception as error:  # any family, any of its versions: a page with two of three things is still a page
        notes.append(f"{failure}: {first_line(error)[:300]}")
        return None


def _attention_note(shares: Mapping[str, tuple[float, float]], total: float, grid: tuple[int, int]) -> str:
    boxes = "; ".join(
        f"{role}: {100 * looked:.0f} % on {100 * area:.0f} % of the area" for role, (looked, area) in shares.items()
    )
    rest = f"{grid[0]} × {grid[1]} tokens, which get {total:.0f} % of all attention; the rest goes to text."
    return f"Of the attention to the picture, in the boxes: {boxes}. {rest}" if boxes else rest


def _is_cut(region: BoxXyxy, image: Image.Image) -> bool:
    left, top, right, bottom = region
    return left > 1 or top > 1 or right < image.width - 1 or bottom < image.height - 1
