"""The recipes for SWiG are rows of the ablation on SWiG: what is trained alone is what is compared."""

from __future__ import annotations

from typing import Any

import pytest

from ovgsr.config import load_config
from ovgsr.training.ablation_plan import load_plan

ROWS = [
    # recipe, row, what the row has and the recipe leaves out: readouts and weights that nothing teaches
    ("swig_closed", "closed", {"model.distilled_readout": True}),
    ("swig_open", "no_teacher", {"model.distilled_readout": True}),
    ("swig_plain", "embedding", {}),
    ("swig_mipd_llava", "mipd", {}),
    ("swig_mipd_qwen", "mipd", {}),
]
PATHS = {"name", "data.root", "distill.signals", "distill.view_store"}


def _flat(recipe: str | None, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    sections = load_config(recipe, overrides).model_dump()
    plain = {name: sections.pop(name) for name in ("name", "task")}
    return plain | {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


@pytest.mark.parametrize(("recipe", "row", "unused"), ROWS, ids=[row[0] for row in ROWS])
def test_a_recipe_is_a_row_of_the_ablation(recipe: str, row: str, unused: dict[str, Any]) -> None:
    plan = load_plan("swig")
    stands_in = ("distill.signals=x", "distill.view_store=y") if plan.row(row).signals else ()
    of_row = _flat(None, (*plan.overrides, *plan.row(row).overrides, *stands_in))
    of_recipe = _flat(recipe)
    different = {key: value for key, value in of_row.items() if of_recipe[key] != value and key not in PATHS}
    assert different == unused


def test_the_edge_student_is_taught_as_the_large_one_is() -> None:
    edge, large = _flat("swig_edge"), _flat("swig_mipd_llava")
    different = {key.split(".")[0] for key in edge if edge[key] != large[key]}
    assert different == {"name", "data", "model", "optim", "train"}
