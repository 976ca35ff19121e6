"""Ten nanometres of gold: the diameter that `hpcpdf.solve` gives, its time and memory, by range of the fit.

python benchmarks/quality/sizes/large.py --out benchmarks/quality/sizes/large.json
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any

import samples

import hpcpdf
from hpcpdf.stage import provenance, write_json

GOLD = 2.884
"""Nearest neighbours, Å."""
RANGES = (20.0, 40.0, 110.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=2070)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    samples.BOND = GOLD
    pdf, n_atoms = samples.large(options.seed, 100.0)
    truth = samples.equal_sphere(n_atoms, GOLD)
    rows: list[dict[str, Any]] = []
    for high in RANGES:
        begin = time.process_time()
        sizes = hpcpdf.sample_sizes(pdf, (1.5, high))
        alone = time.process_time() - begin
        wall, cpu = time.perf_counter(), time.process_time()
        solution = hpcpdf.solve(pdf, "Au", r_range=(1.5, high), n_threads=1)
        motif = solution.sizes.motifs[0]
        row = {
            "r_range": [1.5, high],
            "diameter": motif.atom_diameter,
            "error": motif.atom_diameter_error,
            "off": motif.atom_diameter / truth - 1.0,
            "sizes_rw": solution.sizes.rw,
            "candidate_atoms": len(solution[0].atoms),
            "notes": list(solution.notes),
            "sizes_alone": {"diameter": sizes.motifs[0].atom_diameter, "cpu_s": alone},
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        rows.append(row)
        print(
            f"1.5-{high:g} Å: {motif.atom_diameter:.1f} ± {motif.atom_diameter_error:.1f} Å ({row['off']:+.1%}), "
            f"{alone:.1f} s CPU alone; all of solve {row['wall_s']:.1f} s, {row['cpu_s']:.1f} s CPU, "
            f"{row['peak_gb']:.2f} GB at most so far"
        )
    result = {"n_atoms": n_atoms, "truth": truth, "noise": 0.02, "load": os.getloadavg()[0], "rows": rows}
    write_json(options.out, {"provenance": provenance(), **result})


if __name__ == "__main__":
    main()
