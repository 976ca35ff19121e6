"""What measured PDFs decide: from a sphere without a shape to free coordinates, with what each description spends.

    HPCPDF_MEASURED=~/pdfs python benchmarks/quality/measured.py --out benchmarks/quality/measured.json

Writes the JSON and, beside it, the same as tables in a .txt. A description is worth its numbers if it lowers
n ln R_w² + k ln n, with n = Δr (qmax − qmin) / π independent points and k fitted numbers, the scale among them. A rigid
shape spends one more for each face of its convex hull: where it lies. Coordinates spend 3 N − 6.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hpcpdf
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.sphere import CRYSTALS, SphereFit, fit_sphere
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.metrics import independent_points
from hpcpdf.reconstruct.relax import relax_surface
from hpcpdf.reconstruct.shape import faces
from hpcpdf.stage import provenance, write_json

SAMPLES = {"JQ_S1.gr": "Pt", "Au144pMBA.gr": "Au", "Ni-bulk.gr": "Ni"}
CLEAR = 10.0
"""Differences of the criterion from here on are very strong evidence (Kass & Raftery, J. Am. Stat. Assoc. 90, 1995)."""
CLOSE = 2.0
SAME = {"octahedron": "fcc"}
"""Families that share a lattice."""


@dataclass(frozen=True)
class Row:
    """One description of one PDF."""

    kind: str
    """sphere, shape, other, relaxed or coordinates."""
    label: str
    family: str
    rw: float
    numbers: int
    bic: float
    detail: str = ""


def lattice(family: str) -> str:
    return SAME.get(family, family)


def spheres(fitter: PdfFitter, qdamp: float | None) -> list[SphereFit]:
    """The spheres of all crystals that can be fitted, the best first."""
    data = PdfData(fitter.r, fitter.g_obs, fitter.params, qdamp)
    start = PdfData.thinned(fitter.r, fitter.g_obs, fitter.params, qdamp)
    found = []
    for family in CRYSTALS:
        first = fit_sphere(start, family)
        fit = first and fit_sphere(data, family, first.widths)
        found += [fit] if fit else []
    return sorted(found, key=lambda fit: fit.rw)


def sphere_row(fitter: PdfFitter, fit: SphereFit) -> Row:
    low, high = fit.diameters
    detail = f"D {fit.diameter:.1f} Å ({low:.1f}-{high:.1f}), bond {fit.bond:.4f} Å, U {fit.u:.4f} Å², "
    detail += f"delta2 {fit.delta2:.1f} Å², qdamp {fit.qdamp:.3f} 1/Å"
    if fit.bulk:
        detail += f"; bulk: without an end R_w {fit.crystal_rw:.4f}"
    return Row(
        "sphere", f"{fit.family} sphere", fit.family, fit.rw, fit.parameters, fitter.bic(fit.rw, fit.parameters), detail
    )


def structure_row(
    kind: str, label: str, fitter: PdfFitter, atoms: Any, family: str, more: int, detail: str = ""
) -> Row:
    """A structure as `fit_pdf` sees it, `more` numbers spent on where its atoms are."""
    fit = fitter.fit_exactly(atoms)
    numbers = fit.n_parameters + more
    detail = f"N {len(atoms)}" + (f", {detail}" if detail else "")
    return Row(kind, label, family, fit.rw, numbers, fitter.bic(fit.rw, numbers), detail)


def decided(rows: Sequence[Row], sphere: SphereFit, bounds: dict[str, float]) -> str:
    """What the data decide, in words."""
    by = {row.kind: row for row in rows}
    ball, shape = by["sphere"], by["shape"]
    parts = []
    if sphere.bulk:
        parts.append(f"Bulk {sphere.family}, no particle: a crystal without an end fits as well as any sphere.")
        if shape.bic >= ball.bic:
            return parts[0]
    else:
        low, high = sphere.diameters
        parts.append(f"Bond {sphere.bond:.3f} Å and a diameter of {low:.0f}-{high:.0f} Å from the sphere alone.")
    gain = ball.bic - shape.bic
    if gain >= CLEAR:
        parts.append(f"A shape is seen: {shape.label} lowers the criterion by {gain:.0f}.")
    elif gain > -CLOSE:
        parts.append("Shape or sphere: not decided.")
    else:
        parts.append(
            f"No shape is seen: R_w {ball.rw:.3f} -> {shape.rw:.3f} for {shape.numbers - ball.numbers} more numbers "
            f"raises the criterion by {-gain:.0f}."
        )
    other = by.get("other")
    if other is not None:
        lead = other.bic - shape.bic
        if lead >= CLEAR:
            parts.append(f"{shape.family} rather than {other.family} (criterion lower by {lead:.0f}).")
        elif lead <= -CLEAR:
            parts.append(
                f"{other.family} at fewer numbers rather than {shape.family} (criterion lower by {-lead:.0f})."
            )
        else:
            parts.append(f"{shape.family} or {other.family}: not decided.")
    excluded = sorted(family for family, rw in bounds.items() if rw > shape.rw)
    if excluded:
        parts.append(f"Excluded by their bounds: {', '.join(excluded)}.")
    relaxed = by.get("relaxed")
    if relaxed is not None:
        gain = shape.bic - relaxed.bic
        said = f"seen (criterion lower by {gain:.0f})" if gain >= CLOSE else "not seen"
        parts.append(f"Relaxation of the surface: {said}.")
    free = by.get("coordinates")
    if free is not None:
        best = min(row.bic for row in rows if row.kind != "coordinates")
        said = "worth it" if free.bic < best else "more than the data can tell"
        parts.append(f"Coordinates of all atoms: {said}.")
    return " ".join(parts)


def describe(path: Path, element: str, r_range: tuple[float, float], **options: Any) -> dict[str, Any]:
    """All descriptions of one PDF."""
    pdf = hpcpdf.read_gr(path)
    fitter = PdfFitter(pdf, r_range)
    times = {}

    def timed(name: str, call: Any) -> Any:
        begun = time.process_time()
        result = call()
        times[name] = round(time.process_time() - begun, 2)
        return result

    balls = timed("sphere", lambda: spheres(fitter, pdf.parameter("qdamp")))
    rows = [sphere_row(fitter, balls[0])]
    with warnings.catch_warnings():
        # Ligands in the composition are ignored, and said to be.
        warnings.simplefilter("ignore")
        rigid = timed("rigid", lambda: hpcpdf.solve(pdf, element=element, refine=False, r_range=r_range, **options))
        free = timed("refined", lambda: hpcpdf.solve(pdf, element=element, refine=True, r_range=r_range, **options))
    best = rigid[0]
    bounded = faces(best.atoms.positions)
    rows.append(
        structure_row("shape", f"{best.family} shape", fitter, best.atoms, best.family, bounded, f"{bounded} faces")
    )
    others = [found for found in rigid if lattice(found.family) != lattice(best.family)]
    if others:
        other = min(others, key=lambda found: found.rw)
        k = faces(other.atoms.positions)
        rows.append(structure_row("other", f"{other.family} shape", fitter, other.atoms, other.family, k, f"{k} faces"))
    moved, _, strain = timed("relaxed", lambda: relax_surface(best.atoms, fitter))
    spent = sum(strain[name] != 0.0 for name in ("surface", "radial"))
    if spent:
        said = ", ".join(f"{name} {strain[name]:+.3f}" for name in ("surface", "radial") if strain[name])
        row = structure_row("relaxed", "relaxed surface", fitter, moved, best.family, bounded + spent, said)
        rows.append(row)
    else:
        same = rows[1]
        rows.append(
            Row("relaxed", "relaxed surface", best.family, same.rw, same.numbers, same.bic, "none was worth it")
        )
    n = len(free[0].atoms)
    rows.append(structure_row("coordinates", "all coordinates", fitter, free[0].atoms, free[0].family, 3 * n - 6))
    bounds = dict(getattr(rigid, "bounds", {}))
    points = independent_points(fitter.r, fitter.params.qmin, fitter.params.qmax)
    return {
        "file": path.name,
        "element": element,
        "r_range": list(r_range),
        "independent_points": round(points, 1),
        "descriptions": [asdict(row) for row in rows],
        "spheres": {fit.family: fit.rw for fit in balls},
        "bounds": bounds,
        "decided": decided(rows, balls[0], bounds),
        "processor_seconds": times,
    }


def table(result: dict[str, Any]) -> str:
    low, high = result["r_range"]
    points = f"{result['independent_points']:.0f} independent points"
    lines = [
        f"{result['file']} ({result['element']}), {low:g}-{high:g} Å, {points}",
        f"{'':18s} {'R_w':>7s} {'numbers':>8s} {'BIC':>9s}",
    ]
    for row in result["descriptions"]:
        lines.append(f"{row['label']:18s} {row['rw']:7.4f} {row['numbers']:8d} {row['bic']:9.1f}  {row['detail']}")
    if result["bounds"]:
        said = ", ".join(f"{family} {rw:.3f}" for family, rw in sorted(result["bounds"].items(), key=lambda x: x[1]))
        lines.append(f"lowest R_w of any rigid particle: {said}")
    return "\n".join([*lines, result["decided"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file; the tables go beside it as .txt")
    parser.add_argument("--files", nargs="+", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--r-range", nargs=2, type=float, default=(1.5, 20.0), metavar=("LOW", "HIGH"))
    parser.add_argument(
        "--effort", choices=("quick", "normal", "thorough"), help="of the search; default: that of solve"
    )
    asked = parser.parse_args()
    if "HPCPDF_MEASURED" not in os.environ:
        sys.exit("HPCPDF_MEASURED: expected the folder of the measured PDFs")
    folder = Path(os.environ["HPCPDF_MEASURED"])
    options = {"effort": asked.effort} if asked.effort else {}
    results = []
    for name in asked.files:
        results.append(describe(folder / name, SAMPLES[name], tuple(asked.r_range), **options))
        print(table(results[-1]), flush=True, end="\n\n")
    made = {key: value for key, value in provenance().items() if key not in ("host", "command")}
    write_json(asked.out, {"results": results, "provenance": made})
    asked.out.with_suffix(".txt").write_text("\n\n".join(map(table, results)) + "\n")


if __name__ == "__main__":
    main()
