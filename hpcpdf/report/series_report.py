"""The trends of a series: a page that opens without a network, the figure, and the numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpcpdf.errors import ConfigError
from hpcpdf.reconstruct.verdict import span
from hpcpdf.report import page
from hpcpdf.report.families import family_name
from hpcpdf.stage import atomic_path, provenance, write_json

Row = Mapping[str, Any]


def write_series(
    out_dir: str | Path,
    rows: Sequence[Row],
    *,
    column: str,
    label: str,
    motifs: Sequence[str],
    failures: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Path:
    """Write ``series.html``, ``series.csv``, ``series.json``, ``series.png`` and ``series.pdf``.

    Parameters
    ----------
    out_dir
        Where to write; the reports of the files are in folders of their names there.
    rows
        Of `hpcpdf.solve_series(...).table`.
    column, label
        The key of what the series runs along, and how it is written along an axis.
    motifs
        Families that every file was searched for.
    failures
        Files that could not be solved, and why.
    settings
        What produced the answers.

    Returns
    -------
    Path
        ``out_dir/series.html``.

    Raises
    ------
    ConfigError
        If the folder cannot be written.
    """
    out_dir = Path(out_dir)
    data = page_data(rows, column=column, label=label, motifs=motifs)
    stamp = provenance()
    places = [row[column] for row in rows]
    html = page.render(
        "series.html",
        rows=rows,
        column=column,
        label=label,
        low=min(places, default=math.nan),
        high=max(places, default=math.nan),
        motifs=[family_name(family) for family in motifs],
        failures=failures,
        family_name=family_name,
        span=span,
        worst=max((row["rw"] for row in rows), default=0.0),
        data=page.embed_json(data),
        stamp=stamp,
        date=datetime.fromisoformat(stamp["time"]).strftime("%-d %B %Y, %H:%M UTC"),
    )
    try:
        for name, content in (("series.csv", csv_text(rows)), ("series.html", html)):
            with atomic_path(out_dir / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        record = {"column": column, "motifs": list(motifs), "failures": dict(failures)}
        plain = page.plain({**record, "settings": settings, "rows": data["rows"], "provenance": stamp})
        write_json(out_dir / "series.json", plain)
        _draw(out_dir, rows, column, label, motifs)
    except OSError as error:
        raise ConfigError(f"{out_dir}: cannot be written: {error.strerror}") from None
    return out_dir / "series.html"


def page_data(rows: Sequence[Row], *, column: str, label: str, motifs: Sequence[str]) -> dict[str, Any]:
    """What the script of the trends draws, as JSON data."""
    return {"column": column, "label": label, "motifs": list(motifs), "rows": [json_row(row) for row in rows]}


def json_row(row: Row) -> dict[str, Any]:
    """A row as JSON data: null for NaN, no digits that nobody needs."""
    return {
        key: (None if not math.isfinite(value) else float(f"{value:.8g}")) if isinstance(value, float) else value
        for key, value in row.items()
    }


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as CSV; empty where there is no number."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in json_row(row).items()})
    return text.getvalue()


def _draw(out_dir: Path, rows: Sequence[Row], column: str, label: str, motifs: Sequence[str]) -> None:
    if not rows:
        return
    # Drawing is imported late: whoever only reads rows does not wait for it.
    from hpcpdf.report import figures

    def values(key: str) -> list[float]:
        return [float(row.get(key, math.nan)) for row in rows]

    def between(key: str, low: str, high: str) -> dict[str, Any]:
        return {"": (values(key), values(low), values(high))}

    def around(key: str, error: str) -> dict[str, Any]:
        ends = [[v + sign * e for v, e in zip(values(key), values(error), strict=True)] for sign in (-1, 1)]
        return {"": (values(key), *ends)}

    none = [math.nan] * len(rows)
    shares = {family: (values(f"p_{family}"), none, none) for family in motifs}
    mixed = [key.removeprefix("weight_") for key in rows[0] if key.startswith("weight_") and "_error" not in key]
    weights = {family: around(f"weight_{family}", f"weight_{family}_error")[""] for family in mixed}
    panels = [
        ("atoms", between("n_atoms", "n_atoms_low", "n_atoms_high")),
        ("largest distance (Å)", between("diameter_A", "diameter_low_A", "diameter_high_A")),
        ("mean bond length (Å)", around("bond_A", "bond_error_A")),
        ("Biso (Å²)", around("biso_A2", "biso_error_A2")),
        ("$R_w$", {"": (values("rw"), none, none)}),
        ("probability of the motif", shares),
        ("sizes: diameter over atoms (Å)", around("size_A", "size_error_A")),
        ("sizes: share of the atoms", weights),
    ]
    panels = [one for one in panels if any(np.isfinite(curve[0]).any() for curve in one[1].values())]
    figure = figures.trends_figure(values(column), label, panels)
    for suffix in ("png", "pdf"):
        with atomic_path(out_dir / f"series.{suffix}") as temporary:
            figures.save(figure, temporary.with_suffix(""), (suffix,))
