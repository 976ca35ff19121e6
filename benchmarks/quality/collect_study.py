"""Keeps what a study of ``examples/paper.toml`` found, without weights and data sets:

    python benchmarks/quality/collect_study.py runs/paper benchmarks/quality/paper

Tables, report and figures as they are; for each member its scores, structures on the ways and learning curve; and
``members.csv``: when and from which commit each was made, on what, and how long it took.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from hpcpdf.evaluate.case import write_rows
from hpcpdf.report.artefacts import read_marker

KEPT = ("scores/scores.csv", "scores/intermediates.csv", "scores/satellites.csv", "model/metrics.jsonl")
COLUMNS = ("epochs", "best_epoch", "training_seconds", "scoring_seconds")


def main(run: Path, out: Path) -> None:
    for part in ("study", "report"):
        shutil.rmtree(out / part, ignore_errors=True)
        shutil.copytree(run / part, out / part, ignore=shutil.ignore_patterns("provenance.json"))
    rows = []
    for folder in sorted((run / "members").iterdir()):
        if not (folder / "scores" / "provenance.json").exists():
            continue
        made = read_marker(folder / "scores", "run")["provenance"]
        summary = json.loads((folder / "scores" / "summary.json").read_text())
        machine = f"{made['cpus']} x {made['machine']}"
        rows.append([folder.name, *(summary[name] for name in COLUMNS), made["commit"], machine, made["time"]])
        for name in KEPT:
            if not (folder / name).exists():  # no ways between test clusters of one size
                continue
            target = out / "members" / folder.name / Path(name).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
    write_rows(out / "members.csv", ["member", *COLUMNS, "commit", "machine", "finished"], rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
