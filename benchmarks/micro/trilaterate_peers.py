"""Structures a second of the trilateration kernel and of its peers, with the quality of the answer beside it.

    python benchmarks/micro/trilaterate_peers.py --out benchmarks/micro/trilaterate_peers.json

Single core; 13 to 500 atoms and the mixture of 5 to 100, noise 0.01 to 0.4 of the unit sphere. Every ratio is the
median over rounds in which a peer runs right beside the kernel, with its range. Slow peers get fewer problems, the
first ones of the kernel's; sizes of a mixture follow a golden-ratio sequence, so that its beginning is as mixed as
the whole. The quality of all is that of the same problems. SMACOF and classical scaling have a cost of their own,
with free satellites and without bounds. Also writes a figure (.png and .pdf) beside the result. SMACOF needs scikit-
learn and is left out without it. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import eigh, orthogonal_procrustes
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from trilateration import SATELLITES, direct_cost_gradient, noisy

from hpcpdf import trilaterate
from hpcpdf.launch.bench import machine_facts
from hpcpdf.launch.doctor import available_cpus
from hpcpdf.launch.peers import scipy_trilaterate
from hpcpdf.stage import provenance, write_json

Array = NDArray[np.float64]
Problem = tuple[Array, Array, Array]  # positions, distances, satellite distances
Solver = Callable[[Sequence[Problem]], list[Array]]

SIZES: dict[str, tuple[int, int]] = {"13": (13, 13), "55": (55, 55), "100": (100, 100), "5–100": (5, 100)}
LARGE: dict[str, tuple[int, int]] = {"200": (200, 200), "500": (500, 500)}
SIGMAS = (0.01, 0.05, 0.1, 0.4)
BATCH, MOST_PAIRS = 2000, 2e7
"""Problems of a round of ours: enough that a call's fixed cost does not count, fewer for large ones."""
FEWEST = 20
"""Problems of a peer, and those by which quality is judged."""

LEAST_SECONDS = 0.1
SAME_COST = {"SciPy, joint", "hpcpdf, float64 lists", "hpcpdf, float64 arithmetic", "hpcpdf, general L-BFGS-B"}
"""These minimise the same cost over the same coordinates."""


def ours(**options: Any) -> Solver:
    def solve(problems: Sequence[Problem]) -> list[Array]:
        found = trilaterate([q[1] for q in problems], [q[2] for q in problems], SATELLITES, n_threads=1, **options)
        return list(found.positions)

    return solve


def scipy_joint(problems: Sequence[Problem]) -> list[Array]:
    return scipy_trilaterate([q[1] for q in problems], [q[2] for q in problems], SATELLITES)


def scipy_sequential(problems: Sequence[Problem]) -> list[Array]:
    """Atom after atom from the origin, gradients by finite differences, as the reference method does."""
    return [_one_by_one(d, a) for _, d, a in problems]


def _one_by_one(d: Array, a: Array) -> Array:
    placed = np.zeros((0, 3))
    for k in range(len(d)):
        points = np.concatenate([SATELLITES, placed])
        wanted = np.concatenate([a[k], d[k, :k]])

        def cost(x: Array, points: Array = points, wanted: Array = wanted) -> float:
            return float(((np.linalg.norm(points - x, axis=1) - wanted) ** 2).sum())

        found = minimize(cost, np.zeros(3), method="L-BFGS-B", bounds=[(-1.0, 1.0)] * 3)
        placed = np.concatenate([placed, found.x[None]])
    return placed


def _all_distances(d: Array, a: Array) -> Array:
    between = np.linalg.norm(SATELLITES[:, None] - SATELLITES, axis=2)
    return np.block([[d, a], [a.T, between]])


def _onto_satellites(y: Array) -> Array:
    """Atoms among the embedded points, turned so that the satellites come to lie on theirs."""
    n = len(y) - len(SATELLITES)
    middle, wanted = y[n:].mean(axis=0), SATELLITES.mean(axis=0)
    turn, _ = orthogonal_procrustes(y[n:] - middle, SATELLITES - wanted)
    return np.asarray((y[:n] - middle) @ turn + wanted)


