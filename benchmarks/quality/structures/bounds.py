"""How often the bounds alone name the family of a PDF, and how long they take.

    python benchmarks/quality/structures/bounds.py --seed 2028 --out bounds.json

`hpcpdf.lattice.bounds.fit_families` on the set ``family-bounds`` at each level of noise, one process and one thread. No
structure is searched: the answer is the family with the lowest BIC. Where the true particle has no distance that this
family lacks, the answer is nested, not wrong: as many pairs at the same distances are the same PDF.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case, find_set, make_cases
from judge import lattice_of
from run import wilson
from scipy.spatial.distance import pdist
from threadpoolctl import threadpool_limits

from hpcpdf import PdfParams
from hpcpdf.lattice.bounds import FAMILIES, FamilyFit, families_with, fit_families
from hpcpdf.lattice.shells import PdfData
from hpcpdf.launch.bench import machine_facts
from hpcpdf.stage import provenance, write_json

LEVELS = (0.0, 0.02, 0.05)
"""Noise in F(Q)."""
NEAR = 20.0
"""Times are told apart for PDFs that are fitted up to here, Å, and for longer ones."""


@dataclass(frozen=True)
class Named:
    """What the bounds said of one case.

    Attributes
    ----------
    outcome
        ``right``, ``nested`` or ``wrong``.
    lowest_rw_right
        Whether the lowest R_w, in place of the lowest BIC, has the right family.
    bic_lead
        BIC of the true family above that named; 0 where it is right.
    bond_error, u_error, delta2
        Of the true family's fit: relative errors, and δ2 where the truth is 0 Å².
    """

    name: str
    family: str
    found: str
    n_atoms: int
    r_max: float
    points: int
    noise: float
    outcome: str
    lowest_rw_right: bool
    bic_lead: float
    bond_error: float
    u_error: float
    delta2: float
    rw: float
    cpu_seconds: float


def data_of(case: Case) -> PdfData:
    """The points that `hpcpdf.solve` would fit."""
    pdf, params = case.pdf, case.params
    inside = (pdf.r >= case.r_range[0] - 1e-9) & (pdf.r <= case.r_range[1] + 1e-9)
    known = PdfParams(rmin=0.0, rmax=params.rmax, rstep=params.rstep, qmin=params.qmin, qmax=params.qmax)
    return PdfData.thinned(pdf.r[inside], pdf.g[inside], known, params.qdamp if case.qdamp_known else None)


def name_case(case: Case) -> Named:
    """Fit the families and compare with the truth."""
    data = data_of(case)
    begin = time.process_time()
    with threadpool_limits(1):
        fits = fit_families(data, FAMILIES)
    seconds = time.process_time() - begin
    truth, distances = lattice_of(case.family), pdist(case.truth.positions)
    found = fits[0].family if fits else ""
    own = next((fit for fit in fits if fit.family == truth), None)
    return Named(
        name=case.name,
        family=case.family,
        found=found,
        n_atoms=case.n_atoms,
        r_max=case.r_range[1],
        points=len(data.r),
        noise=case.noise,
        outcome="right" if found == truth else "nested" if found in families_with(distances, FAMILIES) else "wrong",
        lowest_rw_right=bool(fits) and min(fits, key=lambda fit: fit.rw).family == truth,
        bic_lead=own.bic - fits[0].bic if own else float("nan"),
        **_errors(own, float(distances.min()), case.params.uiso),
        cpu_seconds=seconds,
    )


def _errors(fit: FamilyFit | None, bond: float, u: float) -> dict[str, float]:
    if fit is None:
        return dict.fromkeys(("bond_error", "u_error", "delta2", "rw"), float("nan"))
    return {
        "bond_error": fit.widths.bond / bond - 1.0,
        "u_error": fit.widths.u / u - 1.0,
        "delta2": fit.widths.delta2,
        "rw": fit.rw,
    }


def summary(rows: list[Named]) -> dict[str, Any]:
    """Shares, times, and errors of the true family's fit."""
    right = sum(row.outcome == "right" for row in rows)
    near = [row.cpu_seconds for row in rows if row.r_max <= NEAR]
    far = [row.cpu_seconds for row in rows if row.r_max > NEAR]
    return {
        "cases": len(rows),
        "right": right,
        "nested": sum(row.outcome == "nested" for row in rows),
        "wrong": sum(row.outcome == "wrong" for row in rows),
        "share_right": right / len(rows),
        "wilson": wilson(right, len(rows)),
        "lowest_rw_right": sum(row.lowest_rw_right for row in rows),
        "cpu_seconds": {f"to {NEAR:g} Å": _spread(near), "longer": _spread(far)},
        "bond_error": _spread([abs(row.bond_error) for row in rows]),
        "u_error": _spread([abs(row.u_error) for row in rows]),
        "delta2_not_zero": sum(row.delta2 > 0.0 for row in rows),
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return None
    return {"median": statistics.median(known), "mean": statistics.fmean(known), "max": max(known)}


def line(noise: float, found: dict[str, Any]) -> str:
    """One level of noise in words."""
    said = f"noise {noise:.0%}: " + ", ".join(f"{found[key]} {key}" for key in ("right", "nested", "wrong"))
    times = found["cpu_seconds"][f"to {NEAR:g} Å"]
    return said + (f"; {times['median']:.3f} s, at most {times['max']:.3f} s, to {NEAR:g} Å" if times else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="family-bounds", help="as of cases.py; default family-bounds")
    parser.add_argument("--count", type=int, help="cases of each level of noise; default: as many as the set says")
    parser.add_argument("--seed", type=int, default=0, help="below 1000 to tune with, 2028 to show; default 0")
    parser.add_argument("--noise", type=float, nargs="+", default=list(LEVELS), help="relative to F(Q)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    count = find_set(asked.set).count if asked.count is None else asked.count
    # What is loaded and made once a process does not count.
    name_case(next(make_cases(asked.set, asked.seed, 1)))
    levels, every = {}, []
    for noise in asked.noise:
        rows = [name_case(case) for case in make_cases(asked.set, asked.seed, count, noise=noise)]
        levels[f"{noise:g}"] = summary(rows)
        every += rows
        print(line(noise, levels[f"{noise:g}"]), flush=True)
        for row in rows:
            if row.outcome == "wrong":
                print(
                    f"  {row.name}: {row.family}, {row.n_atoms} atoms, called {row.found}, BIC {row.bic_lead:.0f} ahead"
                )
    write_json(
        asked.out,
        {
            "set": asked.set,
            "seed": asked.seed,
            "count": count,
            "families": FAMILIES,
            "noise": levels,
            "load_at_the_end": os.getloadavg(),
            "machine": machine_facts(1),
            "made": {key: value for key, value in provenance().items() if key != "host"},
            "rows": [asdict(row) for row in every],
        },
    )


if __name__ == "__main__":
    main()
