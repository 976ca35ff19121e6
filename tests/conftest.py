"""Shared by all tests: which hpcpdf is tested, and how the command line is called."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the checkout on sys.path, where hpcpdf has no compiled core unless it is installed in
# editable mode. The installed package is what users get, so it is what is tested.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
os.environ["PYTHONSAFEPATH"] = "1"  # the same for processes that tests start


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hpcpdf_command(tmp_path: Path) -> Command:
    """Call the installed `hpcpdf` command in an empty folder, `tmp_path`, on one thread."""

    def call(*arguments: object, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("hpcpdf")), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=tmp_path, env=environment)

    return call
