"""Sizes and motifs of made-up samples, and of measured ones: are they what is said, and are the errors?

    HPCPDF_MEASURED=~/pdfs python benchmarks/quality/sizes/run.py --out benchmarks/quality/sizes/results.json

Writes the JSON and, beside it, the same as a text. Without HPCPDF_MEASURED the measured PDF is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from samples import Truth, single, spread
from threadpoolctl import threadpool_limits

import hpcpdf
from hpcpdf.lattice.bounds import fit_families
from hpcpdf.lattice.shells import PdfData
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.sample.sizes import MotifSizes, Sizes, fit_sizes
from hpcpdf.stage import provenance, write_json

SEEDS = range(2070, 2090)
QUANTITIES = {"mean": "mean_diameter", "width": "width", "atom_mean": "atom_diameter"}
FIXED = (None, 0.04, 0.05, 0.06)
"""Qdamp with which the measured PDF is described, 1/Å; None: fitted."""


def describe(
    pdf: Any, r_range: tuple[float, float], qdamp: float | None, motifs: Any = None
) -> tuple[Sizes, float, float]:
    """Sizes of a sample, and CPU seconds of the bounds and of the sizes."""
    fitter = PdfFitter(pdf, r_range)
    data = PdfData.thinned(fitter.r, fitter.g_obs, fitter.params, qdamp)
    begin = time.process_time()
    fits = fit_families(data)
    middle = time.process_time()
    sizes = fit_sizes(data, fits, **({} if motifs is None else {"motifs": motifs}))
    assert sizes is not None
    return sizes, middle - begin, time.process_time() - middle


def judged(sizes: Sizes, truth: Truth) -> dict[str, Any]:
    """Found and true values, and how many standard errors lie between them."""
    by_family: dict[str, MotifSizes] = {motif.family: motif for motif in sizes.motifs}
    row: dict[str, Any] = {"rw": sizes.rw, "preferred": sizes.preferred, "families": sorted(by_family)}
    fcc = by_family.get("fcc")
    if fcc is None:
        return row
    for name, attribute in QUANTITIES.items():
        value, error, true = getattr(fcc, attribute), getattr(fcc, f"{attribute}_error"), getattr(truth, name)
        row[name] = {"value": value, "error": error, "truth": true, "sigmas": (value - true) / max(error, 1e-9)}
    other = by_family.get("icosahedron")
    value, error = (other.weight, other.weight_error) if other else (0.0, fcc.weight_error)
    row["weight"] = {
        "value": value,
        "error": error,
        "truth": truth.icosahedra,
        "sigmas": (value - truth.icosahedra) / max(error, 1e-9),
    }
    return row


def spreads(known: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    rows = []
    for seed in SEEDS:
        pdf, truth = spread(seed, qdamp_known=known)
        sizes, bounds, cpu = describe(pdf, (1.5, 50.0), 0.03 if known else None)
        rows.append({"seed": seed, "truth": asdict(truth), **judged(sizes, truth), "bounds_s": bounds, "sizes_s": cpu})
        say(f"spread {seed} {'known' if known else 'unknown'} {sizes.sentence}")
    return rows


def apart(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One structure against a spread, by `hpcpdf.solve`."""
    rows = []
    for seed in SEEDS:
        for kind in ("one structure", "a spread"):
            pdf = single(seed) if kind == "one structure" else spread(seed, icosahedra=0.0, rmax=30.1)[0]
            begin = time.process_time()
            solution = hpcpdf.solve(
                pdf, "Pt", effort="quick", refine=False, n_threads=1, r_range=(1.5, float(pdf.r[-1]))
            )
            sizes = solution.sizes
            claimed = sizes is not None and sizes.preferred
            rows.append(
                {
                    "seed": seed,
                    "kind": kind,
                    "spread_claimed": claimed,
                    "right": claimed == (kind == "a spread"),
                    "sentence": "" if sizes is None else sizes.sentence,
                    "rw_structure": solution[0].rw,
                    "cpu_s": time.process_time() - begin,
                }
            )
            say(f"{kind} {seed}: spread claimed {claimed}; {rows[-1]['sentence']}")
    return rows


def measured(path: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    rows = []
    pdf = hpcpdf.read_gr(path)
    for high in (20.0, 40.0):
        # With qdamp fitted, one structure stands beside the others.
        one = hpcpdf.solve(pdf, "Pt", r_range=(1.5, high), refine=False, n_threads=1).sizes
        structure = next(row for row in one.descriptions if row.label == "one structure")
        for qdamp in FIXED:
            sizes, _, cpu = describe(pdf, (1.5, high), qdamp)
            row = {
                "file": path.name,
                "r_range": [1.5, high],
                "qdamp": "fitted" if qdamp is None else qdamp,
                "qdamp_value": sizes.qdamp,
                "qdamp_error": sizes.qdamp_error,
                "delta2": sizes.delta2,
                "biso": sizes.biso,
                "sentence": sizes.sentence,
                "motifs": [asdict(motif) for motif in sizes.motifs],
                "descriptions": [asdict(row) for row in (*sizes.descriptions, *([structure] if qdamp is None else []))],
                "sizes_s": cpu,
            }
            rows.append(row)
            say(f"{path.name} to {high:g} Å, qdamp {row['qdamp']}: {sizes.sentence}")
    return rows


def summary(result: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("qdamp known", "qdamp unknown"):
        rows = result["spreads"][name]
        good = [row for row in rows if row["families"] == ["fcc", "icosahedron"]]
        lines.append(f"{name}: fcc and icosahedra named in {len(good)} of {len(rows)}")
        for key, unit, scale in (("atom_mean", "Å", 1), ("mean", "Å", 1), ("width", "Å", 1), ("weight", "%", 100)):
            off = np.array([scale * (row[key]["value"] - row[key]["truth"]) for row in good])
            error = statistics.median(scale * row[key]["error"] for row in good)
            inside = sum(abs(row[key]["sigmas"]) <= 2.0 for row in good)
            lines.append(
                f"  {key:10s} off by {off.mean():+.2f} {unit} on average, at most {np.abs(off).max():.2f}; standard "
                f"error {error:.2f}; truth within two in {inside} of {len(good)}"
            )
        lines.append(f"  CPU: bounds {_mean(rows, 'bounds_s'):.2f} s, sizes {_mean(rows, 'sizes_s'):.2f} s")
    for kind in ("one structure", "a spread"):
        rows = [row for row in result["apart"] if row["kind"] == kind]
        lines.append(f"{kind}: told apart in {sum(row['right'] for row in rows)} of {len(rows)}")
    for row in result["measured"]:
        low, high = row["r_range"]
        lines.append(f"{row['file']} {low:g}-{high:g} Å, qdamp {row['qdamp']}: {row['sentence']}")
        lines += [
            f"    {one['label']:40s} R_w {one['rw']:.4f}  {one['parameters']:3d} numbers  BIC {one['bic']:.0f}"
            for one in row["descriptions"]
        ]
    return lines


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    out = parser.parse_args().out
    folder = os.environ.get("HPCPDF_MEASURED")
    path = Path(folder) / "JQ_S1.gr" if folder else None
    with threadpool_limits(1):
        result: dict[str, Any] = {
            "spreads": {f"qdamp {word}": spreads(word == "known", print) for word in ("known", "unknown")},
            "apart": apart(print),
            "measured": measured(path, print) if path and path.is_file() else [],
        }
    lines = summary(result)
    write_json(out, {"provenance": provenance(), **result, "summary": lines})
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
