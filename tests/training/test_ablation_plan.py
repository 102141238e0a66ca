"""Plans: what the package carries loads, and what is wrong with a plan is said in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ovgsr.errors import OvgsrError
from ovgsr.training.ablation import Ablation, first_difference
from ovgsr.training.ablation_plan import AblationError, load_plan

ROWS = [
    "closed", "no_teacher", "no_teacher_large", "label_text", "tokens", "embedding", "embedding_views", "fixed",
    "fixed_views",
    "known_words", "scene_only", "instance_only", "no_negatives", "no_regions", "mipd", "block", "teacher",
]  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    plan: dict[str, Any] = {
        "title": "Two rows",
        "seeds": [0, 1],
        "against": "plain",
        "rows": [{"name": "plain", "title": "plain", "says": "The ground."}, {"name": "b", "title": "B", "says": "B."}],
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan | changes), encoding="utf-8")
    return path


def row(**changes: Any) -> dict[str, Any]:
    return {"name": "plain", "title": "plain", "says": "The ground."} | changes


@pytest.mark.parametrize("name", ["sketch", "swig"])
def test_the_packages_plans(name: str, tmp_path: Path) -> None:
    plan = load_plan(name)
    assert [row.name for row in plan.rows] == ROWS
    assert (plan.seeds, plan.against, plan.also_against) == (
        (0, 1, 2),
        "no_teacher",
        ("no_teacher_large", "embedding_views", "fixed_views"),
    )
    ablation = Ablation(plan, tmp_path / "data", tmp_path / "out")
    cells = ablation.cells()
    assert len(cells) == 16 * 3 + 1, "a prompted teacher draws nothing by chance"
    ablation.require_recipes(cells)  # every override is a setting that there is
    views = {row.name: ablation.config(ablation.cell(row.name, 1)).distill.views for row in plan.rows[:-1]}
    assert [name for name, share in views.items() if not share] == ["closed", *ROWS[1:6], "fixed"]
    alike = [cell for cell in cells[:15] if cell.row.name != "no_teacher_large"]
    budgets = {ablation.config(cell).train.model_copy(update={"seed": 0}).model_dump_json() for cell in alike}
    assert len(budgets) == 1, "the same budget for every row but the control for compute"


WRONG = [
    ({"seed": [0]}, r"plan.yaml: unknown key 'seed'; did you mean 'seeds'\?"),
    ({"rows": [row(recipee="smoke")]}, r"unknown key 'rows.0.recipee'; did you mean 'recipe'\?"),
    ({"rows": [row(), row()]}, "two rows are called 'plain'; rename one"),
    ({"rows": [row(name="signals")]}, "'signals' is to be a folder"),
    ({"rows": [row(name="../up")]}, "'../up' is to be a folder: small letters, digits and _"),
    ({"against": "nobody"}, "against: there is no row 'nobody'; the rows are plain, b"),
    ({"also_against": ["nobody"]}, "there is no row 'nobody'"),
    ({"seeds": [1, 1]}, "seeds: give whole numbers of at least 0, each once"),
    ({"seeds": []}, "seeds: "),
    ({"rows": [row(signals="magic")]}, "rows.0.signals: Input should be 'tokens'"),
    ({"rows": [row(overrides=["train.epochs"])]}, "the override 'train.epochs' is not of the form section.key=value"),
    ({"overrides": ["train.seed=3"]}, "the override 'train.seed=3' sets what each cell sets for itself; leave it out"),
    ({"rows": [row(teacher_only=True, overrides=["loss.verb=1"])]}, "the row 'plain' is the teacher alone"),
    ({"fold": "train"}, "fold: Input should be 'dev' or 'test'"),
]


@pytest.mark.parametrize(
    ("changes", "message"), WRONG, ids=[str(list(c))[:30] + str(k) for k, (c, _) in enumerate(WRONG)]
)
def test_a_wrong_plan_is_told_in_a_sentence(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AblationError, match=message):
        load_plan(written(tmp_path, **changes))


def test_files_that_are_no_plan(tmp_path: Path) -> None:
    with pytest.raises(
        AblationError, match=r"nowhere: there is no such plan file; the package's plans are: demo, hico_det, sketch"
    ):
        load_plan("nowhere")
    for text, message in (("rows: [", "not a readable plan"), ("- 1", "a plan is a map with the keys rows")):
        (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(AblationError, match=message):
            load_plan(tmp_path / "plan.yaml")


def test_every_row_has_its_first_seed_before_any_has_its_second(tmp_path: Path) -> None:
    rows = [row(), row(name="asked", teacher_only=True), row(name="b")]
    plan = load_plan(written(tmp_path, rows=rows))
    ablation = Ablation(plan, tmp_path, tmp_path / "out")
    assert [cell.name for cell in ablation.cells()] == ["plain/0", "b/0", "asked/0", "plain/1", "b/1"]
    assert [cell.name for cell in ablation.cells(["b"], [5, 1])] == ["b/5", "b/1"]
    assert [cell.name for cell in ablation.cells(["asked"], [1])] == ["asked/0"]
    with pytest.raises(AblationError, match=r"the plan has no row 'plane'; did you mean 'plain'\?"):
        ablation.cells(["plane"])


def test_overrides_are_looked_at_before_anything_runs(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, rows=[row(overrides=["train.epoch=3"])]))
    ablation = Ablation(plan, tmp_path, tmp_path / "out")
    with pytest.raises(OvgsrError, match=r"unknown key 'train.epoch'; did you mean 'epochs'\?"):
        ablation.require_recipes(ablation.cells())
    with pytest.raises(AblationError, match="sets what each cell sets for itself"):
        Ablation(plan, tmp_path, tmp_path / "out", ("data.root=elsewhere",))


def test_the_teachers_folders_reach_the_settings(tmp_path: Path) -> None:
    rows = [row(), row(name="b", signals="fixed", overrides=["model.distilled_readout=true", "distill.views=0.5"])]
    rows.append(row(name="c", signals="tokens", overrides=["distill.tokens=1"]))
    plan = load_plan(written(tmp_path, rows=rows))
    ablation = Ablation(plan, tmp_path, tmp_path / "out 2024", ("train.epochs=3",))
    distill = ablation.config(ablation.cell("b", 0), tmp_path / "made").distill
    assert distill.signals == str(tmp_path / "made")
    assert distill.view_store == str(tmp_path / "out 2024" / "signals" / "views")
    tokens = ablation.config(ablation.cell("c", 0), tmp_path / "cache").distill
    assert (tokens.signals, tokens.token_cache) == (None, str(tmp_path / "cache"))
    assert ablation.config(ablation.cell("plain", 4)).train.seed == 4
    assert ablation.config(ablation.cell("plain", 4)).train.epochs == 3


DIFFERENCES = [
    ({"a": 1}, {"a": 1}, None),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ("a.c", "2", "3")),
    ({"a": 1}, {"a": 1, "b": "x"}, ("b", "null", '"x"')),  # a setting that came later
]


@pytest.mark.parametrize(("kept", "asked", "expected"), DIFFERENCES)
def test_the_first_difference_is_named(kept: Any, asked: Any, expected: tuple[str, str, str] | None) -> None:
    assert first_difference(kept, asked) == expected
