"""One page over the results of several measured files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcpdf.report import page
from hpcpdf.report.families import family_name
from hpcpdf.stage import atomic_path, provenance


def write_overview(out_dir: str | Path, folders: Sequence[Path]) -> Path:
    """Write ``overview.html`` and ``overview.csv``: the best candidate of every solved file, a line each.

    Parameters
    ----------
    out_dir
        Where to write.
    folders
        Results of `write_solution`, below `out_dir`.

    Returns
    -------
    Path
        ``out_dir/overview.html``.
    """
    out_dir = Path(out_dir)
    rows = [_row(folder, out_dir) for folder in folders]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    stamp = provenance()
    html = page.render(
        "overview.html",
        rows=rows,
        family_name=family_name,
        subscript=page.subscript,
        worst=max(row["rw"] for row in rows),
        stamp=stamp,
        date=datetime.fromisoformat(stamp["time"]).strftime("%-d %B %Y, %H:%M UTC"),
    )
    for name, content in (("overview.csv", text.getvalue()), ("overview.html", html)):
        with atomic_path(out_dir / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return out_dir / "overview.html"


def _row(folder: Path, out_dir: Path) -> dict[str, Any]:
    document = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
    best = document["candidates"][0]
    keys = ("formula", "family", "n_atoms", "rw", "pearson", "nn_mean_A", "coordination_mean", "diameter_A", "biso_A2")
    return {
        "input": document["input"],
        "report": (folder / "report.html").relative_to(out_dir).as_posix(),
        **{key: best[key] for key in keys},
        "verdict": document["verdict"],
        "candidates": len(document["candidates"]),
        "fit_equally_well": sum(bool(one["fits_as_well_as_best"]) for one in document["candidates"]),
    }
