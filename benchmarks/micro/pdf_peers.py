"""Structures a second of simulate_pdf and of its peers, on one core and on all; answers are compared before.

    python benchmarks/micro/pdf_peers.py --out benchmarks/micro/pdf_peers.json

Balls of 13 to 10 000 atoms cut from an ideal lattice (many equal distances) and with 0.02 Å noise (none), rmax 30 Å (70
for 10 000 atoms) at two steps. Every ratio is the median over rounds in which a peer runs right beside simulate_pdf,
with its range. What would last too long is left out, with the reason in its row. Also what one move costs in
IncrementalPdf beside new PDFs. Writes a figure (.png and .pdf) beside the result. Peers that are not installed are
left out; DebyeCalculator is on PyPI, diffpy.srreal on conda-forge. Takes less than ten minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from threadpoolctl import threadpool_limits

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.launch.bench import ball, machine_facts
from hpcpdf.launch.doctor import available_cpus
from hpcpdf.launch.peers import numpy_pdf
from hpcpdf.pdf.grids import extended_grid, r_grid
from hpcpdf.pdf.incremental import IncrementalPdf
from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.stage import provenance, write_json

Array = NDArray[np.float64]
Engine = Callable[[Sequence[Array]], Array]  # positions -> G (B, R)
Sums = Callable[[Array, Array, Array], Array]  # d, weight, Q -> sums of weight sin(Q d)

BATCH = {13: 64, 55: 64, 98: 64, 309: 16, 923: 4, 10_000: 1}
RMAX = {10_000: 70.0}
"""Å; 30 for the others. DebyeCalculator counts pairs beyond the reach of the Q grid, so all have to lie within it."""
STEPS = (0.1, 0.01)
"""Å. The second changes the transform alone, which is nothing beside the pairs of the largest cluster."""
KINDS = ("displaced", "lattice")
BLOCK = 2048
"""Pairs that the sums of NumPy take at once, so that the arrays stay in the cache."""
LEAST_SECONDS = 0.1
MOST_SECONDS = 6.0
"""Longest call: a size is left out when the one before, scaled by the number of pairs, says that it lasts longer."""


@dataclass(frozen=True)
class Peer:
    """`make(params, threads)` gives an engine; its answer may differ by `tolerance` of max|G| from simulate_pdf's."""

    name: str
    make: Callable[[PdfParams, int], Engine]
    tolerance: float
    threaded: bool = True
    kinds: tuple[str, ...] = KINDS
    reference: dict[str, str] | None = None
    """Options of the call to simulate_pdf that this one is compared with."""


def ours(params: PdfParams, threads: int, **options: Any) -> Engine:
    return lambda clusters: np.asarray(simulate_pdf(clusters, params, n_threads=threads, **options)[1])


def nodes(params: PdfParams, threads: int) -> Engine:
    # Sharply cut where simulate_pdf cuts: clusters wider than that would differ by their pairs at the end.
    kernel = NodeKernel(params, max_distance=extended_grid(params, params.uiso).d_max, n_threads=threads)
    matrix = kernel.matrix()
    return lambda clusters: kernel.histogram(clusters) @ matrix / np.array([[len(x)] for x in clusters])


def numpy_plain(params: PdfParams, threads: int) -> Engine:
    """The equation as one writes it down: a sine and a Gaussian for every pair and Q, all pairs at once."""
    r = r_grid(params)
    return lambda clusters: numpy_pdf(clusters, params, r)


def numpy_sum(params: PdfParams, threads: int, *, sums: Sums, merge: bool = False) -> Engine:
    """float64; one width for all pairs, so that the Gaussian is applied once."""
    grid, r = extended_grid(params, params.uiso), r_grid(params)
    wave = 2 / np.pi * grid.qstep * np.sin(np.outer(grid.q, r)) * np.exp(-((params.qdamp * r) ** 2) / 2)
    wave *= np.exp(-params.uiso * grid.q**2)[:, None]
    wave[: grid.k_first] = 0.0

    def row(x: Array) -> Array:
        d, count = _distances(x, grid.d_max, merge)
        f = np.zeros(grid.n_q)
        for start in range(0, len(d), BLOCK):
            part = slice(start, start + BLOCK)
            f += sums(d[part], count[part] / d[part], grid.q)
        return 2 / len(x) * f

    return lambda clusters: np.stack([row(x) for x in clusters]) @ wave


def sines(d: Array, weight: Array, q: Array) -> Array:
    """One sine for every pair and Q, in blocks that stay in the cache."""
    phase = np.multiply.outer(d, q)
    return weight @ np.sin(phase, out=phase)


def recurrence(d: Array, weight: Array, q: Array) -> Array:
    """From Q to Q by s(k + 1) = 2 cos(x) s(k) - s(k - 1): no sines, but a step of Python for every Q."""
    before, now, following, f = np.zeros_like(d), np.sin(q[1] * d), np.empty_like(d), np.zeros_like(q)
    twice = 2 * np.cos(q[1] * d)
    for k in range(1, len(q)):
        f[k] = weight @ now
        np.multiply(twice, now, out=following)
        following -= before
        before, now, following = now, following, before
    return f


