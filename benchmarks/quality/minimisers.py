"""Does the batch solver find the minimiser that a tight SciPy run finds from the same start?

    python benchmarks/quality/minimisers.py --out benchmarks/quality/minimisers.json

1000 noisy problems of 1 to 100 atoms, at every instruction level of this machine, in float32 and float64, one structure
a lane and one at a time (weights of one ask for that). Costs and projected gradients of all solutions are computed
here, in float64 and pair by pair. Takes about a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from trilateration import SATELLITES, direct_cost_gradient, noisy, scipy_joint

from hpcpdf import trilaterate
from hpcpdf.solver.trilaterate import TrilaterationResult, instruction_levels
from hpcpdf.stage import provenance, write_json

SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
SAME_COST = 1e-6
"""Costs that differ by less than this, relatively, are taken as those of one minimiser."""


Problem = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions, distances, satellite distances."""


def problems(count: int) -> list[tuple[float, Problem]]:
    """Each with its noise; every size occurs equally often."""
    rng = np.random.default_rng(2026)
    found = []
    for k in range(count):
        # Structures that fill the unit ball have atoms on the bounds once there is noise.
        sigma, scale = float(rng.choice(SIGMAS)), float(rng.choice([0.8, 1.0]))
        found.append((sigma, noisy(1 + k % 100, sigma, rng, scale=scale)))
    return found


def judge(
    cases: list[tuple[float, Problem]], tight: list[tuple[np.ndarray, float]], found: TrilaterationResult
) -> dict[str, object]:
    excess, gradients, distances, elsewhere = [], [], [], []
    for (sigma, (_, d, a)), (x_tight, cost_tight), x in zip(cases, tight, found.positions, strict=True):
        cost, gradient = direct_cost_gradient(x.astype(np.float64), d, a, SATELLITES)
        excess.append((cost - cost_tight) / max(cost_tight, 1e-300))
        gradients.append(gradient)
        if abs(excess[-1]) <= SAME_COST:
            distances.append(np.abs(x - x_tight).max())
        else:
            apart = float(np.abs(x - x_tight).max())
            elsewhere.append({"atoms": len(x), "sigma": sigma, "excess": excess[-1], "difference": apart})
    return {
        "largest_relative_excess_of_cost": max(excess),
        "largest_projected_gradient": float(max(gradients)),
        "same_cost": len(distances),
        "other_minima": elsewhere,
        "largest_difference_of_coordinates_at_same_cost": float(max(distances)),
        "not_converged": int((found.status != 0).sum()),
        "mean_evaluations": round(float(found.n_eval.mean()), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    cases = problems(asked.count)
    tight = []
    for _, (_, d, a) in cases:
        x, _ = scipy_joint(d, a, SATELLITES)
        tight.append((x, direct_cost_gradient(x, d, a, SATELLITES)[0]))
    bound = sum(bool((np.abs(x) >= 1.0).any()) for x, _ in tight)
    d, a = [q[1] for _, q in cases], [q[2] for _, q in cases]
    ones = {"weights": [np.ones_like(m) for m in d], "satellite_weights": [np.ones_like(m) for m in a]}
    ways: dict[str, dict[str, list[np.ndarray]]] = {"lanes": {}, "one at a time": ones}
    rows = []
    for level in instruction_levels():
        os.environ["HPCPDF_INSTRUCTIONS"] = level
        for kernel, weights in ways.items():
            for dtype in ("float32", "float64"):
                found = trilaterate(d, a, SATELLITES, dtype=dtype, **weights)
                rows.append({"level": level, "kernel": kernel, "dtype": dtype, **judge(cases, tight, found)})
                print(rows[-1], flush=True)
    write_json(
        asked.out,
        {"problems": len(cases), "with_active_bounds": bound, "sigmas": SIGMAS, "rows": rows, "made": provenance()},
    )


if __name__ == "__main__":
    main()
