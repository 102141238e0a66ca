"""Puts a pretrained teacher into the package (half precision, a few megabytes).

python benchmarks/ship_teacher.py runs/teacher/teacher
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "src" / "ovgsr" / "assets" / "sketch_teacher"


def main() -> None:
    """Copies the folder that ``ovgsr teacher pretrain`` wrote to ``assets/sketch_teacher``, beside its README.md."""
    shutil.copytree(sys.argv[1], SHIPPED, dirs_exist_ok=True)
    for file in sorted(SHIPPED.iterdir()):
        print(f"{file.stat().st_size:>10,} bytes  {file.name}")


if __name__ == "__main__":
    main()
