"""Prints the speed table of docs/pdf.md: PDFs per second on one thread, best of several runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from hpcpdf import PdfParams, _core, simulate_pdf
from hpcpdf.launch.bench import ball
from hpcpdf.pdf.gradient import rw2_gradient


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def rate(seconds: float) -> str:
    return f"{1.0 / seconds:.2g}".replace("e+0", "e")


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"instruction level: {_core.instruction_level()}")
    print("| atoms | rstep, Å | fast | direct | direct, lattice | gradient of R_w² | gradient / G |")
    print("|---|---|---|---|---|---|---|")
    for rstep in (0.01, 0.1):
        params = PdfParams(rmax=30.0, rstep=rstep)
        for n in (13, 55, 98, 309, 923):
            count = max(16, min(64, 5000 // n))
            ideal = ball(n, rng)
            nudged = [ideal + rng.normal(scale=0.1, size=ideal.shape) for _ in range(count)]
            _, observed = simulate_pdf(nudged[::-1], params)

            def fast(nudged: list[np.ndarray] = nudged, params: PdfParams = params) -> object:
                return simulate_pdf(nudged, params, n_threads=1)

            def gradient(
                nudged: list[np.ndarray] = nudged, params: PdfParams = params, observed: np.ndarray = observed
            ) -> object:
                return rw2_gradient(nudged, params, observed, n_threads=1)

            def direct(structures: list[np.ndarray], params: PdfParams = params) -> Callable[[], object]:
                return lambda: simulate_pdf(structures, params, accuracy="direct", n_threads=1)

            of_g, of_gradient = seconds(fast, 60) / count, seconds(gradient, 30) / count
            sums = [seconds(direct(structures), 3) / 4 for structures in (nudged[:4], [ideal] * 4)]
            cells = [rate(value) for value in (of_g, *sums, of_gradient)]
            print(f"| {n} | {rstep} | {' | '.join(cells)} | {of_gradient / of_g:.1f} |", flush=True)


if __name__ == "__main__":
    main()
