"""How time and memory of everything that reads SWiG grow with its size, up to the original's 126,102 pictures.

Run: python benchmarks/bench_scale.py --work DIR [--sizes 0.01,0.1,1.0]

Makes data sets with ``full_size_swig.py`` (0.6 GB on disk for the largest, and its rationales), runs the package's own
commands over each in a process of its own, and prints CPU seconds and peak memory as Markdown, with the power of the
size that the time beyond starting grows by between the last two. A data set that is there already is used as it is.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
STARTING = "starting Python with the package"
OVGSR = (sys.executable, "-m", "ovgsr.cli.main")
OPEN = """
import sys, time
from ovgsr.config import DataSettings
from ovgsr.data.targets import encode_all_targets
from ovgsr.training.training_data import read_training_data
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
started, before = time.process_time(), memory()
data = read_training_data(DataSettings(root=sys.argv[1]))
read, after = time.process_time(), memory()
encode_all_targets(data.train, data.vocabulary, data.vocabulary.max_roles)
encoded = time.process_time()
print(f"{read - started:.2f} s and {after - before:.0f} MB to open, {encoded - read:.2f} s to encode all targets")
"""


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    seconds: float
    megabytes: float
    said: str


def run(command: tuple[str, ...]) -> Cost:
    """CPU seconds, peak memory and the last line of output. Raises RuntimeError where the command fails."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = process.stdout.read().strip().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # Rationales end with 1 where some pictures are quarantined: that is a result, not a failure.
    if process.returncode and not any("quarantined" in line for line in lines):
        raise RuntimeError(f"{' '.join(command)}\n" + "\n".join(lines[-20:]))
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3, lines[-1] if lines else "")


def stages(root: Path, whole: bool, parts: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The commands, in order; of the rationales one of so many parts."""
    data, predictions = str(root), str(root.with_suffix(".jsonl"))
    shutil.rmtree(root / "ovgsr_index", ignore_errors=True)
    shutil.rmtree(root.with_suffix(".rationales"), ignore_errors=True)
    yield STARTING, (sys.executable, "-c", "import ovgsr.training.training_data")
    yield "open the training set, from JSON", (sys.executable, "-c", OPEN, data)
    yield "ovgsr data prepare", (*OVGSR, "data", "prepare", "swig" if whole else "custom", "--root", data)
    yield "open the training set, from the index", (sys.executable, "-c", OPEN, data)
    yield "ovgsr data prepare, again", (*OVGSR, "data", "prepare", "swig" if whole else "custom", "--root", data)
    yield "ovgsr data check", (*OVGSR, "data", "check", data)
    rationales = ("--data", data, "--out", str(root.with_suffix(".rationales")), "--shard", f"1/{parts}")
    yield "ovgsr teacher rationales (template)", (*OVGSR, "teacher", "rationales", *rationales)
    yield "ovgsr evaluate --predictions", (*OVGSR, "evaluate", "--predictions", predictions, "--data", data)
    yield "ovgsr data split", (*OVGSR, "data", "split", data, "--out", str(root.with_suffix(".split.json")))


def measure(work: Path, size: float, parts: int) -> dict[str, Cost]:
    """The cost of each stage on a data set of one size."""
    root = work / f"swig_{size:g}".replace(".", "_")
    costs: dict[str, Cost] = {}
    if not root.exists():
        made = (sys.executable, str(HERE / "full_size_swig.py"), "--out", str(root), "--size", str(size))
        costs["full_size_swig.py"] = run((*made, "--predictions", str(root.with_suffix(".jsonl"))))
    for name, command in stages(root, size == 1, parts):
        costs[name] = run(command)
        print(
            f"{size:g}: {name}: {costs[name].seconds:.1f} s, {costs[name].megabytes:.0f} MB; {costs[name].said}",
            flush=True,
        )
    return costs


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", default="0.01,0.1,1.0")
    parser.add_argument("--rationale-parts", type=int, default=1, help="write only the first of so many parts of them")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    sizes = sorted(float(size) for size in arguments.sizes.split(","))
    arguments.work.mkdir(parents=True, exist_ok=True)
    costs = {size: measure(arguments.work, size, arguments.rationale_parts) for size in sizes}
    print("\n| stage | " + " | ".join(f"{size:g}: CPU s, MB" for size in sizes) + " | time grows as size to the |")
    print("| --- |" + " ---: |" * (len(sizes) + 1))
    for name in costs[sizes[-1]]:
        cells = [f"{c.seconds:.1f}, {c.megabytes:.0f}" if (c := costs[size].get(name)) else "" for size in sizes]
        power = ""
        if len(sizes) > 1 and name in costs[sizes[-2]]:
            last, before = (costs[s][name].seconds - costs[s][STARTING].seconds for s in (sizes[-1], sizes[-2]))
            if before > 0 and last > 0:
                power = f"{math.log(last / before) / math.log(sizes[-1] / sizes[-2]):.2f}"
        print(f"| {name} | {' | '.join(cells)} | {power} |")


if __name__ == "__main__":
    main()
