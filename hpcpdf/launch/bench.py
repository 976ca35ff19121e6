"""Time the kernels on this machine: throughput, and paired ratios against peers that compute the same."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, rosen, rosen_der
from threadpoolctl import threadpool_limits

import hpcpdf
from hpcpdf.errors import SolverError
from hpcpdf.launch.doctor import available_cpus, instruction_level
from hpcpdf.launch.peers import numpy_pdf, scipy_trilaterate
from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf
from hpcpdf.solver.lbfgsb import lbfgsb
from hpcpdf.solver.satellites import satellites
from hpcpdf.solver.trilaterate import trilaterate
from hpcpdf.stage import write_json

Array = NDArray[np.float64]

_LEAST_SECONDS = 0.05
"""A timing repeats its call until it has lasted this long, so that the clock does not matter."""


@dataclass(frozen=True)
class Peer:
    """Another way to the same answer.

    Attributes
    ----------
    name
        Library and version.
    run
        Computes it.
    tolerance
        Largest accepted difference of the answers, relative to the largest absolute value of ours.
    """

    name: str
    run: Callable[[], Array]
    tolerance: float


@dataclass(frozen=True)
class Case:
    """A task for a kernel: `run(threads)` does `count` items of `unit` and returns the answer as one array."""

    name: str
    unit: str
    count: int
    run: Callable[[int], Array]
    threaded: bool
    peers: tuple[Peer, ...] = ()


@dataclass
class Ratio:
    """Time of a peer divided by ours, over paired rounds on one thread each."""

    peer: str
    median: float
    low: float
    high: float
    rounds: int
    difference: float


@dataclass
class Timing:
    """Result of a case: items per second, for one thread and for all of them."""

    name: str
    unit: str
    count: int
    rate: dict[str, float]
    ratios: list[Ratio] = field(default_factory=list)


def cases() -> list[Case]:
    """Every case, with the peers that are installed."""
    direct = (_pdf_case(n, batch) for n, batch in ((13, 64), (55, 32), (98, 16), (309, 4)))
    return [*direct, _fast_case(98, 64), _node_case(98, 64), _lbfgsb_case(), _trilaterate_case()]


def measure(*, peers: bool, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Time every case.

    Parameters
    ----------
    peers
        Whether peers are timed too. Their answer is compared before their time.
    rounds
        Paired measurements of each peer; one run of ours beside one of theirs, in alternating order.
    say
        Receives the lines of the table.

    Returns
    -------
    dict
        Machine, versions and timings, as plain data.

    Raises
    ------
    SolverError
        If a peer's answer differs by more than its tolerance.
    """
    threads = available_cpus()
    machine = machine_facts(threads)
    levels = f"PDF loops use {machine['pdf_loops']}, the rest {machine['built_for']}"
    say(f"{machine['processor']}; {levels}; processor offers {machine['offers']}")
    say(f"{threads} threads usable; {', '.join(f'{k} {v}' for k, v in machine['versions'].items())}")
    timings = []
    for case in cases():
        timing = _time(case, threads, peers=peers, rounds=rounds)
        timings.append(timing)
        rates = ", ".join(f"{rate:.3g}/s on {label}" for label, rate in timing.rate.items())
        say(f"{case.name}: {case.unit} {rates}")
        for ratio in timing.ratios:
            text = f"{ratio.median:.3g} x as long (range {ratio.low:.3g} to {ratio.high:.3g}, {ratio.rounds} pairs)"
            say(f"  {ratio.peer}: {text}, answers differ by {ratio.difference:.1e}")
    return {"machine": machine, "timings": [asdict(timing) for timing in timings]}


def write(result: dict[str, Any], path: Path) -> None:
    """Write the result as JSON."""
    write_json(path, result)


def check_peer(case: Case, peer: Peer) -> float:
    """Largest difference between a peer's answer and ours, relative to the largest value.

    Raises
    ------
    SolverError
        If it is above the peer's tolerance: a faster wrong answer is no benchmark.
    """
    ours, theirs = case.run(1), peer.run()
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    if not difference <= peer.tolerance:
        raise SolverError(
            f"{case.name}: {peer.name} differs by {difference:.1e}, expected at most {peer.tolerance:.1e}"
        )
    return difference


def _time(case: Case, threads: int, *, peers: bool, rounds: int) -> Timing:
    rate = {"1 thread": case.count / _seconds(lambda: case.run(1))}
    if case.threaded and threads > 1:
        rate[f"{threads} threads"] = case.count / _seconds(lambda: case.run(threads))
    timing = Timing(case.name, case.unit, case.count, rate)
    for peer in case.peers if peers else ():
        with threadpool_limits(1):
            difference = check_peer(case, peer)
            pairs = [_pair(lambda: case.run(1), peer.run, swap=bool(number % 2)) for number in range(rounds)]
        timing.ratios.append(
            Ratio(peer.name, float(np.median(pairs)), float(min(pairs)), float(max(pairs)), rounds, difference)
        )
    return timing


def _pair(ours: Callable[[], Any], theirs: Callable[[], Any], *, swap: bool) -> float:
    if swap:
        second = _seconds(theirs)
        return second / _seconds(ours)
    first = _seconds(ours)
    return _seconds(theirs) / first


def _seconds(call: Callable[[], Any]) -> float:
    repeats = 0
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < _LEAST_SECONDS or repeats == 0:
        call()
        repeats += 1
    return spent / repeats


