"""Fast work for a followed folder: answers with nothing in them but the digest of what was read.

Also a process to kill: ``python live_work.py FOLDER OUT LOG`` follows until it is ended.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpcpdf.live.entry import digest_of
from hpcpdf.live.follow import Follower
from hpcpdf.pdf.gr import read_gr
from hpcpdf.report import page
from hpcpdf.report.solve_report import pdf_digest
from hpcpdf.stage import DONE, write_json

ROW = {"rw": 0.1, "verdict": "good", "family": "fcc", "n_atoms": 55, "p_fcc": 1.0}


class FastWork:
    """Solves a file in no time, and writes a line to `log` for every answer that it leaves."""

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        self.log, self.seconds = log, seconds

    def __call__(self, path: Path, out: Path, neighbour: Path | None) -> dict[str, Any]:
        digest = pdf_digest(read_gr(path))
        time.sleep(self.seconds)
        with page.whole_folder(out) as folder:
            write_json(folder / DONE, {"digest": digest, "files": [DONE]})
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
        return [tuple(line.split(" ")[:2]) for line in self.log.read_text(encoding="utf-8").splitlines()]  # type: ignore[misc]


def text_of(number: int, points: int = 60) -> str:
    """A small .gr file; each number has another content."""
    rows = [f"{0.1 * k:.2f} {(1.0 + 0.001 * number) * np.sin(0.3 * k):.5f}" for k in range(1, points + 1)]
    return "\n".join(["# measured", *rows]) + "\n"


def follower(folder: Path, out: Path, work: FastWork, **options: Any) -> Follower:
    """Of a folder, by threads of this process, quick to look again."""
    given = {"settings": {"element": "Pt"}, "processes": False, "interval": 0.05, **options}
    return Follower(folder, out, work, work.recall, **given)


if __name__ == "__main__":
    folder, out, log = map(Path, sys.argv[1:4])
    follower(folder, out, FastWork(log, 0.001), at_once=2).run()
