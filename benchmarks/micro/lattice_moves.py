"""Moves a second of the lattice engine, by size of the particle: single atoms, facets, and pairs of changes.

    OMP_NUM_THREADS=1 python benchmarks/micro/lattice_moves.py --out benchmarks/micro/lattice_moves.json

Spheres of fcc on a PDF of 1.5-20 Å (range to the diameter for larger ones) in steps of 0.1 Å, one thread. Walks
accept as they do at a power of 12.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from hpcpdf import PdfParams, _core, simulate_pdf
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import lattice_template

BOND = 2.77


def _prepare(n_atoms: int) -> tuple[_core.LatticeSites, _core.LatticeTarget, np.ndarray, int]:
    radius = (0.75 * n_atoms / np.pi / np.sqrt(2.0)) ** (1.0 / 3.0)
    reach = max(20.0, 2.1 * radius * BOND)
    template = lattice_template("fcc", 1.4 * radius + 1.5, (reach + 8.0) / BOND)
    sites = np.argsort(((template.sites - [0.11, 0.23, 0.31]) ** 2).sum(axis=1), kind="stable")[:n_atoms]
    params = PdfParams(rmax=reach + 5.0, qdamp=0.03)
    r, g = simulate_pdf(template.sites[np.sort(sites)] * BOND * 1.002, params, n_threads=1)
    used = (r >= 1.5) & (r <= reach)
    data = PdfData.thinned(r[used], g[used], params, 0.03)
    weights = data.padded(data.r / data.r[-1])
    shells = data.columns(template.distance * BOND, params.uiso, 0.0, weights * data.padded(data.envelope(0.03)))
    target = _core.LatticeTarget(data=weights * data.padded(data.g), shells=shells, rho=None, rate_max=0.0)
    return template.core, target, np.sort(sites).astype(np.int32), len(template.distance)


def _rate(core, target, start, shares, budget: float) -> float:
    steps, seed, begin = 0, 0, time.process_time()
    while time.process_time() - begin < budget:
        result = _core.lattice_walks(
            sites=core, target=target, starts=[[start]], rates=[0.0], seeds=[seed], powers=[12.0], rounds=1,
            steps=4000 if len(start) < 300 else 400, shares=shares, bond_cost=0.0, usual_missing=15.0, stop=0.0,
            least_atoms=4, most_atoms=10**7, least_bonds=3, keep=1, n_threads=1,
        )  # fmt: skip
        steps += result[0]["steps"]
        seed += 1
    return steps / (time.process_time() - begin)


def _pairs(core, target, start, budget: float) -> float:
    pairs, begin = 0, time.process_time()
    while time.process_time() - begin < budget:
        result = _core.lattice_polish(
            sites=core, target=target, starts=[start], rates=[0.0], rounds=3, tenure=6, patience=4, most_changes=500,
            bond_cost=0.0, usual_missing=15.0, stop=0.0, least_atoms=4, least_bonds=3, keep=1,
            n_threads=1,
        )  # fmt: skip
        pairs += result[0]["steps"]
    return pairs / (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="processor time of each measurement")
    arguments = parser.parse_args()
    rows = []
    for n in (48, 159, 556, 1629):
        core, target, start, shells = _prepare(n)
        row: dict[str, object] = {"atoms": n, "shells": shells}
        for name, shares in (("atoms_per_s", (0.0, 1.0, 0.0, 0.0)), ("facets_per_s", (1.0, 0.0, 0.0, 0.0))):
            found = [_rate(core, target, start, shares, arguments.seconds) for _ in range(arguments.rounds)]
            row[name] = {"median": statistics.median(found), "range": [min(found), max(found)]}
        found = [_pairs(core, target, start, arguments.seconds) for _ in range(arguments.rounds)]
        row["pairs_per_s"] = {"median": statistics.median(found), "range": [min(found), max(found)]}
        rows.append(row)
        print(
            f"{n:>5} atoms, {shells} shells: "
            + ", ".join(f"{key[:-6]} {row[key]['median']:.3g}/s" for key in row if key.endswith("per_s")),
            flush=True,
        )
    if arguments.out:
        answer = {
            "level": _core.instruction_level(),
            "machine": platform.machine(),
            "command": "benchmarks/micro/lattice_moves.py",
            "rows": rows,
        }
        arguments.out.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
