"""The folder that ``hpcpdf solve`` leaves: ranked structures, tables, figure, provenance and a page to read."""

from __future__ import annotations

import csv
import hashlib
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

from hpcpdf.errors import SolverError
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.report import figures, judge, page
from hpcpdf.report.structures import CandidateLike, Geometry, geometry, was_refined, write_cif, write_xyz
from hpcpdf.stage import DONE, mark_finished, provenance, write_json

FAMILY_NAMES: Mapping[str, str] = {
    "fcc": "fcc fragment",
    "sc": "simple cubic fragment",
    "bcc": "bcc fragment",
    "hcp": "hcp fragment",
    "octahedron": "fcc octahedron",
    "decahedron": "decahedron",
    "icosahedron": "icosahedron",
}


def pdf_digest(pdf: Any) -> str:
    """Digest of the measured numbers (`r`, `g`): tells whether two results belong to the same data."""
    both = np.ascontiguousarray(np.stack([np.asarray(pdf.r), np.asarray(pdf.g)]), dtype="<f8")
    return hashlib.sha256(both.tobytes()).hexdigest()


def check_solution_dir(out_dir: str | Path, pdf: Any, *, overwrite: bool = False) -> None:
    """Raise ConfigError if `write_solution` would refuse `out_dir`; meant to be called before solving."""
    page.check_out_dir(Path(out_dir), pdf_digest(pdf), overwrite=overwrite)


