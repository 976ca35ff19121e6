"""In which order a series is solved, and what each file begins from; the search itself is stood in for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from solutions import solution

import hpcpdf
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.solution import Posterior, Sample, Solution
from hpcpdf.series.plan import stretches
from hpcpdf.series.solving import unique_names


@pytest.mark.parametrize("count", [1, 2, 3, 22, 48, 49, 1000])
def test_every_file_is_in_one_chain_and_begins_beside_its_start(count: int) -> None:
    plan = stretches(count)
    seen = [k for part in plan for k in (part.anchor, *(k for chain in part.chains for k in chain))]
    assert sorted(seen) == list(range(count))
    for part in plan:
        for chain in part.chains:
            steps = [abs(b - a) for a, b in zip((part.anchor, *chain), chain, strict=False)]
            assert set(steps) == {1}
    assert len(plan) == -(-count // 48)


def pdfs(count: int) -> list[MeasuredPdf]:
    pdf = solution()[1]
    scaled = [replace(pdf, g=pdf.g * (1.0 + 0.01 * k), source=f"T{10 * k}K.gr") for k in range(count)]
    return scaled[::-1]


Calls = list[tuple[str, str | None, tuple[str, ...] | None, str]]


class Search:
    """Stands in for `solve`: notes what it was asked, and answers with one structure."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.family: Callable[[str], str] = lambda name: "fcc"
        self.failing: set[str] = set()
        self.stop_after = 10**9
        self._lock = threading.Lock()

    def __call__(self, pdf: MeasuredPdf, **options: Any) -> Solution:
        neighbour, families = options["neighbour"], options["families"]
        with self._lock:
            if len(self.calls) >= self.stop_after:
                raise KeyboardInterrupt
            self.calls.append((pdf.source, neighbour and neighbour.source, families, options["effort"]))
        if pdf.source in self.failing:
            raise DataError(f"{pdf.source}: nothing there")
        family = self.family(pdf.source)
        answer = solution()[0]
        settings = {"effort": options["effort"]}
        candidates = tuple(replace(one, family=family) for one in answer.candidates[:1])
        posterior = Posterior((Sample(80, 12.0, 8.0, family, 1.0),))
        return replace(
            answer, candidates=candidates, posterior=posterior, source=pdf.source, settings=settings, family_bounds=()
        )


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    made = Search()
    monkeypatch.setattr("hpcpdf.reconstruct.solve.solve", made)
    return made


def begun_from(search: Search) -> dict[str, str | None]:
    return {source: neighbour for source, neighbour, _, _ in search.calls}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_files_begin_from_their_neighbours(search: Search, n_threads: int) -> None:
    series = hpcpdf.solve_series(pdfs(6), "Pt", n_threads=n_threads)
    assert series.axis.values == (0, 10, 20, 30, 40, 50)
    assert [one.source for one in series] == [f"T{10 * k}K.gr" for k in range(6)]
    assert begun_from(search) == {
        **{"T30K.gr": None, "T20K.gr": "T30K.gr", "T10K.gr": "T20K.gr", "T0K.gr": "T10K.gr"},
        **{"T40K.gr": "T30K.gr", "T50K.gr": "T40K.gr"},
    }
    assert search.calls[0] == ("T30K.gr", None, None, "normal")
    assert {(families, effort) for _, _, families, effort in search.calls[1:]} == {(("fcc",), "quick")}
    assert series.motifs == ("fcc",)


def test_a_motif_of_one_file_is_looked_for_in_all(search: Search) -> None:
    search.family = lambda name: "hcp" if name == "T0K.gr" else "fcc"
    series = hpcpdf.solve_series(pdfs(5), "Pt", n_threads=1)
    assert series.motifs == ("fcc", "hcp")
    last = {source: families for source, _, families, _ in search.calls}
    assert last == {"T20K.gr": None, **{f"T{k}K.gr": ("fcc", "hcp") for k in (0, 10, 30, 40)}}
    assert series.table[0]["p_hcp"] == 1.0
    assert series.table[1]["p_hcp"] == 0.0


def test_a_file_that_fails_is_told_and_passed_over(search: Search) -> None:
    search.failing = {"T10K.gr", "T20K.gr"}
    series = hpcpdf.solve_series(pdfs(5), "Pt", n_threads=1)
    assert series.names == ("T0K", "T30K", "T40K")
    assert series.axis.values == (0, 30, 40)
    assert dict(series.failures) == {"T10K": "T10K.gr: nothing there", "T20K": "T20K.gr: nothing there"}
    assert begun_from(search)["T30K.gr"] is None
    assert begun_from(search)["T40K.gr"] == "T30K.gr"
    search.failing = {f"T{10 * k}K.gr" for k in range(5)}
    with pytest.raises(DataError, match=r"none of 5 files can be solved; T0K|T20K"):
        hpcpdf.solve_series(pdfs(5), "Pt", n_threads=1)


def test_an_interrupted_series_goes_on(search: Search, tmp_path: Path) -> None:
    search.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        hpcpdf.solve_series(pdfs(6), "Pt", n_threads=1, folder=tmp_path)
    done = [source for source, *_ in search.calls]
    search.stop_after = 10**9
    search.calls.clear()
    series = hpcpdf.solve_series(pdfs(6), "Pt", n_threads=1, folder=tmp_path)
    assert sorted([*done, *begun_from(search)]) == sorted(f"T{10 * k}K.gr" for k in range(6))
    assert len(search.calls) == 3
    series.save(tmp_path)
    search.calls.clear()
    again = hpcpdf.solve_series(pdfs(6), "Pt", n_threads=1, folder=tmp_path)
    assert not search.calls
    assert again.table == series.table


def test_other_settings_are_solved_again_and_other_data_kept(search: Search, tmp_path: Path) -> None:
    hpcpdf.solve_series(pdfs(3), "Pt", n_threads=1, folder=tmp_path)
    hpcpdf.solve_series(pdfs(3), "Pt", n_threads=1, folder=tmp_path, seed=1)
    assert len(search.calls) == 6
    other = [replace(pdf, g=2.0 * pdf.g) for pdf in pdfs(3)]
    with pytest.raises(ConfigError, match="other data"):
        hpcpdf.solve_series(other, "Pt", n_threads=1, folder=tmp_path)
    assert len(search.calls) == 6
    hpcpdf.solve_series(other, "Pt", n_threads=1, folder=tmp_path, overwrite=True)
    assert len(search.calls) == 9


def test_a_file_more_leaves_the_others(search: Search, tmp_path: Path) -> None:
    hpcpdf.solve_series(pdfs(4), "Pt", n_threads=1, folder=tmp_path)
    search.calls.clear()
    hpcpdf.solve_series(pdfs(5), "Pt", n_threads=1, folder=tmp_path)
    assert begun_from(search) == {"T40K.gr": "T30K.gr"}


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no files"):
        hpcpdf.solve_series([], "Pt")
    with pytest.raises(ConfigError, match="effort = 'great'"):
        hpcpdf.solve_series(pdfs(2), "Pt", effort="great")
    with pytest.raises(ConfigError, match="not in its composition"):
        hpcpdf.solve_series([replace(pdf, composition="Au") for pdf in pdfs(2)], "Pt")


def test_names_are_told_apart() -> None:
    assert unique_names(["a/x.gr", "b/x.gr", "x-2.gr", "y.gr"]) == ["x", "x-2", "x-2-2", "y"]
