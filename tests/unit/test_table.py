"""Scores of reconstructions and the table of methods."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from hpcpdf import DataError
from hpcpdf.evaluate.metrics import Scores, score
from hpcpdf.evaluate.table import PAPER, Summary, compare, paired_test, summarise
from hpcpdf.pdf.metrics import epsilon2, pearson, rw

RNG = np.random.default_rng(2)
OBS = RNG.normal(size=(4, 50))
CALC = OBS + 0.2 * RNG.normal(size=(4, 50))
TRUE = [RNG.normal(size=(n, 3)) * 3.0 for n in (5, 8, 9, 12)]
MADE = [TRUE[0] + 1.0, TRUE[1][::-1], TRUE[2][:-1], np.vstack([TRUE[3], [9.0, 9.0, 9.0]])]


def test_scores():
    found = score(OBS, 3.0 * CALC, TRUE, MADE)
    np.testing.assert_allclose(found.epsilon2_unit, epsilon2(OBS, CALC))
    np.testing.assert_allclose(found.epsilon2_max, epsilon2(OBS, CALC, normalise="max"))
    np.testing.assert_allclose(found.pearson, pearson(OBS, CALC))
    np.testing.assert_allclose(found.rw, rw(OBS, CALC, fit_scale=True))
    np.testing.assert_array_equal(found.atoms_exact, [1, 1, 0, 0])
    np.testing.assert_array_equal(found.atoms_error, [0, 0, -1, 1])
    np.testing.assert_allclose(found.rmsd[:2], 0.0, atol=1e-6)
    assert np.isnan(found.rmsd[2:]).all()
    assert len(found) == 4


def test_given_rw_and_padding():
    padded = [np.vstack([item, np.full((3, 3), np.nan)]) for item in MADE]
    found = score(OBS, CALC, TRUE, padded, rw=np.arange(4.0), with_rmsd=False)
    np.testing.assert_array_equal(found.rw, np.arange(4.0))
    np.testing.assert_array_equal(found.atoms_error, [0, 0, -1, 1])
    assert np.isnan(found.rmsd).all()


def test_samples_must_be_the_same():
    with pytest.raises(DataError, match="different numbers of samples"):
        score(OBS, CALC[:3], TRUE, MADE)
    with pytest.raises(DataError, match="different shapes"):
        Scores(*(np.zeros(3) for _ in range(6)), np.zeros(4))


def test_summary_leaves_nan_out():
    summary = Summary.of([1.0, np.nan, 3.0, 8.0])
    assert (summary.n, summary.mean, summary.median) == (3, 4.0, 3.0)
    assert summary.std == pytest.approx(np.std([1, 3, 8], ddof=1))
    assert Summary.of([2.0]).std == 0.0
    assert Summary.of([np.nan]).n == 0


def scores(shift=0.0, n=20):
    rng = np.random.default_rng(0)
    values = [rng.uniform(0.0, 1.0, n) + shift for _ in range(5)]
    rmsd = np.where(np.arange(n) % 4 == 0, np.nan, 0.1)
    return Scores(values[0], values[1], values[2], values[3], np.arange(n) % 2, values[4], rmsd)


def test_text_has_every_method_and_figure():
    table = compare({"model": scores(), "look-up": scores(0.1)}, published=True, title="Test split")
    text = table.text()
    assert text.startswith("Test split\n")
    for word in (
        "model",
        "look-up",
        "CVAE, published",
        "ε² (unit norm)",
        "ε² (max norm)",
        "Pearson",
        "R_w",
        "RMSD / Å",
    ):
        assert word in text
    assert "50.0 %" in text
    assert "0.4823 ± 0.3400" in text
    assert "15 of 20" in text
    assert "p = " in text


def test_csv_and_json_hold_the_same_numbers(tmp_path):
    methods = {"model": scores(), "look-up": {"pearson": [0.5, np.nan], "extra": [1.0, 2.0]}}
    table = compare(methods, published=True, test=())
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    data = json.loads(table.json())
    assert [row["method"] for row in rows] == [row["method"] for row in data["rows"]]
    for flat, nested in zip(rows, data["rows"], strict=True):
        for name, summary in nested["columns"].items():
            for part, value in summary.items():
                assert flat[f"{name}_{part}"] == ("" if value is None else f"{value:.10g}")
    assert rows[1]["extra_mean"] == "1.5"
    assert rows[0]["extra_mean"] == ""
    paths = table.write(tmp_path / "out")
    assert [path.name for path in paths] == ["table.txt", "table.csv", "table.json"]
    assert paths[0].read_text(encoding="utf-8") == table.text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["table.csv", "table.json", "table.txt"]


def test_paired_t_test():
    a, b = RNG.normal(size=30), RNG.normal(size=30)
    test = paired_test("pearson", "a", {"pearson": a}, "b", {"pearson": b})
    assert test.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert test.difference == pytest.approx(np.mean(a - b))
    a[3] = np.nan
    assert paired_test("pearson", "a", {"pearson": a}, "b", {"pearson": b}).n == 29
    assert paired_test("rw", "a", {"pearson": a}, "b", {"pearson": b}) is None
    assert paired_test("pearson", "a", {"pearson": [1.0]}, "b", {"pearson": [2.0]}) is None
    same = paired_test("pearson", "a", {"pearson": b}, "b", {"pearson": b})
    assert (same.p_value, same.difference) == (1.0, 0.0)
    assert paired_test("pearson", "a", {"pearson": [1.0, 2.0]}, "b", {"pearson": [0.5, 1.5]}).p_value == 0.0
    with pytest.raises(DataError, match="needs the same samples"):
        paired_test("pearson", "a", {"pearson": a}, "b", {"pearson": b[:-1]})


def test_rows_need_equal_lengths():
    with pytest.raises(DataError, match="different lengths"):
        summarise("x", {"a": [1.0], "b": [1.0, 2.0]})
    assert summarise("none", {}).samples == 0


def test_published_figures():
    assert [(row.columns["pearson"].mean, row.columns["epsilon2_unit"].mean) for row in PAPER] == [
        (0.7482, 0.4548),
        (0.7321, 0.4823),
    ]
