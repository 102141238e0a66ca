"""Boxes as tensors: the only converters, and overlap. A name says its format: ``xyxy``, ``cxcywh``; normalised means
0..1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Centre and size to corners, shape (..., 4), any unit."""
    centre, size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Corners to centre and size, shape (..., 4), any unit."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def scale_to_pixels(boxes_xyxy: Tensor, sizes_wh: Tensor) -> Tensor:
    """Normalised corners (..., 4) to pixels of pictures of size ``sizes_wh`` (..., 2)."""
    return boxes_xyxy * torch.cat([sizes_wh, sizes_wh], dim=-1)


def scale_to_unit(boxes_xyxy: Tensor, sizes_wh: Tensor) -> Tensor:
    """Corners in pixels (..., 4) to 0..1 of pictures of size ``sizes_wh`` (..., 2)."""
    return boxes_xyxy / torch.cat([sizes_wh, sizes_wh], dim=-1)


def clamp_to_image(boxes_xyxy: Tensor, sizes_wh: Tensor) -> Tensor:
    """Corners in pixels moved into the picture: x to 0..width, y to 0..height."""
    limit = torch.cat([sizes_wh, sizes_wh], dim=-1)
    return torch.minimum(boxes_xyxy.clamp(min=0), limit)


def flip_horizontally(boxes_xyxy: Tensor) -> Tensor:
    """Normalised corners (..., 4) of the mirrored picture."""
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    return torch.stack([1 - right, top, 1 - left, bottom], dim=-1)


def area(boxes_xyxy: Tensor, *, inclusive: bool = False) -> Tensor:
    """Area of each box, shape (...). ``inclusive`` counts both border pixels, as the SWiG evaluator does."""
    extra = 1.0 if inclusive else 0.0
    width = boxes_xyxy[..., 2] - boxes_xyxy[..., 0] + extra
    height = boxes_xyxy[..., 3] - boxes_xyxy[..., 1] + extra
    return width.clamp(min=0) * height.clamp(min=0)


def paired_iou(first_xyxy: Tensor, second_xyxy: Tensor, *, inclusive: bool = False) -> Tensor:
    """Intersection over union of each pair, shape (...), 0 where the union is empty."""
    extra = 1.0 if inclusive else 0.0
    low = torch.maximum(first_xyxy[..., :2], second_xyxy[..., :2])
    high = torch.minimum(first_xyxy[..., 2:], second_xyxy[..., 2:])
    overlap = (high - low + extra).clamp(min=0).prod(dim=-1)
    union = area(first_xyxy, inclusive=inclusive) + area(second_xyxy, inclusive=inclusive) - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1e-12), torch.zeros_like(union))


def paired_giou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Generalised IoU of each pair in -1..1 (Rezatofighi et al. 2019), shape (...)."""
    low = torch.maximum(first_xyxy[..., :2], second_xyxy[..., :2])
    high = torch.minimum(first_xyxy[..., 2:], second_xyxy[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    union = area(first_xyxy) + area(second_xyxy) - overlap
    hull_low = torch.minimum(first_xyxy[..., :2], second_xyxy[..., :2])
    hull_high = torch.maximum(first_xyxy[..., 2:], second_xyxy[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(dim=-1).clamp(min=1e-9)
    return overlap / union.clamp(min=1e-9) - (hull - union) / hull
