"""Fast work for a followed folder: answers with nothing in them but the digest of what was read.

Also a process to kill: ``python live_work.py FOLDER OUT LOG`` follows until it is ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from hpcpdf.live.entry import digest_of
from hpcpdf.live.follow import Follower
from hpcpdf.pdf.fq import Reading
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.report import page
from hpcpdf.report.solve_report import pdf_digest
from hpcpdf.stage import DONE

ROW = {"rw": 0.1, "verdict": "good", "family": "fcc", "n_atoms": 55, "p_fcc": 1.0}


class FastWork:
    """Solves a file in no time, and writes a line to `log` for every answer that it leaves.

    Clear `go` to hold it between reading a file and writing its answer; `held` is set when it is there.
    """

    def __init__(self, log: Path) -> None:
        self.log, self.go, self.held = log, threading.Event(), threading.Event()
        self.go.set()

    def read(self, path: Path) -> MeasuredPdf:
        return Reading().read(path)

    def solve(self, path: Path, out: Path, neighbour: Path | None) -> dict[str, Any]:
        digest = pdf_digest(self.read(path))
        self.held.set()
        self.go.wait(20.0)
        with page.whole_folder(out) as folder:
            (folder / DONE).write_text(json.dumps({"digest": digest, "files": [DONE]}), encoding="utf-8")
        line = f"{path.name} {digest} {'' if neighbour is None else neighbour.name}\n"
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())
        os.close(handle)
        return dict(ROW)

    def recall(self, path: Path, out: Path) -> dict[str, Any]:
        assert digest_of(out)
        return dict(ROW)

    def done(self) -> list[tuple[str, str]]:
        """Names and digests of the answers that were left, in order."""
        if not self.log.exists():
            return []
        lines = (line.split(" ") for line in self.log.read_text(encoding="utf-8").splitlines())
        return [(name, digest) for name, digest, *_ in lines]


def text_of(number: int, points: int = 40) -> str:
    """A small .gr file; each number has another content."""
    rows = [f"{0.4 * k:.2f} {np.sin(0.9 * k) + 1e-5 * number:.5f}" for k in range(1, points + 1)]
    return "\n".join(["# measured", *rows]) + "\n"


def follower(folder: Path, out: Path, work: FastWork, **options: Any) -> Follower:
    """Of a folder, by threads of this process, quick to look again."""
    given = {"settings": {"element": "Pt"}, "processes": False, "interval": 0.05, **options}
    return Follower(folder, out, work, **given)


if __name__ == "__main__":
    folder, out, log = map(Path, sys.argv[1:4])
    follower(folder, out, FastWork(log), at_once=2).run()
