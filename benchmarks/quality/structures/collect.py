"""One table and one small file from the files of `run.py`: what is kept in the repository.

python benchmarks/quality/structures/collect.py runs/*.json --out benchmarks/quality/structures/results
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

KEPT = ("name", "family", "n_atoms", "found_family", "found_atoms", "rank", "rw", "cpu_seconds", "probability")
SUMMARY = ("cases", "exact_first", "exact_in_top_ten", "family", "atoms_in_90_percent_interval", "pair_both_told")


def _share(value: dict[str, Any] | None) -> str:
    if not value:
        return "–"
    low, high = value["wilson"]
    return f"{value['hits']}/{value['of']} ({100 * low:.0f}–{100 * high:.0f} %)"


def line(run: dict[str, Any]) -> str:
    """A row of the table."""
    summary, options = run["summary"], run["options"]
    cpu = summary["cpu_seconds"]
    return (
        f"| {run['set']} | {options.get('effort', 'normal')} | {_share(summary['exact_first'])} "
        f"| {_share(summary['exact_in_top_ten'])} | {_share(summary['family'])} "
        f"| {_share(summary['atoms_in_90_percent_interval'])} "
        f"| {cpu['median']:.2f}, {cpu['mean']:.2f}, {cpu['max']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="name of the .json and .md to write, without suffix")
    arguments = parser.parse_args()
    runs = [json.loads(path.read_text()) for path in arguments.files]
    kept = []
    for run in runs:
        # Where the file lay is nobody's business.
        command = run["made"]["command"]
        run["made"]["command"] = command[: command.index("--out")]
        groups = {
            kind: {name: {key: part[key] for key in SUMMARY if key in part} for name, part in parts.items()}
            for kind, parts in run["groups"].items()
        }
        kept.append(
            {
                **{key: run[key] for key in ("set", "seed", "count", "options", "machine", "made", "load_at_the_end")},
                "summary": {
                    key: run["summary"][key] for key in (*SUMMARY, "seconds", "cpu_seconds") if key in run["summary"]
                },
                "groups": groups,
                "rows": [[row[key] for key in KEPT] for row in run["rows"]],
                "columns": KEPT,
            }
        )
    arguments.out.with_suffix(".json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")
    seeds = ", ".join(sorted({str(run["seed"]) for run in runs}))
    table = [
        f"| set (seed {seeds}) | effort | exact, first | exact, top ten | family | N in 90 % interval "
        "| CPU s: median, mean, max |",
        "|---|---|---|---|---|---|---|",
        *(line(run) for run in runs),
    ]
    arguments.out.with_suffix(".md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
