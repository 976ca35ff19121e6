"""What starts ranks on this machine, as tests use it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def mpiexec() -> str:
    """The mpiexec of the mpich wheel, beside the interpreter or on the path.

    Where there is none the test is skipped, or fails if HPCPDF_REQUIRE_MPI is set.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        missing = "mpiexec is missing; pip install 'hpcpdf[test]'"
        if os.environ.get("HPCPDF_REQUIRE_MPI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found
