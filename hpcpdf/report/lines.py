"""An answer in lines for a terminal: plain characters, the same words and numbers as the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpcpdf.reconstruct.solution import Candidate, Solution
from hpcpdf.report import page, spread
from hpcpdf.report.judge import judge
from hpcpdf.report.structures import equivalent_name, formula

_PLAIN = str.maketrans(
    {"Å": "A", "δ": "delta", "Δ": "delta ", "²": "^2", "⁻": "^-", "¹": "1", "–": "-", "−": "-", "×": "x", "±": "+-"}
)


def plain(text: str) -> str:
    """Text for a terminal of any encoding."""
    return text.translate(_PLAIN)


def ranking(candidates: Sequence[Candidate], r_range: tuple[float, float]) -> list[str]:
    """The candidates as a table, best first; `r_range` in Å."""
    agreement = f"R_w({r_range[0]:g}-{r_range[1]:g} A)"
    lines = [f"rank  probability  {agreement}  Pearson  atoms  family        nn (A)  coordination"]
    for rank, one in enumerate(candidates, start=1):
        probability = "-" if math.isnan(one.probability) else page.share(one.probability)
        lines.append(
            f"{rank:>4}  {probability:>11}  {one.rw:>{len(agreement)}.4f}  {one.pearson:>7.4f}  {one.n_atoms:>5}  "
            f"{one.family:<12}{one.nn_mean:>8.3f}  {one.coordination_mean:>12.2f}"
        )
    return lines


def summary(solution: Solution, pdf: Any) -> list[str]:
    """What the answer is worth: verdict, bounds, posterior, structures that fit alike, what to look at, notes.

    Parameters
    ----------
    solution
        At least one candidate.
    pdf
        The measured PDF: `qmin` and `qmax` in 1/Å or None.
    """
    judged = judge(solution, pdf)
    best = solution[0]
    lines = [f"verdict: {judged.verdict} (R_w {best.rw:.3f}). {judged.meaning}"]
    if solution.family_bounds:
        bounds = sorted(solution.family_bounds, key=lambda bound: bound.rw)
        said = [f"{bound.family} {bound.rw:.3f}{' (excluded)' if bound.excluded else ''}" for bound in bounds]
        lines.append(f"lowest R_w of any rigid particle: {', '.join(said)}")
    if solution.posterior.samples:
        lines.append(f"posterior: {spread.in_short(solution.posterior)}")
    if solution.sizes is not None and not solution.sizes.preferred:
        lines.append(f"sizes: {solution.sizes.sentence}")
    if len(judged.equal) > 1:
        others = [f"{i + 1} ({formula(solution[i])} {solution[i].family})" for i in judged.equal if i > 0]
        lines.append(f"no worse than the best within the noise: {', '.join(others)}")
    for rank, one in enumerate(solution, start=1):
        if one.equivalents:
            lines.append(f"no PDF tells from {rank}: {', '.join(equivalent_name(other) for other in one.equivalents)}")
    lines += [f"look at: {text}" for text in judged.warnings]
    lines += [f"note: {text}" for text in dict.fromkeys([*solution.notes, *best.notes])]
    return [plain(line) for line in lines]
