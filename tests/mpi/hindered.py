"""`hpcpdf` with one rank in trouble: hindered.py RANK SAMPLES TROUBLE ARGUMENTS...

TROUBLE happens before that rank's sample number SAMPLES: `raise` an unexpected error, `data` a DataError, `kill` the
process, `term` send it SIGTERM, `slow` none, but every sample takes 20 ms.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from hpcpdf import DataError
from hpcpdf.cli.main import main
from hpcpdf.dataset import generate

rank, samples, trouble = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
real = generate.cluster_source


def hindered_source(config: Any) -> Any:
    source = real(config)
    calls = 0

    def draw(sample_id: int) -> Any:
        nonlocal calls
        calls += 1
        time.sleep(0.02)
        if int(os.environ.get("PMI_RANK", "0")) == rank and calls == samples:
            if trouble == "raise":
                raise ZeroDivisionError("of all things")
            if trouble == "data":
                raise DataError("the well is poisoned")
            if trouble in ("kill", "term"):
                os.kill(os.getpid(), signal.SIGKILL if trouble == "kill" else signal.SIGTERM)
        return source(sample_id)

    return draw


generate.cluster_source = hindered_source
sys.exit(main(sys.argv[4:]))
