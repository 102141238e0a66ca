"""Puts a finished run's student into the package, in half precision (a few megabytes).

python benchmarks/ship_student.py runs/table/sketch_open_0/student
"""

from __future__ import annotations

import sys
from pathlib import Path

from ovgsr.models.checkpoint import StudentCheckpoint

SHIPPED = Path(__file__).parents[1] / "src" / "ovgsr" / "assets" / "sketch_student"


def main() -> None:
    """Reads a checkpoint, halves its weights and writes it to ``assets/sketch_student``."""
    checkpoint = StudentCheckpoint.from_pretrained(sys.argv[1])
    checkpoint.model.half()
    checkpoint.save_pretrained(SHIPPED)
    for file in sorted(SHIPPED.iterdir()):
        print(f"{file.stat().st_size:>10,} bytes  {file.name}")


if __name__ == "__main__":
    main()
