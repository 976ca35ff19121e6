"""Prints the speed table of docs/pdf.md: PDFs per second on one thread, best of several runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from ase.cluster import Icosahedron

from hpcpdf import PdfParams, _core, simulate_pdf
from hpcpdf.launch.bench import ball
from hpcpdf.pdf.kernel import NodeKernel, Positions


def rate(call: Callable[[], object], count: int, repeats: int = 100) -> str:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return f"{count / best:.2g}".replace("e+0", "e")


def main() -> None:
    params, rng = PdfParams(), np.random.default_rng(0)
    kernel = NodeKernel(params, n_threads=1)
    matrix = kernel.matrix()
    print(f"instruction level: {_core.instruction_level()}")
    print("| atoms | direct, lattice | direct, no equal distances | nodes: histogram and product | gradient (gather) |")
    print("|---|---|---|---|---|")
    shapes = {13: Icosahedron("Au", 2), 55: Icosahedron("Au", 3), 98: None, 309: Icosahedron("Au", 5)}
    for n, shape in shapes.items():
        count = {13: 32, 55: 8, 98: 4, 309: 1}[n]  # few milliseconds, so that other work seldom interrupts
        ideal = ball(n, rng) if shape is None else np.array(shape.positions)
        nudged = [ideal + rng.normal(scale=0.02, size=ideal.shape) for _ in range(count)]
        joined = Positions.of(nudged)
        field = rng.normal(size=(count, kernel.n_nodes))

        def direct(structures: list[np.ndarray]) -> Callable[[], object]:
            return lambda: simulate_pdf(structures, params, n_threads=1)

        def nodes(joined: Positions = joined, n: int = n) -> object:
            return kernel.histogram(joined) @ matrix / n

        def gradient(joined: Positions = joined, field: np.ndarray = field) -> object:
            return kernel.gather(joined, field)

        cells = [direct([ideal] * count), direct(nudged), nodes, gradient]
        print(f"| {n} | " + " | ".join(rate(cell, count) for cell in cells) + " |")


if __name__ == "__main__":
    main()