def _distances(x: Array, reach: float, merge: bool) -> tuple[Array, Array]:
    """Distances of pairs within reach and how often each occurs; equal ones are merged if that is asked for."""
    d = pdist(x)
    d = d[d <= reach]
    if not merge:
        return d, np.ones(len(d))
    _, first, count = np.unique(np.round(d, 9), return_index=True, return_counts=True)
    return d[first], count.astype(np.float64)


def debye_calculator(params: PdfParams, threads: int, *, pair_sum: str) -> Engine:
    """float32 as by default; on our Q grid, and twice its G, which counts every pair once."""
    from debyecalculator import DebyeCalculator

    grid = extended_grid(params, params.uiso)
    calculator = DebyeCalculator(
        qmin=grid.k_first * grid.qstep, qmax=(grid.n_q - 0.5) * grid.qstep, qstep=grid.qstep, qdamp=params.qdamp,
        rmin=params.rmin, rmax=params.rmax, rstep=params.rstep, biso=params.biso,
        device="cpu", pair_sum=pair_sum, num_threads=threads,
    )  # fmt: skip
    points = len(r_grid(params))

    def run(clusters: Sequence[Array]) -> Array:
        found = calculator.gr([(["Au"] * len(x), x) for x in clusters])
        return np.stack([2.0 * item.g[:points] for item in (found if len(clusters) > 1 else [found])])

    return run


def peers() -> list[Peer]:
    name, merged = f"NumPy {np.__version__}", partial(numpy_sum, sums=sines, merge=True)
    found = [
        Peer(f"{name}, plain", numpy_plain, 1e-6, threaded=False),
        Peer(f"{name}, sines", partial(numpy_sum, sums=sines), 1e-6, threaded=False),
        Peer(f"{name}, recurrence", partial(numpy_sum, sums=recurrence), 1e-6, threaded=False),
        Peer(f"{name}, equal distances merged", merged, 1e-6, threaded=False, kinds=("lattice",)),
        Peer("hpcpdf, NodeKernel", nodes, 1e-6),
        Peer("hpcpdf, direct", partial(ours, accuracy="direct"), 1e-6),
    ]
    if (version := _version("DebyeCalculator")) is not None:  # 1.1 or later, which has two ways
        for pair_sum in ("grid", "direct"):
            make = partial(debye_calculator, pair_sum=pair_sum)
            found.append(Peer(f"DebyeCalculator {version}, {pair_sum}", make, 3e-5))
    if (version := _version("diffpy.srreal")) is not None:
        make = partial(ours, backend="diffpy")
        found.append(Peer(f"diffpy.srreal {version}", make, 1e-6, threaded=False, reference={"transform": "diffpy"}))
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def structures(n: int, kind: str, count: int) -> list[Array]:
    rng = np.random.default_rng(n)
    noise = 0.02 if kind == "displaced" else 0.0
    return [ball(n, rng) + rng.normal(scale=noise, size=(n, 3)) for _ in range(count)]


def seconds(call: Callable[[], object]) -> float:
    """Of one call, which repeats until it has lasted long enough for the clock not to matter."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < LEAST_SECONDS or not calls:
        call()
        calls += 1
    return spent / calls


def pairs(rounds: int, one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float, dict[str, float]]:
    """Median seconds of both, run in turns, and time of the other over that of the one: median and range."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            times[which].append(seconds((one, other)[which]))
    ratios = sorted(theirs / mine for mine, theirs in zip(*times, strict=True))
    ratio = {"median": median(ratios), "low": ratios[0], "high": ratios[-1]}
    return median(times[0]), median(times[1]), {name: float(f"{value:.3g}") for name, value in ratio.items()}


def _rounds(n: int, asked: int) -> int:
    """The largest cluster lasts long enough by itself."""
    return min(asked, 2) if n == max(BATCH) else asked