def write_solution(
    candidates: Sequence[CandidateLike],
    pdf: Any,
    out_dir: str | Path,
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write ranked candidates to a folder.

    The folder appears complete or not at all. An earlier result for the same data is replaced.

    Parameters
    ----------
    candidates
        Best first; `g_calc` is on the scale of `g_obs`, both on `r`, the fitted range.
    pdf
        The measured PDF (`hpcpdf.read_gr`).
    out_dir
        Holds afterwards ``candidate-01.xyz`` and ``.cif`` …, ``candidates.csv``, ``candidates.json``, ``fit.png``,
        ``fit.pdf``, ``fit.csv`` (the numbers of the figure), ``report.html`` and ``provenance.json``.
    settings
        What produced the candidates, for the record: element, n_samples, r_range, model, seed …
    overwrite
        Also replace a result for other data.

    Returns
    -------
    Path
        The report, ``out_dir/report.html``.

    Raises
    ------
    SolverError
        If there is no candidate.
    ConfigError
        If `out_dir` holds files that are not an earlier result, or one for other data.
    """
    if not candidates:
        raise SolverError(f"{_source(pdf)}: no candidate to report")
    out_dir = Path(out_dir)
    check_solution_dir(out_dir, pdf, overwrite=overwrite)
    settings = page.plain(settings)
    shapes = [geometry(c.atoms.get_positions()) for c in candidates]
    verdict = judge.judge(candidates, pdf)
    rows = [
        _row(rank, c, s, rank - 1 in verdict.equal)
        for rank, (c, s) in enumerate(zip(candidates, shapes, strict=True), start=1)
    ]
    with page.whole_folder(out_dir) as folder:
        for row, candidate in zip(rows, candidates, strict=True):
            write_xyz(folder / row["file"], candidate)
            title = f"{row['formula']}_{row['family']}_rank{row['rank']}"
            write_cif((folder / row["file"]).with_suffix(".cif"), candidate, title=title)
        _write_tables(folder, rows, candidates, pdf, settings)
        best = candidates[0]
        heading = f"{Path(_source(pdf)).name}: {rows[0]['formula']} {_family(best.family)}"
        figure = figures.pdf_figure(best.r, best.g_obs, best.g_calc, title=heading, rw=best.rw)
        figures.save(figure, folder / "fit")
        html = _page(candidates, shapes, rows, verdict, pdf, settings)
        (folder / "report.html").write_text(html, encoding="utf-8")
        files = sorted([*(entry.name for entry in folder.iterdir()), DONE])
        mark_finished(folder, dict(settings), input=_source(pdf), digest=pdf_digest(pdf), files=files)
    return out_dir / "report.html"


def _source(pdf: Any) -> str:
    return str(getattr(pdf, "source", "PDF"))


def _family(name: str) -> str:
    return FAMILY_NAMES.get(name, name)


def subscript(formula: str) -> str:
    """A chemical formula with its numbers set low."""
    return formula.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _before(candidate: CandidateLike) -> float | None:
    return float(candidate.rw_before_refine or 0.0) if was_refined(candidate) else None


def _row(rank: int, candidate: CandidateLike, shape: Geometry, equal: bool) -> dict[str, Any]:
    atoms = candidate.atoms
    return {
        "rank": rank,
        "file": f"candidate-{rank:02d}.xyz",
        "formula": atoms.get_chemical_formula(),
        "family": candidate.family,
        "n_atoms": len(atoms),
        "rw": float(candidate.rw),
        "rw_before_refine": _before(candidate),
        "pearson": float(candidate.pearson),
        "fits_as_well_as_best": equal,
        "scale": float(candidate.scale),
        "zoom": float(candidate.zoom),
        "biso_A2": float(candidate.biso),
        "qdamp_1_per_A": float(candidate.qdamp),
        "delta2_A2": float(candidate.delta2),
        "nn_mean_A": shape.nn_mean,
        "nn_std_A": shape.nn_std,
        "coordination_mean": shape.coordination_mean,
        "bond_cutoff_A": shape.cutoff,
        "diameter_A": shape.diameter,
        "notes": "; ".join(candidate.notes),
    }


def _write_tables(
    folder: Path, rows: Sequence[dict[str, Any]], candidates: Sequence[CandidateLike], pdf: Any, settings: Any
) -> None:
    with (folder / "candidates.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()})
    best = candidates[0]
    document = {
        "input": _source(pdf),
        "qmin_1_per_A": pdf.qmin,
        "qmax_1_per_A": pdf.qmax,
        "r_fit_A": [float(best.r[0]), float(best.r[-1])],
        "settings": settings,
        "candidates": [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in r.items()} for r in rows],
    }
    write_json(folder / "candidates.json", document)
    columns = [best.r, best.g_obs, best.g_calc, np.asarray(best.g_obs) - np.asarray(best.g_calc)]
    header = "r_A,G_observed_A-2,G_calculated_A-2,difference_A-2"
    np.savetxt(folder / "fit.csv", np.column_stack(columns), fmt="%.8g", delimiter=",", header=header, comments="")


def _page(
    candidates: Sequence[CandidateLike],
    shapes: Sequence[Geometry],
    rows: Sequence[dict[str, Any]],
    verdict: judge.Judgement,
    pdf: Any,
    settings: Mapping[str, Any],
) -> str:
    best = candidates[0]
    symbols = sorted({s for c in candidates for s in c.atoms.get_chemical_symbols()})
    bulk = judge.bulk_distance(symbols[0]) if len(symbols) == 1 else None
    full_r, full_g = np.asarray(pdf.r, dtype=float), np.asarray(pdf.g, dtype=float)
    data = {
        "r": page.numbers(best.r, 5),
        "obs": page.numbers(best.g_obs),
        "fullR": page.numbers(full_r, 5),
        "fullG": page.numbers(full_g),
        "colours": {s: [round(255 * float(v)) for v in jmol_colors[atomic_numbers[s]]] for s in symbols},
        "candidates": [
            _candidate_data(c, s, row, best.r, bulk) for c, s, row in zip(candidates, shapes, rows, strict=True)
        ],
    }
    worst = max(float(c.rw) for c in candidates)
    stamp = provenance()
    return page.render(
        "solve.html",
        name=Path(_source(pdf)).name,
        source=_source(pdf),
        element=", ".join(symbols),
        pdf=pdf,
        pdf_notes=tuple(getattr(pdf, "notes", ())),
        r_low=float(best.r[0]),
        r_high=float(best.r[-1]),
        n_points=len(best.r),
        full_low=float(full_r[0]),
        full_high=float(full_r[-1]),
        rows=rows,
        best=rows[0],
        shape=shapes[0],
        bulk=bulk,
        families=FAMILY_NAMES,
        percent=judge.percent,
        subscript=subscript,
        worst=worst,
        judged=verdict,
        refined=any(was_refined(c) for c in candidates),
        notes=list(dict.fromkeys(note for c in candidates for note in c.notes)),
        settings_json=json.dumps(settings, indent=2, ensure_ascii=False),
        bounds=BOUNDS,
        command=shlex.join([Path(stamp["command"][0]).name, *stamp["command"][1:]]),
        stamp=stamp,
        date=datetime.fromisoformat(stamp["time"]).strftime("%-d %B %Y, %H:%M UTC"),
        data=page.embed_json(data),
    )


def _candidate_data(
    candidate: CandidateLike,
    shape: Geometry,
    row: Mapping[str, Any],
    r: NDArray[np.float64],
    bulk: float | None,
) -> dict[str, Any]:
    calculated = np.asarray(candidate.g_calc, dtype=float)
    if len(candidate.r) != len(r) or not np.allclose(candidate.r, r):
        calculated = np.interp(r, candidate.r, calculated)
    return {
        "title": f"{subscript(row['formula'])} {_family(candidate.family)}",
        "formula": row["formula"],
        "comment": f"hpcpdf rank {row['rank']} Rw={row['rw']:.5f} zoom={row['zoom']:.5f} Biso={row['biso_A2']:.4f}",
        "calc": page.numbers(calculated),
        "pos": np.round(np.asarray(candidate.atoms.get_positions(), dtype=float), 4).tolist(),
        "sym": candidate.atoms.get_chemical_symbols(),
        "bonds": shape.bonds.tolist(),
        "cn": shape.coordination.tolist(),
        "nn": round(shape.nn_mean, 4) if math.isfinite(shape.nn_mean) else 2.5,
        "rows": _parameter_rows(row, bulk),
        "regions": [
            [
                f"{region.low:.4g} – {region.high:.4g}",
                f"{region.rw:.3f}",
                f"{100 * region.misfit:.0f} %",
                f"{100 * region.signal:.0f} %",
            ]
            for region in judge.misfit_regions(
                np.asarray(candidate.r), np.asarray(candidate.g_obs), np.asarray(candidate.g_calc)
            )
        ],
    }


def _parameter_rows(row: Mapping[str, Any], bulk: float | None) -> list[list[str]]:
    before = row["rw_before_refine"]
    offset = "" if bulk is None else f"bulk metal {bulk:.3f} Å ({judge.percent(row['nn_mean_A'] / bulk - 1)})"
    rows = [
        ["R_w", f"{row['rw']:.4f}", "" if before is None else f"{before:.4f} before the atoms were moved"],
        ["Pearson correlation", f"{row['pearson']:.4f}", ""],
        ["scale", f"{row['scale']:.4g}", "free, in closed form"],
        ["zoom", f"{row['zoom']:.4f}", "stretch of the starting structure; already in the coordinates"],
        ["Biso (Å²)", f"{row['biso_A2']:.3f}", f"U = {row['biso_A2'] / (8 * math.pi**2):.5f} Å², one for all atoms"],
        ["Qdamp (Å⁻¹)", f"{row['qdamp_1_per_A']:.4f}", "instrument resolution"],
        ["δ2 (Å²)", f"{row['delta2_A2']:.2f}", "correlated motion" if row["delta2_A2"] else "not fitted"],
        ["mean bond length (Å)", f"{row['nn_mean_A']:.3f} ± {row['nn_std_A']:.3f}", offset],
        ["mean coordination", f"{row['coordination_mean']:.2f}", f"neighbours within {row['bond_cutoff_A']:.2f} Å"],
        ["largest distance (Å)", f"{row['diameter_A']:.1f}", "between two atom centres"],
    ]
    fitted = {
        "zoom": ("zoom", row["zoom"]),
        "Biso (Å²)": ("biso", row["biso_A2"]),
        "Qdamp (Å⁻¹)": ("qdamp", row["qdamp_1_per_A"]),
        "δ2 (Å²)": ("delta2", row["delta2_A2"]),
    }
    for line in rows:
        if line[0] in fitted and judge.at_bound(*fitted[line[0]]):
            line[2] += "; on the limit of its range"
    return rows
