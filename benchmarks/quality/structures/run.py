"""Solve the PDFs of a test set and judge the answers, one process and one thread at a time.

    python benchmarks/quality/structures/run.py fcc-asymmetric --count 40 --seed 2028 --out fcc-asymmetric.json

Prints a line per case and, at the end, a row for a table. The time is that of `hpcpdf.solve` alone; what is loaded once
a process is loaded before. A row is what the README quotes only when it was run alone on the machine (`--jobs 1`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from cases import SETS, Case, find_set, make_cases
from judge import Judgement, judge
from threadpoolctl import threadpool_limits

import hpcpdf
from hpcpdf.launch.bench import machine_facts
from hpcpdf.stage import provenance, write_json

HEAD = (
    "| set | seed | effort | cases | exact first | in the top ten | family | N in 90 % | time: median, mean, max |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Options:
    """How `hpcpdf.solve` is called.

    Attributes
    ----------
    effort
        ``quick``, ``normal`` or ``thorough``.
    seed
        Of the solver.
    refine
        Whether coordinates are refined, too.
    """

    effort: str = "normal"
    seed: int = 0
    refine: bool = False


def solve_case(case: Case, options: Options) -> Judgement:
    """Solve one PDF and judge the answer."""
    begin, cpu = time.perf_counter(), time.process_time()
    try:
        with threadpool_limits(1):
            solution = hpcpdf.solve(
                case.pdf,
                element=case.element,
                refine=options.refine,
                top=10,
                r_range=case.r_range,
                effort=options.effort,
                seed=options.seed,
                n_threads=1,
            )
        failure = None
    except hpcpdf.HpcPdfError as error:
        solution, failure = (), str(error)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    found = judge(case, solution, seconds, cpu_seconds)
    return found if failure is None else Judgement(**{**asdict(found), "error": failure})


@dataclass(frozen=True)
class Asked:
    """Which cases: the arguments of `make_cases`."""

    set: str
    seed: int
    count: int
    noise: float | None = None
    rstep: float = 0.1

    def cases(self) -> tuple[Case, ...]:
        return _cases(self)


@lru_cache(maxsize=1)
def _cases(asked: Asked) -> tuple[Case, ...]:
    return tuple(make_cases(asked.set, asked.seed, asked.count, noise=asked.noise, rstep=asked.rstep))


def solve_number(index: int, asked: Asked, options: Options) -> Judgement:
    """Solve one case of a set; every process makes the set for itself, once."""
    return solve_case(asked.cases()[index], options)


def solve_all(asked: Asked, options: Options, jobs: int) -> Iterator[Judgement]:
    """Judgements in the order of the cases."""
    one = partial(solve_number, asked=asked, options=options)
    if jobs == 1:
        yield from map(one, range(asked.count))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, range(asked.count))


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share, 95 % by default."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def summary(rows: Sequence[Judgement]) -> dict[str, Any]:
    """Shares with their 95 % intervals, times in seconds, and errors of the first candidates."""

    def share(hit: Callable[[Judgement], bool | None]) -> dict[str, Any] | None:
        known = [value for value in map(hit, rows) if value is not None]
        if not known:
            return None
        hits = sum(known)
        return {"hits": hits, "of": len(known), "share": hits / len(known), "wilson": wilson(hits, len(known))}

    def spread(of: Callable[[Judgement], float | None]) -> dict[str, float] | None:
        known = [value for value in map(of, rows) if value is not None]
        if not known:
            return None
        return {"median": statistics.median(known), "mean": statistics.fmean(known), "max": max(known)}

    def size(value: float | None) -> float | None:
        return None if value is None else abs(value)

    return {
        "cases": len(rows),
        "exact_first": share(lambda row: row.first_exact),
        "exact_in_top_ten": share(lambda row: row.in_top_ten),
        "exact_first_and_congruent": share(lambda row: row.congruent),
        "family": share(lambda row: row.family_right),
        "nested": sum(row.nested for row in rows),
        "atoms_right": share(lambda row: row.atoms_error == 0),
        "atoms_in_90_percent_interval": share(lambda row: row.in_interval),
        "lowest_bound_right": share(lambda row: row.lowest_bound_right),
        "lowest_bic_right": share(lambda row: row.lowest_bic_right),
        "wrongly_excluded": share(lambda row: row.wrongly_excluded),
        "pair_both_told": share(
            lambda row: None if not row.kind else row.truth_rank is not None and row.partner_rank is not None
        ),
        "seconds": spread(lambda row: row.seconds),
        "cpu_seconds": spread(lambda row: row.cpu_seconds),
        "rw": spread(lambda row: row.rw),
        "relative_atoms_error": spread(lambda row: size(row.atoms_error and row.atoms_error / row.n_atoms)),
        "relative_bond_error": spread(lambda row: size(row.bond_error)),
        "biso_error": spread(lambda row: size(row.biso_error)),
        "qdamp_error": spread(lambda row: size(row.qdamp_error)),
        "delta2_error": spread(lambda row: size(row.delta2_error)),
        "without_answer": sum(row.error is not None for row in rows),
    }


def groups(rows: Sequence[Judgement]) -> dict[str, dict[str, Any]]:
    """Summaries by noise, family and kind, of those of which the set has several."""
    found = {}
    keys: dict[str, Callable[[Judgement], str]] = {
        "noise": lambda row: f"{row.noise:g}",
        "family": lambda row: row.family,
        "kind": lambda row: row.kind,
    }
    for name, key in keys.items():
        parts = {value: list(part) for value, part in groupby(sorted(rows, key=key), key)}
        if len(parts) > 1:
            found[name] = {value: summary(part) for value, part in parts.items()}
    return found


def table_row(name: str, seed: int, effort: str, total: dict[str, Any]) -> str:
    """One row under `HEAD`."""

    def cell(part: dict[str, Any] | None) -> str:
        if part is None:
            return "–"
        low, high = part["wilson"]
        return f"{100 * part['share']:.0f} % ({100 * low:.0f}–{100 * high:.0f})"

    times = ", ".join(f"{total['seconds'][key]:.2f}" for key in ("median", "mean", "max"))
    shares = " | ".join(
        cell(total[key]) for key in ("exact_first", "exact_in_top_ten", "family", "atoms_in_90_percent_interval")
    )
    return f"| {name} | {seed} | {effort} | {total['cases']} | {shares} | {times} s |"


def line(row: Judgement) -> str:
    """What is printed of a case."""
    place = "no answer" if row.error else "not found" if row.rank is None else f"rank {row.rank}"
    said = row.error or f"{row.found_atoms} atoms, {row.found_family}, R_w {row.rw:.5f}"
    return f"{row.name:28s} {row.n_atoms:5d} atoms {row.family:12s} {place:10s} {row.seconds:7.2f} s   {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help=f"{', '.join(SETS)}; each also with -known or -unknown (qdamp in the header)")
    parser.add_argument("--count", type=int, help="cases; default: as many as the set says")
    parser.add_argument("--seed", type=int, default=0, help="below 1000 to tune with, 2028 to show; default 0")
    parser.add_argument("--effort", default="normal", choices=("quick", "normal", "thorough"))
    parser.add_argument("--noise", type=float, help="in place of the set's own, relative to F(Q)")
    parser.add_argument("--rstep", type=float, default=0.1, help="of the PDFs, Å; default 0.1")
    parser.add_argument("--refine", action="store_true", help="refine coordinates, too")
    parser.add_argument("--solver-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes; times are only worth telling with 1")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    asked = parser.parse_args()
    # For the libraries that are loaded later; those that are there already are limited around each call.
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        count = find_set(asked.set).count if asked.count is None else asked.count
    except KeyError as error:
        parser.error(str(error.args[0]))
    wanted = Asked(asked.set, asked.seed, count, asked.noise, asked.rstep)
    options = Options(asked.effort, asked.solver_seed, asked.refine)
    if asked.jobs == 1:
        solve_case(wanted.cases()[0], Options("quick"))
    rows: list[Judgement] = []
    try:
        for row in solve_all(wanted, options, asked.jobs):
            rows.append(row)
            print(line(row), flush=True)
    finally:
        # What was found counts even when a later case fails.
        if rows:
            _write(asked.out, wanted, options, asked.jobs, rows)
    print(HEAD)
    print(table_row(asked.set, asked.seed, asked.effort, summary(rows)))


def _write(out: Path, asked: Asked, options: Options, jobs: int, rows: list[Judgement]) -> None:
    write_json(
        out,
        {
            **asdict(asked),
            "complete": len(rows) == asked.count,
            "options": asdict(options),
            "jobs": jobs,
            "load_at_the_end": os.getloadavg(),
            "machine": machine_facts(1),
            "made": {key: value for key, value in provenance().items() if key != "host"},
            "summary": summary(rows),
            "groups": groups(rows),
            "rows": [asdict(row) for row in rows],
        },
    )


if __name__ == "__main__":
    main()