def measured(peer: Peer, rstep: float, kind: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """A peer beside simulate_pdf at every size, smallest first."""
    torch.set_num_threads(threads)
    rows: list[dict[str, Any]] = []
    a_pair = 0.0
    for n in BATCH:
        params = PdfParams(rmax=RMAX.get(n, 30.0), rstep=rstep)
        row = {"atoms": n, "kind": kind, "rmax": params.rmax, "rstep": rstep, "threads": threads, "peer": peer.name}
        rows.append(row)
        expected = a_pair * n**2
        if n == max(BATCH) and rstep != STEPS[0]:
            row["left_out"] = f"as with rstep {STEPS[0]}"
            continue
        if expected > MOST_SECONDS:
            row["left_out"] = f"a structure would last about {expected:.0f} s"
            continue
        kernel, engine, clusters = ours(params, threads), peer.make(params, threads), structures(n, kind, BATCH[n])
        few = clusters[: max(1, int(1.0 / expected))] if expected else clusters
        answer, wanted = engine(few[:1]), ours(params, threads, **(peer.reference or {}))(few[:1])
        difference = float(np.abs(answer - wanted).max() / np.abs(wanted).max())
        assert difference <= peer.tolerance, f"{peer.name}, {n} atoms: answers differ by {difference:.1e}"
        mine, theirs, ratio = pairs(_rounds(n, rounds), partial(kernel, few), partial(engine, few))
        a_pair = theirs / len(few) / n**2
        row |= {"structures": len(few), "difference": difference, "ratio": ratio}
        row |= {"rate": float(f"{len(few) / mine:.3g}"), "peer_rate": float(f"{len(few) / theirs:.3g}")}
        spread = f"{ratio['low']:.3g} to {ratio['high']:.3g}"
        print(
            f"{n:>6} {kind:<9} {rstep:<4g} {threads} threads  {peer.name:<42} {row['peer_rate']:>8g}/s, "
            f"ours {row['rate']:>8g}/s: x {ratio['median']:<7g} ({spread}), differ by {difference:.0e}"
        )
    return rows


def scaling(params: PdfParams, threads: int, rounds: int) -> list[dict[str, Any]]:
    """All cores beside one, on larger batches."""
    rows = []
    for n in BATCH:
        clusters = structures(n, "displaced", 8 * BATCH[n])
        one, every = ours(params, 1), ours(params, threads)
        ratio = pairs(_rounds(n, rounds), partial(every, clusters), partial(one, clusters))[2]
        rows.append({"atoms": n, "threads": threads, "ratio": ratio})
        print(f"{n:>6} atoms, {threads} threads: {ratio['median']:.3g} times one")
    return rows


def _move(pdf: IncrementalPdf, cluster: Array, rng: np.random.Generator) -> Array:
    index = int(rng.integers(len(cluster)))
    pdf.move(index, cluster[index] + rng.normal(scale=0.02, size=3))
    return pdf.g


def moves(params: PdfParams, rounds: int) -> list[dict[str, Any]]:
    """One move of IncrementalPdf with the G after it, beside new PDFs of the structure, on one core."""
    rows = []
    for n in (98, 309, 923):
        cluster = structures(n, "displaced", 1)[0]
        one = partial(_move, IncrementalPdf(cluster, params), cluster, np.random.default_rng(0))
        for accuracy in ("fast", "direct"):
            move, _, ratio = pairs(rounds, one, partial(ours(params, 1, accuracy=accuracy), [cluster]))
            rows.append({"atoms": n, "beside": accuracy, "microseconds_of_move": round(1e6 * move, 1), "ratio": ratio})
            times = f"{ratio['median']:g} times as long"
            print(f"{n:>6} atoms: a move takes {1e6 * move:.0f} µs, a new PDF ({accuracy}) {times}")
    return rows


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Structures a second against the number of atoms on one core, with and without equal distances."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(row["peer"] for row in rows))
    looks = {name: {"marker": "sD^vP*X<>"[k % 9], "color": f"C{k}", "lw": 0.8} for k, name in enumerate(names)}
    lines = {}
    for axis, kind in zip(axes, KINDS, strict=True):
        chosen = [r for r in rows if r["kind"] == kind and r["threads"] == 1 and r["rstep"] == STEPS[0] and "rate" in r]
        sizes = sorted({row["atoms"] for row in chosen})
        mine = [median(row["rate"] for row in chosen if row["atoms"] == n) for n in sizes]
        (lines["hpcpdf, simulate_pdf"],) = axis.plot(sizes, mine, "ko-")
        for name in dict.fromkeys(row["peer"] for row in chosen):
            theirs = [row for row in chosen if row["peer"] == name]
            places = [row["atoms"] for row in theirs], [row["peer_rate"] for row in theirs]
            (lines[name],) = axis.plot(*places, **looks[name])
        axis.set(xscale="log", yscale="log", xlabel="atoms", title=kind)
    axes[0].set_ylabel("structures / s on one core")
    axes[1].legend(lines.values(), lines.keys(), fontsize=6, frameon=False)
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rows, every = [], available_cpus()
    for threads in dict.fromkeys((1, every)):
        with threadpool_limits(threads):
            for step in STEPS if threads == 1 else STEPS[:1]:
                for kind in KINDS if threads == 1 else KINDS[:1]:
                    for peer in peers():
                        if kind in peer.kinds and (threads == 1 or peer.threaded):
                            rows += measured(peer, step, kind, threads, asked.rounds)
    default = PdfParams(rmax=30.0, rstep=STEPS[0])
    result = {
        "machine": machine_facts(every),
        "rows": rows,
        "threads": scaling(default, every, asked.rounds),
        "moves": moves(default, asked.rounds),
        "made": provenance(),
    }
    write_json(asked.out, result)
    draw(rows, asked.out)


if __name__ == "__main__":
    main()
