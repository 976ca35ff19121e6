"""The answer of `solve`: a sequence, kept in a folder without a loss, and what its posterior says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pytest
from solutions import solution

import hpcpdf
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.reconstruct.solution import (
    Candidate,
    Posterior,
    Sample,
    Solution,
    central_interval,
    read_solution,
)

_ARRAYS = ("r", "g_obs", "g_calc", "site_certainty")
_NUMBERS = (
    *("rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2", "nn_mean", "coordination_mean"),
    *("rw_before_refine", "rw_relaxed", "probability"),
)


def same(one: Candidate, other: Candidate) -> None:
    assert (one.family, one.notes, one.n_atoms) == (other.family, other.notes, other.n_atoms)
    assert one.atoms.get_chemical_symbols() == other.atoms.get_chemical_symbols()
    assert one.atoms.positions.tobytes() == other.atoms.positions.tobytes()
    for name in _NUMBERS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in _ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert len(one.equivalents) == len(other.equivalents)
    for first, second in zip(one.equivalents, other.equivalents, strict=True):
        same(first, second)


def test_it_is_a_sequence() -> None:
    answer, _ = solution()
    assert len(answer) == 5
    assert answer[0] is answer.candidates[0]
    assert answer[-1] is answer.candidates[4]
    assert answer[1:3] == answer.candidates[1:3]
    assert list(answer) == list(answer.candidates)
    assert answer.index(answer[2]) == 2
    with pytest.raises(IndexError):
        answer[5]
    assert answer.bounds["fcc"] == 0.118
    assert hpcpdf.Solution is Solution
    assert hpcpdf.Candidate is Candidate
    assert hpcpdf.read_solution is read_solution


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    answer, _ = solution()
    path = answer.save(tmp_path / "deep" / "kept")
    again = read_solution(path.parent)
    for one, other in zip(answer, again, strict=True):
        same(one, other)
    assert again.family_bounds == answer.family_bounds
    assert again.settings == answer.settings
    assert (again.verdict, again.notes, again.element) == (answer.verdict, answer.notes, answer.element)
    assert (again.source, again.sizes) == (answer.source, None)
    for one, other in zip(answer.posterior.samples, again.posterior.samples, strict=True):
        np.testing.assert_equal(asdict(one), asdict(other))
    assert {entry.name for entry in path.parent.iterdir()} == {"solution.json", "solution.npz"}


def test_an_answer_without_posterior_and_bounds(tmp_path: Path) -> None:
    answer, _ = solution()
    bare = replace(answer[0], probability=nan, equivalents=(), site_certainty=None, rw_relaxed=nan)
    odd = replace(answer.family_bounds[0], bic=-inf)
    lean = Solution(candidates=(bare,), verdict="poor", family_bounds=(odd,))
    lean.save(tmp_path)
    again = read_solution(str(tmp_path))
    same(bare, again[0])
    assert isnan(again[0].probability)
    assert again.family_bounds == (odd,)
    assert again.posterior.families == {}
    assert isnan(again.posterior.n_atoms()[0])


def test_what_candidates_share_is_kept_once(tmp_path: Path) -> None:
    answer, _ = solution()
    answer.save(tmp_path)
    with np.load(tmp_path / "solution.npz") as file:
        kept = [file[name] for name in file.files]
    assert sum(np.array_equal(array, answer[0].r) for array in kept) == 1


def test_the_same_answer_is_the_same_bytes(tmp_path: Path) -> None:
    answer, _ = solution()
    for name in ("a", "b"):
        answer.save(tmp_path / name)
    read_solution(tmp_path / "a").save(tmp_path / "c")
    for file in ("solution.json", "solution.npz"):
        first = (tmp_path / "a" / file).read_bytes()
        assert (tmp_path / "b" / file).read_bytes() == first
        assert (tmp_path / "c" / file).read_bytes() == first


def test_saving_replaces_an_earlier_answer_and_nothing_else(tmp_path: Path) -> None:
    answer, _ = solution()
    (tmp_path / "my-notes.txt").write_text("keep")
    answer.save(tmp_path)
    replace(answer, candidates=answer[:1]).save(tmp_path)
    assert len(read_solution(tmp_path)) == 1
    assert (tmp_path / "my-notes.txt").read_text() == "keep"
    (tmp_path / "solution.json").write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match="is not an earlier solution"):
        answer.save(tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        answer.save(tmp_path / "my-notes.txt")


def test_a_folder_that_is_missing_or_foreign(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no solution\.json; expected a folder of hpcpdf solve"):
        read_solution(tmp_path / "nowhere")
    (tmp_path / "solution.json").write_text('{"format": "other"}')
    with pytest.raises(DataError, match="is not a solution of hpcpdf"):
        read_solution(tmp_path)
    (tmp_path / "solution.json").write_text('{"format": "hpcpdf-solution", "format_version": 99}')
    with pytest.raises(DataError, match="format version 99, expected 1"):
        read_solution(tmp_path)


def test_a_damaged_folder(tmp_path: Path) -> None:
    """Whatever is cut or changed, the error is one line that names the file."""
    answer, _ = solution()
    answer.save(tmp_path)
    text, packed = (tmp_path / "solution.json").read_text(), (tmp_path / "solution.npz").read_bytes()
    document = json.loads(text)

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            read_solution(tmp_path)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)

    (tmp_path / "solution.npz").unlink()
    refused("is missing")
    for broken in (packed[:-30], packed[:100] + b"x" + packed[101:], b""):
        (tmp_path / "solution.npz").write_bytes(broken)
        refused("damaged")
    (tmp_path / "solution.npz").write_bytes(packed)
    for cut in (0, 1, len(text) // 2):
        (tmp_path / "solution.json").write_text(text[:cut])
        refused("damaged")
    for name in ("bounds", "posterior", "candidates", "notes", "settings", "verdict", "source"):
        (tmp_path / "solution.json").write_text(json.dumps({k: v for k, v in document.items() if k != name}))
        refused(f"damaged: no '{name}'")
        if name not in ("source", "notes"):
            (tmp_path / "solution.json").write_text(json.dumps({**document, name: 3}))
            refused("damaged")
    first = document["candidates"][0]
    for wrong in ({"rw": "much"}, {"rw": None}, {"positions": "a99"}, {"site_certainty": first["r"]}):
        (tmp_path / "solution.json").write_text(json.dumps({**document, "candidates": [{**first, **wrong}]}))
        refused("damaged")
    (tmp_path / "solution.json").write_bytes(b"\xff\xfe")
    refused("damaged")


def drawn(values: list[float], weights: list[float]) -> Posterior:
    return Posterior(tuple(Sample(int(v), v, v, "fcc", w) for v, w in zip(values, weights, strict=True)))


def test_families_add_up_to_one() -> None:
    shares = solution()[0].posterior.families
    assert list(shares) == ["fcc", "decahedron"]
    assert sum(shares.values()) == pytest.approx(1.0)
    scaled = Posterior(tuple(replace(s, weight=7.0 * s.weight) for s in solution()[0].posterior.samples))
    assert scaled.families == pytest.approx(shares)


def test_an_interval_by_hand() -> None:
    # 0.05 | 0.3 0.4 0.2 | 0.05: the middle three hold 0.9.
    posterior = drawn([10, 20, 21, 22, 40], [1, 6, 8, 4, 1])
    assert posterior.n_atoms() == posterior.diameter() == posterior.coordination() == (20, 22)
    assert posterior.n_atoms(0.95) == (10, 40)
    assert posterior.n_atoms(0.5) == (20, 21)
    assert posterior.n_atoms(1.0) == (10, 40)
    assert posterior.n_atoms(0.4) == (21, 21)
    assert isnan(posterior.facets()[0][0])


def test_one_sample_with_all_the_weight_is_a_point() -> None:
    assert drawn([79, 85, 60], [0.91, 0.01, 0.08]).n_atoms() == (79, 79)
    assert drawn([79], [3.0]).diameter(0.9) == (79, 79)


def test_intervals_hold_their_level_with_even_tails_and_lie_in_one_another() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        n = int(rng.integers(1, 12))
        values, weights = rng.integers(0, 9, n).astype(float), rng.random(n) ** 4
        total = weights.sum()
        inner = None
        for level in (0.5, 0.6, 0.68, 0.9, 0.99, 1.0):
            low, high = central_interval(values, weights, level)
            assert {low, high} <= set(values)
            assert weights[(values >= low) & (values <= high)].sum() >= (level - 1e-6) * total
            assert low == high or weights[values < low].sum() <= (0.5 * (1.0 - level) + 1e-6) * total
            assert low == high or weights[values > high].sum() <= (0.5 * (1.0 - level) + 1e-6) * total
            assert inner is None or (low <= inner[0] and inner[1] <= high)
            inner = low, high


def test_one_value_in_several_samples_is_a_point_too() -> None:
    assert central_interval([5, 5, 5, 6], [1, 1, 1, 0.2], 0.9) == (5, 5)


def test_intervals_are_calibrated() -> None:
    """Truths drawn from the posterior itself lie within the 90 % interval in 90 of 100 cases."""
    rng = np.random.default_rng(7)
    values, weights = rng.normal(100, 10, 400), rng.random(400)
    low, high = central_interval(values, weights, 0.9)
    truths = rng.choice(values, 20_000, p=weights / weights.sum())
    assert np.mean((truths >= low) & (truths <= high)) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("weights", [[nan, 1.0], [-1.0, 2.0], [0.0, 0.0], [inf, 1.0]])
def test_weights_that_are_none(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        drawn([1, 2], weights)


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, nan])
def test_a_level_that_is_none(level: float) -> None:
    with pytest.raises(ConfigError, match="level"):
        drawn([1, 2], [1, 1]).n_atoms(level)


def test_reading_a_solution_loads_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    solution()[0].save(tmp_path)
    code = f"import sys, hpcpdf; hpcpdf.read_solution({str(tmp_path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib"} & set(done.stdout.split())
