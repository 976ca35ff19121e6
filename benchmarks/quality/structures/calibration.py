"""Calibration of the posterior: do its intervals hold the truth as often as they say?

    python benchmarks/quality/structures/run.py noise-5 --seed 2028 --out noise-5.json
    python benchmarks/quality/structures/calibration.py noise-5.json --out calibration

Writes calibration.png and .pdf. Left: share of the true numbers of atoms inside the intervals, against their nominal
level, and against the probability that the solver gives to what is inside, which is more than the level because numbers
of atoms are whole. Right: share of first candidates that are exact, against the probability that they are given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from run import wilson

from hpcpdf.report.figures import PALETTE, new_figure, save

_BINS = 5


def coverage(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """For each level: mean probability inside the intervals, share of truths inside, and its 95 % interval."""
    judged = [row for row in rows if row["intervals"]]
    found = []
    for k in range(len(judged[0]["intervals"]) if judged else 0):
        inside = sum(row["intervals"][k][1] <= row["n_atoms"] <= row["intervals"][k][2] for row in judged)
        low, high = wilson(inside, len(judged))
        found.append(
            {
                "level": judged[0]["intervals"][k][0],
                "probability": float(np.mean([row["intervals"][k][3] for row in judged])),
                "inside": inside / len(judged),
                "low": low,
                "high": high,
            }
        )
    return found


def reliability(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """First candidates in groups of equal size by their probability: its mean, and the share that is exact."""
    judged = sorted(
        (row["probability"], row["rank"] == 1) for row in rows if row["probability"] is not None and not row["error"]
    )
    found = []
    for part in np.array_split(np.array(judged, dtype=np.float64).reshape(-1, 2), _BINS):
        if len(part):
            hits = int(part[:, 1].sum())
            low, high = wilson(hits, len(part))
            found.append(
                {
                    "probability": float(part[:, 0].mean()),
                    "exact": hits / len(part),
                    "low": low,
                    "high": high,
                    "cases": len(part),
                }
            )
    return found


def _draw(axes: Axes, x: list[float], found: list[dict[str, float]], name: str, colour: str, label: str) -> None:
    y = [point[name] for point in found]
    below = [max(0.0, point[name] - point["low"]) for point in found]
    above = [max(0.0, point["high"] - point[name]) for point in found]
    style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2}
    axes.errorbar(x, y, yerr=[below, above], color=colour, label=label, **style)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="JSON files of run.py, taken together")
    parser.add_argument("--out", type=Path, required=True, help="figure, without its ending")
    asked = parser.parse_args()
    rows = [row for path in asked.results for row in json.loads(path.read_text())["rows"]]
    covered, reliable = coverage(rows), reliability(rows)
    if not covered:
        parser.error(f"{', '.join(map(str, asked.results))}: no case has a posterior")
    figure = new_figure(7.2, 3.6)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color="#808080", linewidth=0.8, linestyle="--")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    _draw(left, [p["level"] for p in covered], covered, "inside", PALETTE[0], "nominal level")
    _draw(left, [p["probability"] for p in covered], covered, "inside", PALETTE[1], "probability inside")
    left.set(xlabel="level of the interval", ylabel="true numbers of atoms inside", title=f"{len(rows)} PDFs")
    left.legend(frameon=False, loc="upper left")
    if reliable:
        _draw(right, [p["probability"] for p in reliable], reliable, "exact", PALETTE[2], "")
    right.set(xlabel="probability of the first candidate", ylabel="first candidates that are exact")
    for path in save(figure, asked.out):
        print(path)
    for point in covered:
        print(
            f"level {point['level']:.2f}: probability {point['probability']:.3f}, inside {point['inside']:.3f} "
            f"({point['low']:.3f}-{point['high']:.3f})"
        )
    for point in reliable:
        print(f"probability {point['probability']:.3f}: exact {point['exact']:.3f} of {point['cases']}")


if __name__ == "__main__":
    main()