def classical_scaling(problems: Sequence[Problem]) -> list[Array]:
    """Classical multidimensional scaling of atoms and satellites together."""
    found = []
    for _, d, a in problems:
        squares = _all_distances(d, a) ** 2
        n = len(squares)
        centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
        values, vectors = eigh(-0.5 * centred, subset_by_index=[n - 3, n - 1])
        found.append(_onto_satellites(vectors * np.sqrt(np.maximum(values, 0.0))))
    return found


def smacof_of_sklearn() -> tuple[str, Solver] | None:
    try:
        from sklearn import __version__
        from sklearn.manifold import smacof
    except ImportError:
        return None

    def solve(problems: Sequence[Problem]) -> list[Array]:
        start = classical_scaling(problems)
        return [
            _onto_satellites(
                smacof(_all_distances(d, a), n_components=3, init=np.concatenate([x, SATELLITES]), n_init=1)[0]
            )
            for (_, d, a), x in zip(problems, start, strict=True)
        ]

    return f"SMACOF from classical scaling (scikit-learn {__version__})", solve


def problems(size: tuple[int, int], sigma: float, count: int) -> list[Problem]:
    rng = np.random.default_rng([*size, int(1000 * sigma)])
    # Clouds are slow to make: noise is drawn anew for each problem, the cloud for every tenth.
    golden = (np.arange(max(count // 10, FEWEST)) * 0.6180339887498949 + 0.5) % 1.0
    clouds = [noisy(n, 0.0, rng)[0] for n in (size[0] + golden * (size[1] - size[0] + 1)).astype(int).tolist()]
    found = []
    for k in range(count):
        x = clouds[k % len(clouds)]
        upper = np.triu(rng.normal(scale=sigma, size=(len(x), len(x))), 1)
        d = np.abs(np.linalg.norm(x[:, None] - x, axis=2) + upper + upper.T)
        a = np.abs(np.linalg.norm(x[:, None] - SATELLITES, axis=2) + rng.normal(scale=sigma, size=(len(x), 11)))
        found.append((x, d, a))
    return found


def seconds(solve: Solver, given: Sequence[Problem]) -> float:
    """Of one problem; the call repeats until it has lasted long enough for the clock not to matter."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < LEAST_SECONDS or not calls:
        solve(given)
        calls += 1
    return spent / calls / len(given)


def quality(solve: Solver, given: Sequence[Problem], sigma: float) -> dict[str, float]:
    """RMSD to the true positions over sigma, and the excess of cost over ours in float64."""
    found, best = solve(given), ours(dtype="float64")(given)
    rmsd, excess = [], []
    for (x, d, a), y, z in zip(given, found, best, strict=True):
        rmsd.append(np.sqrt(((x - y) ** 2).sum(axis=1).mean()) / sigma)
        cost = direct_cost_gradient(np.asarray(y, dtype=np.float64), d, a, SATELLITES)[0]
        excess.append(cost / direct_cost_gradient(z, d, a, SATELLITES)[0] - 1.0)
    return {"rmsd_over_sigma": round(float(np.mean(rmsd)), 4), "median_excess_of_cost": float(np.median(excess))}


def measured(size: str, sigma: float, name: str, peer: Solver, rounds: int) -> dict[str, Any]:
    """A peer beside our kernel (packed float32), round by round."""
    atoms = (SIZES | LARGE)[size]
    given = problems(atoms, sigma, min(BATCH, int(MOST_PAIRS / atoms[1] ** 2)))
    kernel = ours()
    packed = [(x, d.astype(np.float32), a.astype(np.float32)) for x, d, a in given]
    few = given[: max(FEWEST, min(len(given), int(1.0 / seconds(peer, given[:3]))))]
    times, peers = [], []
    for number in range(rounds):
        for mine in (True, False) if number % 2 else (False, True):
            (times if mine else peers).append(seconds(kernel, packed) if mine else seconds(peer, few))
    ratios = sorted(theirs / mine for mine, theirs in zip(times, peers, strict=True))
    row = {
        "atoms": size,
        "sigma": sigma,
        "peer": name,
        "rate": round(1.0 / median(times)),
        "peer_rate": round(1.0 / median(peers), 1),
        "ratio": {"median": round(median(ratios), 2), "low": round(ratios[0], 2), "high": round(ratios[-1], 2)},
        "problems_of_peer": len(few),
        **quality(peer, given[:FEWEST], sigma),
    }
    if name in SAME_COST:
        assert abs(row["median_excess_of_cost"]) < 1e-5, f"{name} does not find the same minima"
    spread = f"{row['ratio']['low']:.3g} to {row['ratio']['high']:.3g}"
    print(f"{size:>6} {sigma:5.2f}  {name:<55} {row['peer_rate']:>10}/s  x {row['ratio']['median']:.3g} ({spread})")
    return row


def threads(rounds: int) -> dict[str, Any]:
    """All cores beside one, on the mixture: packed float32, which caches can hold, and lists of float64, which not."""
    n, given = available_cpus(), problems(SIZES["5–100"], 0.05, BATCH)
    found: dict[str, Any] = {"threads": n}
    for name, dtype in (("packed float32", np.float32), ("float64 lists", np.float64)):
        lists = [q[1].astype(dtype) for q in given], [q[2].astype(dtype) for q in given]

        def solve(count: int, lists: tuple[list[Any], list[Any]] = lists) -> float:
            def call(_: Sequence[Problem]) -> list[Array]:
                trilaterate(*lists, SATELLITES, n_threads=count)
                return []

            return seconds(call, given)

        ratios = sorted(solve(1) / solve(n) for _ in range(5 * rounds))
        found[name] = {"median": round(median(ratios), 3), "low": round(ratios[0], 3), "high": round(ratios[-1], 3)}
        print(f"{n} threads, {name}: {median(ratios):.2f} times one ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return found


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Speed against quality on the mixture, and the ratio to SciPy's joint minimisation against the noise."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    mixture = [row for row in rows if row["atoms"] == "5–100" and row["sigma"] == 0.05]
    for k, row in enumerate(mixture):
        left.plot(row["peer_rate"], row["rmsd_over_sigma"], marker="osD^vP*X<>"[k % 10], ls="", label=row["peer"])
    left.set(xscale="log", xlabel="structures / s on one core", ylabel="RMSD to the true positions / σ")
    left.set_title("5–100 atoms, σ = 0.05", fontsize=9)
    left.legend(fontsize=5.5, frameon=False)
    for size, marker in zip(SIZES, "osD^", strict=True):
        chosen = [row for row in rows if row["atoms"] == size and row["peer"].endswith("joint")]
        values = [row["ratio"]["median"] for row in chosen]
        low = [row["ratio"]["median"] - row["ratio"]["low"] for row in chosen]
        high = [row["ratio"]["high"] - row["ratio"]["median"] for row in chosen]
        label = f"{size} atoms"
        right.errorbar([row["sigma"] for row in chosen], values, [low, high], marker=marker, capsize=2, label=label)
    right.set(xscale="log", yscale="log", xlabel="noise σ (unit sphere)", ylabel="times SciPy, joint")
    right.legend(fontsize=7, frameon=False)
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rest: list[tuple[str, Solver]] = [
        ("SciPy, sequential, finite differences", scipy_sequential),
        ("classical scaling", classical_scaling),
        *([] if (smacof := smacof_of_sklearn()) is None else [smacof]),
        ("hpcpdf, float64 lists", ours()),
        ("hpcpdf, float64 arithmetic", ours(dtype="float64")),
        ("hpcpdf, sequential", ours(method="sequential")),
        ("hpcpdf, general L-BFGS-B", ours(solver="lbfgsb")),
    ]
    with threadpool_limits(1):
        rows = [measured(size, sigma, "SciPy, joint", scipy_joint, asked.rounds) for size in SIZES for sigma in SIGMAS]
        for size in SIZES:
            rows += [measured(size, 0.05, name, peer, asked.rounds) for name, peer in rest]
        rows += [measured(size, 0.05, "SciPy, joint", scipy_joint, asked.rounds) for size in LARGE]
        scaling = threads(asked.rounds)
    machine = machine_facts(available_cpus())
    write_json(asked.out, {"machine": machine, "rows": rows, "threads": scaling, "made": provenance()})
    draw(rows, asked.out)


if __name__ == "__main__":
    main()
