"""The page of an answer: everything in one file that opens without a network."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.reconstruct.shape import Geometry
from hpcpdf.reconstruct.solution import Candidate, Solution
from hpcpdf.reconstruct.verdict import misfit_regions
from hpcpdf.report import families, judge, page, sizes, spread
from hpcpdf.report.structures import equivalent_name, symbols_of, was_refined
from hpcpdf.stage import provenance


def solve_page(
    solution: Solution,
    shapes: Sequence[Geometry],
    rows: Sequence[dict[str, Any]],
    judged: judge.Judgement,
    pdf: Any,
    settings: Mapping[str, Any],
    formats: Sequence[str] = (),
    *,
    figure: bool = True,
) -> str:
    """HTML of an answer.

    Parameters
    ----------
    solution, shapes, rows
        The candidates, their geometries and their rows of the table.
    judged
        What they support.
    pdf
        The measured PDF.
    settings
        What produced the answer, as JSON data.
    formats
        Endings of further files of every candidate.
    figure
        Whether ``fit.png`` and ``fit.pdf`` lie beside the page.
    """
    best = solution[0]
    source = str(getattr(pdf, "source", "PDF"))
    symbols = sorted({symbol for c in solution for symbol in symbols_of(c)})
    bulk = judge.bulk_distance(symbols[0]) if len(symbols) == 1 else None
    known = judge.known_instrument(solution)
    full_r, full_g = np.asarray(pdf.r, dtype=float), np.asarray(pdf.g, dtype=float)
    data = {
        "r": page.numbers(best.r, 5),
        "obs": page.numbers(best.g_obs),
        "fullR": page.numbers(full_r, 5),
        "fullG": page.numbers(full_g),
        "colours": {s: [round(255 * float(v)) for v in jmol_colors[atomic_numbers[s]]] for s in symbols},
        "candidates": [
            _candidate_data(c, s, row, best.r, bulk, known) for c, s, row in zip(solution, shapes, rows, strict=True)
        ],
    }
    stamp = provenance()
    posterior = solution.posterior
    return page.render(
        "solve.html",
        name=Path(source).name,
        source=source,
        element=", ".join(symbols),
        pdf=pdf,
        pdf_notes=tuple(getattr(pdf, "notes", ())),
        r_low=float(best.r[0]),
        r_high=float(best.r[-1]),
        n_points=len(best.r),
        full_low=float(full_r[0]),
        full_high=float(full_r[-1]),
        rows=rows,
        formats=formats,
        figure=figure,
        best=rows[0],
        equivalents=[[equivalent_name(one) for one in c.equivalents] for c in solution],
        bulk=bulk,
        family_name=families.family_name,
        percent=judge.percent,
        subscript=page.subscript,
        share=page.share,
        worst=max(float(c.rw) for c in solution),
        judged=judged,
        columns={name: any(row[name] is not None for row in rows) for name in _OPTIONAL},
        certain=any(c.site_certainty is not None for c in solution),
        refined=any(was_refined(c) for c in solution),
        bounds=families.family_rows(solution),
        bounds_said=families.sentences(solution),
        bounds_drawn=families.drawing(solution) if solution.family_bounds else "",
        searched=[families.kind(name) for name in solution.bounds],
        network=bool(settings.get("model")) or settings.get("effort") == "thorough",
        shares=posterior.families,
        intervals=spread.interval_rows(posterior),
        levels=[f"{100 * level:.0f} %" for level in spread.LEVELS],
        spread_drawn=spread.drawing(posterior) if posterior.samples else "",
        n_samples=len(posterior.samples),
        sizes=solution.sizes,
        size_rows=[] if solution.sizes is None else sizes.motif_rows(solution.sizes),
        size_colours=[] if solution.sizes is None else sizes.colours(solution.sizes),
        sizes_drawn="" if solution.sizes is None else sizes.drawing(solution.sizes),
        notes=_own_notes(solution, getattr(pdf, "notes", ())),
        settings_json=json.dumps(settings, indent=2, ensure_ascii=False),
        limits=BOUNDS,
        known_instrument=known,
        command=shlex.join([Path(stamp["command"][0]).name, *stamp["command"][1:]]),
        stamp=stamp,
        date=datetime.fromisoformat(stamp["time"]).strftime("%-d %B %Y, %H:%M UTC"),
        data=page.embed_json(data),
    )


def _own_notes(solution: Solution, of_pdf: Sequence[str]) -> list[str]:
    """What was noted of the answer; notes on the PDF stand beside it."""
    notes = dict.fromkeys([*solution.notes, *(note for c in solution for note in c.notes)])
    return [note for note in notes if note not in of_pdf]


_OPTIONAL = ("probability", "rw_before_refine", "rw_relaxed", "family_bound")
"""Columns of the ranking that are shown only where something stands in them."""


_DRAWN = 3000
"""Atoms up to which all are drawn. Those inside larger particles, with all their neighbours, are hidden anyway."""


def _candidate_data(
    candidate: Candidate,
    shape: Geometry,
    row: Mapping[str, Any],
    r: NDArray[np.float64],
    bulk: float | None,
    known: bool,
) -> dict[str, Any]:
    calculated = candidate.g_calc
    if len(candidate.r) != len(r) or not np.allclose(candidate.r, r):
        calculated = np.interp(r, candidate.r, calculated)
    certainty = candidate.site_certainty
    seen = _seen(shape)
    part = len(seen) < candidate.n_atoms
    place = np.full(candidate.n_atoms, -1, dtype=np.int64)
    place[seen] = np.arange(len(seen))
    bonds = place[shape.bonds]
    symbols = symbols_of(candidate)
    neighbours, atoms = np.unique(shape.coordination, return_counts=True)
    return {
        "title": f"{page.subscript(row['formula'])} {families.family_name(candidate.family)}",
        "formula": row["formula"],
        "comment": f"hpcpdf rank {row['rank']} Rw={row['rw']:.5f} zoom={row['zoom']:.5f} Biso={row['biso_A2']:.4f}",
        "calc": page.numbers(calculated),
        "pos": np.round(candidate.atoms.positions[seen], 4).tolist(),
        "sym": [symbols[i] for i in seen],
        "bonds": bonds[np.all(bonds >= 0, axis=1)].tolist(),
        "cn": shape.coordination[seen].tolist(),
        "certainty": None if certainty is None else np.round(certainty[seen], 3).tolist(),
        "ids": (seen + 1).tolist() if part else None,
        "file": row["file"] if part else None,
        "counts": [[int(k), int(n)] for k, n in zip(neighbours, atoms, strict=True)],
        "nn": round(shape.nn_mean, 4) if math.isfinite(shape.nn_mean) else 2.5,
        "rows": _parameter_rows(row, bulk, known),
        "steps": _steps(row),
        "regions": [
            [
                f"{region.low:.4g} – {region.high:.4g}",
                f"{region.rw:.3f}",
                f"{100 * region.misfit:.0f} %",
                f"{100 * region.signal:.0f} %",
            ]
            for region in misfit_regions(candidate.r, candidate.g_obs, candidate.g_calc)
        ],
    }


def _seen(shape: Geometry) -> NDArray[np.int64]:
    """Atoms that the viewer is given: all, or of a large particle those that are not hidden behind others."""
    coordination = shape.coordination
    if len(coordination) <= _DRAWN:
        return np.arange(len(coordination))
    return np.flatnonzero(coordination < coordination.max())


def _steps(row: Mapping[str, Any]) -> list[list[Any]]:
    """R_w with more and more freedom, and what no rigid particle of the family can beat."""
    refined = row["rw_before_refine"] is not None
    steps = [
        ["bound of the family", row["family_bound"]],
        ["rigid", row["rw_before_refine"] if refined else row["rw"]],
        ["surface relaxed", row["rw_relaxed"]],
        ["all atoms free", row["rw"] if refined else None],
    ]
    return [[name, round(rw, 4)] for name, rw in steps if rw is not None]


def _parameter_rows(row: Mapping[str, Any], bulk: float | None, known: bool) -> list[list[str]]:
    before = row["rw_before_refine"]
    offset = "" if bulk is None else f"bulk metal {bulk:.3f} Å ({judge.percent(row['nn_mean_A'] / bulk - 1)})"
    rows = [
        ["R_w", f"{row['rw']:.4f}", "" if before is None else f"{before:.4f} before the atoms were moved"],
        ["Pearson correlation", f"{row['pearson']:.4f}", ""],
        ["scale", f"{row['scale']:.4g}", "free, in closed form"],
        ["zoom", f"{row['zoom']:.4f}", "stretch of the starting structure; already in the coordinates"],
        ["Biso (Å²)", f"{row['biso_A2']:.3f}", f"U = {row['biso_A2'] / (8 * math.pi**2):.5f} Å², one for all atoms"],
        ["Qdamp (Å⁻¹)", f"{row['qdamp_1_per_A']:.4f}", f"instrument resolution{', of a calibration' if known else ''}"],
        [
            "δ2 (Å²)",
            f"{row['delta2_A2']:.2f}",
            "correlated motion" if row["delta2_A2"] else "none asked for",
        ],
        ["mean bond length (Å)", f"{row['nn_mean_A']:.3f} ± {row['nn_std_A']:.3f}", offset],
        ["mean coordination", f"{row['coordination_mean']:.2f}", f"neighbours within {row['bond_cutoff_A']:.2f} Å"],
        ["largest distance (Å)", f"{row['diameter_A']:.1f}", "between two atom centres"],
    ]
    if row["probability"] is not None:
        others = f"with {row['equivalents']}" if row["equivalents"] else ""
        rows.insert(0, ["probability", f"{100 * row['probability']:.3g} %", others])
    fitted = {
        "zoom": ("zoom", row["zoom"]),
        "Biso (Å²)": ("biso", row["biso_A2"]),
        "Qdamp (Å⁻¹)": ("qdamp", row["qdamp_1_per_A"]),
        "δ2 (Å²)": ("delta2", row["delta2_A2"]),
    }
    if known:
        del fitted["Qdamp (Å⁻¹)"]
    for line in rows:
        if line[0] in fitted and judge.at_bound(*fitted[line[0]]):
            line[2] += "; on the limit of its range"
    return rows