def machine_facts(threads: int) -> dict[str, Any]:
    """Processor, instruction levels and versions, as a result file needs them."""
    core: Any = import_module("hpcpdf._core")
    return {
        "processor": _processor(),
        "system": platform.platform(),
        "pdf_loops": core.instruction_level(),
        "built_for": core.compiled_instruction_level(),
        "offers": instruction_level(),
        "threads": threads,
        "versions": {
            "hpcpdf": hpcpdf.__version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("numpy", "scipy", "torch")},
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def ball(n: int, rng: np.random.Generator) -> Array:
    """`n` atoms of an fcc lattice with nearest neighbours 2.77 Å apart, cut by a ball about a random centre, in Å."""
    half = max(6, int(0.8 * n ** (1 / 3)) + 2)  # the ball's radius is 0.78 n^(1/3), its centre up to 0.9 away
    grid = np.indices((2 * half + 1,) * 3).reshape(3, -1).T - half
    lattice = grid[grid.sum(axis=1) % 2 == 0] * (2.77 / np.sqrt(2))
    distance = np.linalg.norm(lattice - rng.uniform(-0.5, 0.5, 3), axis=1)
    return np.asarray(lattice[np.argsort(distance)[:n]], dtype=np.float64)


def _pdf_case(n: int, batch: int) -> Case:
    rng = np.random.default_rng(n)
    # A little disorder: no two distances are equal, as in a refined structure.
    clusters = [ball(n, rng) + rng.normal(0, 0.02, (n, 3)) for _ in range(batch)]
    params = PdfParams()

    def run(threads: int) -> Array:
        return np.asarray(simulate_pdf(clusters, params, accuracy="direct", n_threads=threads)[1])

    r = np.asarray(simulate_pdf(clusters[0], params, n_threads=1)[0])
    peers = [Peer(f"NumPy {np.__version__}", lambda: numpy_pdf(clusters, params, r), 1e-9)]
    if _installed("diffpy.srreal"):
        version = metadata.version("diffpy.srreal")
        # diffpy interpolates linearly between the points of a coarse transform: a few per cent at this step.
        peers.append(Peer(f"diffpy.srreal {version}", lambda: _diffpy(clusters, params), 0.1))
    return Case(f"pdf-{n}", "PDFs", batch, run, True, tuple(peers))


def _node_case(n: int, batch: int) -> Case:
    """The same PDFs by histograms of distances and one matrix product, as structures are ranked and refined."""
    rng = np.random.default_rng(n)
    clusters = [ball(n, rng) + rng.normal(0, 0.02, (n, 3)) for _ in range(batch)]
    params = PdfParams()
    matrix = NodeKernel(params).matrix()

    def run(threads: int) -> Array:
        return np.asarray(NodeKernel(params, n_threads=threads).histogram(clusters) @ matrix / n)

    return Case(f"pdf-nodes-{n}", "PDFs", batch, run, True, (_direct(clusters, params),))


def _fast_case(n: int, batch: int) -> Case:
    """The same PDFs as `simulate_pdf` gives them by default."""
    rng = np.random.default_rng(n)
    clusters = [ball(n, rng) + rng.normal(0, 0.02, (n, 3)) for _ in range(batch)]
    params = PdfParams()

    def run(threads: int) -> Array:
        return np.asarray(simulate_pdf(clusters, params, n_threads=threads)[1])

    return Case(f"pdf-fast-{n}", "PDFs", batch, run, True, (_direct(clusters, params),))


def _direct(clusters: Sequence[Array], params: PdfParams) -> Peer:
    def run() -> Array:
        return np.asarray(simulate_pdf(clusters, params, accuracy="direct", n_threads=1)[1])

    return Peer("direct Debye sum", run, 1e-6)


def _diffpy(clusters: Sequence[Array], params: PdfParams) -> Array:
    return np.asarray(simulate_pdf(clusters, params, transform="diffpy", backend="diffpy")[1])


def _lbfgsb_case() -> Case:
    # SciPy's stubs do not know that a bare gradient may come beside a custom method.
    call: Any = minimize
    start, bounds = np.tile([-1.2, 1.0], 25), [(-2.0, 0.9)] * 50

    def solve(method: Any) -> Array:
        options: Any = {"gtol": 1e-9, "ftol": 1e-14}
        found: Any = call(rosen, start, jac=rosen_der, method=method, bounds=bounds, options=options)
        return np.asarray(found.x)

    scipy_peer = Peer(f"SciPy {metadata.version('scipy')} L-BFGS-B", lambda: solve("L-BFGS-B"), 1e-4)
    return Case("lbfgsb-rosenbrock-50", "minimisations", 1, lambda threads: solve(lbfgsb), False, (scipy_peer,))


def _trilaterate_case() -> Case:
    rng = np.random.default_rng(0)
    anchors = satellites(11)
    pairs, to_satellites = [], []
    for n in rng.integers(5, 101, 32):
        x = ball(int(n), rng)
        x /= 1.05 * np.linalg.norm(x, axis=1).max()
        noise = np.triu(rng.normal(0, 0.01, (n, n)), 1)
        pairs.append(np.linalg.norm(x[:, None] - x, axis=-1) + noise + noise.T)
        to_satellites.append(np.linalg.norm(x[:, None] - anchors, axis=-1) + rng.normal(0, 0.01, (n, 11)))

    def run(threads: int) -> Array:
        found = trilaterate(pairs, to_satellites, anchors, n_threads=threads)
        return np.concatenate([np.asarray(x, dtype=np.float64) for x in found.positions])

    def peer() -> Array:
        return np.concatenate(scipy_trilaterate(pairs, to_satellites, anchors))

    scipy_peer = Peer(f"SciPy {metadata.version('scipy')} joint L-BFGS-B", peer, 1e-3)
    return Case("trilaterate-5-to-100", "structures", len(pairs), run, True, (scipy_peer,))


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
