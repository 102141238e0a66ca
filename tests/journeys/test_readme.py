"""The README's commands and Python, run as they stand (blocks marked ``<!-- run -->``), on a smaller data set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"<!-- run -->\n```(\w+)\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(README.read_text(encoding="utf-8"))


def test_readme_runs_as_it_stands(tmp_path: Path) -> None:
    found = blocks()
    assert [language for language, _ in found] == ["sh", "python", "sh", "sh"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, text in found:
        if language == "sh":
            # The reader's data set takes half a minute to draw and ten to train on; a test has less time.
            text = text.replace("--train 8000", "--train 60 --dev-per-verb 1 --test-per-verb 1")
            text = text.replace("ovgsr train sketch_open", "ovgsr train smoke train.max_steps=2")
            command = ["bash", "-e", "-o", "pipefail", "-c", text]
        else:
            command = [sys.executable, "-c", text]
        result = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False, env=environment
        )
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
    assert (tmp_path / "predictions" / "juggling_1.png").exists()
    assert (tmp_path / "results.json").exists()
    assert (tmp_path / "zero_shot" / "juggling_1.json").exists()
    assert (tmp_path / "rationales.html").exists()
