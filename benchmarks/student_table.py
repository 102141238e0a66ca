"""The tables of docs/results.md: each recipe trained and scored with several seeds, mean and standard deviation.

python benchmarks/student_table.py --data data/sketch_swig --out runs/table --jobs 2 sketch_open sketch_closed

Resumable: a finished run is not trained again, a stopped one goes on. Each job uses one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROWS = (
    ("verb top-1", ("verb_top1",)),
    ("verb top-5", ("verb_top5",)),
    ("value, top-1 verb", ("top1", "value")),
    ("value-all, top-1 verb", ("top1", "value_all")),
    ("grounded, top-1 verb", ("top1", "grnd_value")),
    ("grounded-all, top-1 verb", ("top1", "grnd_value_all")),
    ("value, top-5 verbs", ("top5", "value")),
    ("grounded, top-5 verbs", ("top5", "grnd_value")),
    ("value, gold verb", ("ground_truth_verb", "value")),
    ("value-all, gold verb", ("ground_truth_verb", "value_all")),
    ("grounded, gold verb", ("ground_truth_verb", "grnd_value")),
    ("grounded-all, gold verb", ("ground_truth_verb", "grnd_value_all")),
)
GROUPS = ("all", "seen", "rare", "unseen")


def train_and_score(recipe: str, seed: int, data: Path, out: Path, fold: str, overrides: list[str]) -> dict[str, Any]:
    """One run; returns its results file."""
    run, results = out / f"{recipe}_{seed}", out / f"{recipe}_{seed}.{fold}.json"
    ovgsr = [sys.executable, "-m", "ovgsr.cli.main"]
    with (out / f"{recipe}_{seed}.log").open("a") as log:
        if not (run / "student" / "config.json").exists():
            train = [*ovgsr, "train", recipe, *overrides, "--out", str(run), "--data", str(data), "--seed", str(seed)]
            subprocess.run([*train, *(["--resume"] if run.exists() else [])], check=True, stdout=log, stderr=log)
        if not results.exists():
            model = ["--model", str(run / "student"), "--data", str(data), "--fold", fold, "--json", str(results)]
            subprocess.run([*ovgsr, "evaluate", *model], check=True, stdout=log, stderr=log)
    found: dict[str, Any] = json.loads(results.read_text())
    return found


def cell(values: list[float | None]) -> str:
    """Mean and standard deviation of the seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return f"{statistics.mean(known):.1f} ± {spread:.1f}"


def lookup(result: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """A number deep in a results file, None where it is absent."""
    value: Any = result
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else float(value)


def table(results: list[dict[str, Any]], block: tuple[str, ...]) -> str:
    """Markdown of one recipe: metrics down, subsets across. ``block`` is empty or ("with_offset",)."""
    lines = ["| | " + " | ".join(GROUPS) + " |", "| --- |" + " --- |" * len(GROUPS)]
    for name, path in ROWS:
        cells = [cell([lookup(result, (*block, group, *path)) for result in results]) for group in GROUPS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    harmonic = cell([lookup(result, (*block, "harmonic_mean_verb_top1")) for result in results])
    lines.append(f"\nHarmonic mean of seen and unseen verb top-1: {harmonic}.")
    if not block:
        ausuc = cell([lookup(result, ("open_vocabulary", "ausuc")) for result in results])
        among = cell([lookup(result, ("open_vocabulary", "unseen_among_unseen_verb_top1")) for result in results])
        lines.append(f"AUSUC {ausuc}; unseen among unseen {among}.")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fold", default="test")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="settings for every run: section.key=value")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    work = [(recipe, seed) for seed in given.seeds for recipe in given.recipes]
    with ThreadPoolExecutor(given.jobs) as pool:
        jobs = [pool.submit(train_and_score, *job, given.data, given.out, given.fold, given.set) for job in work]
        found = [job.result() for job in jobs]
    for recipe in given.recipes:
        results = [result for (name, _), result in zip(work, found, strict=True) if name == recipe]
        print(f"\n**{recipe}**, {len(results)} seeds, fold {given.fold}, percent\n\n{table(results, ())}")
        if all("with_offset" in result for result in results):
            print(f"\nWith the constant for unseen verbs:\n\n{table(results, ('with_offset',))}")


if __name__ == "__main__":
    main()
