"""Arrays of any shape, order and type handed to the compiled functions, for half a minute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "fuzz_bindings.py"


@pytest.mark.slow
def test_no_call_crashes_or_depends_on_the_layout_of_its_arrays():
    seconds = os.environ.get("HPCPDF_FUZZ_SECONDS", "30")
    done = subprocess.run([sys.executable, SCRIPT, "--seconds", seconds], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    cases, refused = (int(word) for word in done.stdout.split() if word.isdigit())
    assert 0 < refused < cases
