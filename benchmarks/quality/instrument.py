"""How many more structures are exact where the instrument is known, on the simulated PDFs of `structures/cases.py`.

    python benchmarks/quality/instrument.py --set noise-2-asymmetric --seed 2030 --count 40 --qbroad 0 0.03
    python benchmarks/quality/instrument.py --count 40 --effort normal --out benchmarks/quality/instrument-normal.json

Every PDF of the set, without qdamp in its header, is solved twice: as it is, and with an instrument file that holds the
true qdamp. With `--qbroad` the peaks are broadened, too, which the instrument then knows. Writes ``instrument.json``
beside this file unless `--out` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hpcpdf
from hpcpdf.stage import atomic_path, sample_rng

sys.path.insert(0, str(Path(__file__).parent / "structures"))
from cases import Case, make_cases, make_pdf
from judge import judge

HERE = Path(__file__).parent


def broadened(case: Case, qbroad: float, index: int, seed: int) -> Case:
    """The same with broadened peaks; the noise is another draw of the same size."""
    if qbroad == 0.0:
        return case
    params = replace(case.params, qbroad=qbroad)
    rng = sample_rng(seed, index, zlib.crc32(b"qbroad"))
    pdf = make_pdf(case.truth.positions, params, case.noise, rng, case.name, qdamp_known=False)
    return replace(case, pdf=pdf, params=params)


def solved(case: Case, effort: str, instrument: Path | None) -> dict[str, Any]:
    """What is found in one PDF, and how far it is from the truth."""
    begin = time.process_time()
    solution = hpcpdf.solve(
        case.pdf,
        case.element,
        refine=False,
        top=10,
        r_range=case.r_range,
        effort=effort,
        instrument=instrument,
        n_threads=1,
    )
    seconds = time.process_time() - begin
    found = judge(case, solution, seconds, seconds)
    low, high = solution.posterior.n_atoms(0.9)
    return {
        "exact_first": found.first_exact,
        "exact_in_top_ten": found.in_top_ten,
        "atoms_error": found.atoms_error,
        "atoms_in_90_percent": low <= case.n_atoms <= high,
        "atoms_90_percent": [low, high],
        "qdamp": round(solution[0].qdamp, 5),
        "cpu_seconds": round(seconds, 2),
    }


def rows(asked: argparse.Namespace, qbroad: float) -> Iterator[dict[str, Any]]:
    """One for each case."""
    for index, plain in enumerate(make_cases(f"{asked.set}-unknown", asked.seed, asked.count)):
        case = broadened(plain, qbroad, index, asked.seed)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "instrument.toml"
            hpcpdf.Instrument(qdamp=case.params.qdamp, qbroad=qbroad).save(path)
            both = {"without": solved(case, asked.effort, None), "with": solved(case, asked.effort, path)}
        yield {"case": index, "atoms": case.n_atoms, "true_qdamp": round(case.params.qdamp, 5), **both}


def told(row: dict[str, Any], how: str) -> str:
    """An answer in a few words."""
    found = row[how]
    low, high = found["atoms_90_percent"]
    word = "exact" if found["exact_first"] else "other"
    return f"{how}: {word}, N {low:g}-{high:g}, qdamp {found['qdamp']:.4f}, {found['cpu_seconds']} s"


def run(asked: argparse.Namespace, qbroad: float) -> dict[str, Any]:
    """All cases with this broadening, 1/Å."""
    found = []
    for row in rows(asked, qbroad):
        found.append(row)
        print(f"{row['case']:3d} {row['atoms']:4d} atoms, qdamp {row['true_qdamp']:.4f}", end="  ")
        print(told(row, "without"), told(row, "with"), sep="  ", flush=True)
    keys = ("exact_first", "exact_in_top_ten", "atoms_in_90_percent")
    totals = {how: {key: sum(row[how][key] for row in found) for key in keys} for how in ("without", "with")}
    print(f"qbroad {qbroad:g}: {totals}")
    return {"qbroad": qbroad, "totals": totals, "cases": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="noise-2-asymmetric")
    parser.add_argument("--seed", type=int, default=2030)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--qbroad", type=float, nargs="+", default=[0.0], help="1/Å")
    parser.add_argument("--out", type=Path, default=HERE / "instrument.json")
    asked = parser.parse_args()
    settings = {name: getattr(asked, name) for name in ("set", "seed", "count", "effort")}
    text = json.dumps({"settings": settings, "runs": [run(asked, qbroad) for qbroad in asked.qbroad]})
    # A case a line.
    with atomic_path(asked.out) as temporary:
        temporary.write_text(text.replace('{"case"', '\n{"case"') + "\n")


if __name__ == "__main__":
    main()
