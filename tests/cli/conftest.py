"""Runs ``ovgsr`` as a person does: a process of its own, its exit code, what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def ovgsr() -> Command:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ovgsr.cli.main", *map(str, arguments)]
        environment = os.environ | {"COLUMNS": "200", "HF_HUB_OFFLINE": "1"}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)

    return run
