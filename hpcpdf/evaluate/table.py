"""The table that methods are compared by: mean ± standard deviation and median of every figure of merit."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hpcpdf.errors import DataError
from hpcpdf.evaluate.metrics import Scores
from hpcpdf.stage import atomic_path

LABELS = {
    "epsilon2_unit": "ε² (unit norm)",
    "epsilon2_max": "ε² (max norm)",
    "pearson": "Pearson",
    "rw": "R_w",
    "atoms_exact": "atoms exact",
    "atoms_error": "atoms error",
    "rmsd": "RMSD / Å",
}
_SHARES = ("atoms_exact",)
"""Columns of 0 and 1: a percentage says all."""


@dataclass(frozen=True)
class Summary:
    """What is said of one figure of merit of one method.

    `n` samples have a value; `mean`, `std` (with n − 1 degrees of freedom) and `median` are theirs, NaN without any.
    """

    n: int
    mean: float
    std: float
    median: float

    @classmethod
    def of(cls, values: ArrayLike) -> Summary:
        """Summary of the values that are not NaN."""
        array = np.asarray(values, dtype=np.float64).ravel()
        array = array[~np.isnan(array)]
        if not array.size:
            return cls(0, math.nan, math.nan, math.nan)
        std = float(array.std(ddof=1)) if array.size > 1 else 0.0
        return cls(array.size, float(array.mean()), std, float(np.median(array)))


@dataclass(frozen=True)
class Row:
    """One method: its name, the number of samples, its summaries by column, and where it comes from."""

    name: str
    samples: int
    columns: Mapping[str, Summary]
    source: str = ""


PAPER = (
    Row(
        "DAE, published",
        137,
        {"epsilon2_unit": Summary(137, 0.4548, 0.30, math.nan), "pearson": Summary(137, 0.7482, 0.17, math.nan)},
        "Anker et al., KDD-MLG 2020, Table 1; normalisation of ε² not stated",
    ),
    Row(
        "CVAE, published",
        137,
        {"epsilon2_unit": Summary(137, 0.4823, 0.34, math.nan), "pearson": Summary(137, 0.7321, 0.19, math.nan)},
        "Anker et al., KDD-MLG 2020, Table 1; normalisation of ε² not stated",
    ),
)
"""The published figures of the reference method on its own data."""


@dataclass(frozen=True)
class Test:
    """Two-tailed paired t-test of one column between two methods; a positive `difference` is `first` − `second`."""

    __test__ = False

    column: str
    first: str
    second: str
    n: int
    difference: float
    p_value: float


@dataclass(frozen=True)
class Table:
    """Rows of methods, and tests between those whose samples are the same.

    Parameters
    ----------
    rows
        In the order shown.
    tests
        Shown below the rows.
    title
        First line of the text.
    """

    rows: Sequence[Row]
    tests: Sequence[Test] = ()
    title: str = ""

    def text(self) -> str:
        """As aligned columns: mean ± std, the median in brackets."""
        names = self._columns()
        lines = [["method", "n", *(LABELS.get(name, name) for name in names)]]
        for row in self.rows:
            lines.append([row.name, str(row.samples), *(_cell(row, name) for name in names)])
        width = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        out = [self.title] if self.title else []
        for line in lines:
            cells = [
                line[0].ljust(width[0]),
                *(cell.rjust(size) for cell, size in zip(line[1:], width[1:], strict=True)),
            ]
            out.append("  ".join(cells).rstrip())
        out.append("mean ± standard deviation [median]" + _partial(self.rows))
        out += [
            f"{LABELS.get(test.column, test.column)}: {test.first} − {test.second} = {test.difference:+.4g}, "
            f"p = {test.p_value:.2g} (paired t-test, n = {test.n})"
            for test in self.tests
        ]
        out += [f"{row.name}: {row.source}" for row in self.rows if row.source]
        return "\n".join(out) + "\n"

    def csv(self) -> str:
        """One line a method, four columns a figure of merit; empty where there is none."""
        names = self._columns()
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        parts = [item.name for item in fields(Summary)]
        writer.writerow(["method", "samples", *(f"{name}_{part}" for name in names for part in parts), "source"])
        for row in self.rows:
            cells: list[str] = []
            for name in names:
                summary = row.columns.get(name)
                cells += [_plain(getattr(summary, part)) if summary else "" for part in parts]
            writer.writerow([row.name, row.samples, *cells, row.source])
        return buffer.getvalue()

    def json(self) -> str:
        """Everything, NaN as null."""
        data: dict[str, Any] = {
            "title": self.title,
            "rows": [
                {
                    "method": row.name,
                    "samples": row.samples,
                    "source": row.source,
                    "columns": {name: _finite(asdict(summary)) for name, summary in row.columns.items()},
                }
                for row in self.rows
            ],
            "tests": [_finite(asdict(test)) for test in self.tests],
        }
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: str | Path) -> tuple[Path, Path, Path]:
        """Write ``table.txt``, ``table.csv`` and ``table.json``; each is complete or absent."""
        paths = tuple(Path(folder) / f"table.{kind}" for kind in ("txt", "csv", "json"))
        for path, content in zip(paths, (self.text(), self.csv(), self.json()), strict=True):
            with atomic_path(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
        return paths[0], paths[1], paths[2]

    def _columns(self) -> list[str]:
        present = {name: None for row in self.rows for name in row.columns}
        known = [name for name in LABELS if name in present]
        return known + [name for name in present if name not in LABELS]


def summarise(name: str, scores: Scores | Mapping[str, ArrayLike], *, source: str = "") -> Row:
    """A row from per-sample values.

    Parameters
    ----------
    name
        Of the method.
    scores
        `Scores`, or any named arrays (n,); NaN counts as no value.
    source
        Shown below the table.

    Raises
    ------
    DataError
        If the arrays differ in length.
    """
    columns = _columns_of(scores)
    sizes = {column: np.size(values) for column, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{name}: columns of different lengths {sizes}")
    summaries = {column: Summary.of(values) for column, values in columns.items()}
    return Row(name, next(iter(sizes.values()), 0), summaries, source)


def compare(
    methods: Mapping[str, Scores | Mapping[str, ArrayLike]],
    *,
    published: bool = False,
    test: Sequence[str] = ("pearson", "rw"),
    title: str = "",
) -> Table:
    """The table of several methods on the same samples.

    Parameters
    ----------
    methods
        Name to per-sample values; all on the same samples in the same order.
    published
        Whether to show the published figures of the reference method too.
    test
        Columns by which the first method is tested against each of the others.
    title
        First line of the text.
    """
    rows = [summarise(name, scores) for name, scores in methods.items()]
    names = list(methods)
    tests = [
        found
        for column in test
        for second in names[1:]
        if (found := paired_test(column, names[0], methods[names[0]], second, methods[second])) is not None
    ]
    return Table([*rows, *(PAPER if published else ())], tests, title)


def paired_test(
    column: str,
    first: str,
    first_scores: Scores | Mapping[str, ArrayLike],
    second: str,
    second_scores: Scores | Mapping[str, ArrayLike],
) -> Test | None:
    """Two-tailed paired t-test over the samples that both have; None with fewer than two, or without the column.

    Raises
    ------
    DataError
        If the numbers of samples differ.
    """
    a, b = _columns_of(first_scores).get(column), _columns_of(second_scores).get(column)
    if a is None or b is None:
        return None
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise DataError(f"{first} has {x.size} samples and {second} {y.size}: a paired test needs the same samples")
    both = ~np.isnan(x) & ~np.isnan(y)
    if np.count_nonzero(both) < 2:
        return None
    difference = x[both] - y[both]
    # Without any spread the statistic is 0/0 or infinite; the answer is plain.
    if np.ptp(difference) <= 1e-15 * max(np.abs(x[both]).max(), 1e-300):
        p_value = 1.0 if difference[0] == 0.0 else 0.0
    else:
        p_value = float(stats.ttest_rel(x[both], y[both]).pvalue)
    return Test(column, first, second, int(difference.size), float(difference.mean()), p_value)


def _columns_of(scores: Scores | Mapping[str, ArrayLike]) -> Mapping[str, ArrayLike]:
    if isinstance(scores, Scores):
        return {item.name: getattr(scores, item.name) for item in fields(scores)}
    return scores


def _cell(row: Row, name: str) -> str:
    summary = row.columns.get(name)
    if summary is None or not summary.n:
        return "–"
    if name in _SHARES:
        return f"{100.0 * summary.mean:.1f} %"
    median = "" if math.isnan(summary.median) else f" [{summary.median:.4f}]"
    mark = "*" if summary.n < row.samples else ""
    return f"{summary.mean:.4f} ± {summary.std:.4f}{median}{mark}"


def _partial(rows: Sequence[Row]) -> str:
    partial = [
        f"{row.name}, {LABELS.get(name, name)}: {summary.n} of {row.samples}"
        for row in rows
        for name, summary in row.columns.items()
        if 0 < summary.n < row.samples and name not in _SHARES
    ]
    return "; * over the samples that have a value (" + "; ".join(partial) + ")" if partial else ""


def _plain(value: float) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else f"{value:.10g}"


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in data.items()}
