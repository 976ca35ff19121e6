"""Series of 22 simulated files with known trends: what is recovered, and the time a file.

    python benchmarks/quality/series.py --out benchmarks/quality/series.json

Three series of platinum at 1 % noise, qdamp not told: bond length and Biso grow with temperature at a fixed shape; the
same with a particle that grows by its facets; the fixed one at 5 % noise. Each is solved by the command line as a user
would (``hpcpdf solve DIR --series``), with all reports written.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

import hpcpdf
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.stage import provenance, write_json

FILES = 22
QMIN, QMAX, QDAMP = 0.8, 25.0, 0.03
NORMALS = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)


@dataclass(frozen=True)
class Truth:
    """One file: temperature (K), structure, Biso (Å²)."""

    temperature: float
    atoms: Atoms
    bond: float
    biso: float


def body(size: float, bond: float, heights: np.ndarray) -> Atoms:
    """An fcc body whose facets stand at `size` times their heights, in bond lengths."""
    steps = np.arange(-9, 10)
    i, j, k = (axis.ravel() for axis in np.meshgrid(steps, steps, steps, indexing="ij"))
    sites = np.column_stack([i + j, i + k, j + k]) / np.sqrt(2.0)
    normals = NORMALS / np.linalg.norm(NORMALS, axis=1)[:, None]
    inside = (sites @ np.vstack([normals, -normals]).T <= size * heights + 1e-9).all(axis=1)
    positions = bond * sites[inside]
    return Atoms(f"Pt{len(positions)}", positions=positions)


def truths(kind: str) -> list[Truth]:
    """What the files of a series hold."""
    rng = np.random.default_rng(11)
    heights = 1.0 + 0.2 * rng.random(2 * len(NORMALS))
    found = []
    for k in range(FILES):
        temperature = 100.0 + 20.0 * k
        bond = 2.766 * (1.0 + 9.0e-6 * (temperature - 100.0))
        size = 2.02 + 0.035 * k if kind == "growing" else 2.5
        found.append(Truth(temperature, body(size, bond, heights), bond, 0.25 + 8.0e-4 * (temperature - 100.0)))
    return found


def measured(truth: Truth, noise: float, seed: int) -> MeasuredPdf:
    """Its PDF with white noise in F(Q), of a share of G over 1.5–20 Å."""
    params = hpcpdf.PdfParams(rmin=0.0, rmax=30.01, rstep=0.02, qmin=QMIN, qmax=QMAX, qdamp=QDAMP, biso=truth.biso)
    r, g = hpcpdf.simulate_pdf(truth.atoms, params)
    q = np.arange(QMIN, QMAX, 0.05)
    error = np.sin(np.outer(r, q)) @ np.random.default_rng(seed).normal(size=len(q)) * np.exp(-0.5 * (QDAMP * r) ** 2)
    seen = (r > 1.5) & (r < 20.0)
    g = g + error * noise * np.linalg.norm(g[seen]) / np.linalg.norm(error[seen])
    keep = r > 0.5
    return MeasuredPdf(r[keep], g[keep], None, QMIN, QMAX, "Pt")


def solved(kind: str, noise: float) -> dict[str, Any]:
    """One series, by the command line."""
    cases = truths(kind)
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "data", Path(scratch) / "out"
        folder.mkdir()
        for k, truth in enumerate(cases):
            write_gr(folder / f"Pt_{truth.temperature:.0f}K.gr", measured(truth, noise, 100 + k))
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        program = "import sys; from hpcpdf.cli.main import main\nif __name__ == '__main__': sys.exit(main())"
        script = Path(scratch) / "hpcpdf.main.py"
        script.write_text(program)
        command = [sys.executable, str(script), "solve", str(folder), "--series", "--element", "Pt", "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        with (out / "series.csv").open(encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    return {"noise": noise, **judged(cases, rows), "seconds_a_file": wall / FILES, "cpu_seconds_a_file": (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / FILES}  # fmt: skip


def judged(cases: list[Truth], rows: list[dict[str, str]]) -> dict[str, Any]:
    """The table beside the truth."""
    t = np.array([truth.temperature for truth in cases])
    number = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if _is_number(rows, name)}
    atoms = np.array([len(truth.atoms) for truth in cases])
    bond, biso = np.array([truth.bond for truth in cases]), np.array([truth.biso for truth in cases])

    def calibrated(name: str, error: str, true: np.ndarray) -> dict[str, float]:
        off = (number[name] - true) / number[error]
        return {
            "largest_error": float(np.abs(number[name] - true).max()),
            "mean_standard_error": float(number[error].mean()),
            "within_2_standard_errors": int(np.count_nonzero(np.abs(off) < 2.0)),
            "slope_over_truth": float(np.polyfit(t, number[name], 1)[0] / np.polyfit(t, true, 1)[0]),
        }

    inside = (number["n_atoms_low"] <= atoms) & (atoms <= number["n_atoms_high"])
    return {
        "files": len(rows),
        "in_order": bool(np.array_equal(number["temperature_K"], t)),
        "atoms": [int(atoms[0]), int(atoms[-1])],
        "atoms_exact": int(np.count_nonzero(number["n_atoms"] == atoms)),
        "atoms_largest_error": int(np.abs(number["n_atoms"] - atoms).max()),
        "atoms_inside_90": int(np.count_nonzero(inside)),
        "motif_fcc": int(sum(row["family"] == "fcc" for row in rows)),
        "bond_A": calibrated("bond_A", "bond_error_A", bond),
        "biso_A2": calibrated("biso_A2", "biso_error_A2", biso),
    }


def _is_number(rows: list[dict[str, str]], name: str) -> bool:
    try:
        [float(row[name] or "nan") for row in rows]
    except ValueError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    results: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_before": os.getloadavg()[0]}
    for name, kind, noise in (("fixed", "fixed", 0.01), ("growing", "growing", 0.01), ("fixed, noisy", "fixed", 0.05)):
        results[name] = solved(kind, noise)
        print(name, results[name], flush=True)
    results["load_after"] = os.getloadavg()[0]
    if options.out:
        write_json(options.out, {"results": results, "provenance": provenance()})


if __name__ == "__main__":
    main()
