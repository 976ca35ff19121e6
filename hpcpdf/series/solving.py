"""Several PDFs of one experiment, solved as a series."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, get_args

from threadpoolctl import threadpool_limits

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.range import Range
from hpcpdf.pdf.simulate import thread_count
from hpcpdf.reconstruct.solution import Effort, Solution
from hpcpdf.reconstruct.solve import check_composition
from hpcpdf.series.axis import series_axis
from hpcpdf.series.one import FOLLOWING, check_folder, known_answer, motifs, solve_one
from hpcpdf.series.plan import stretches
from hpcpdf.series.pool import workers
from hpcpdf.series.result import Series

log = logging.getLogger(__name__)


def solve_series(
    pdfs: Sequence[MeasuredPdf],
    element: str,
    *,
    effort: Effort = "normal",
    seed: int = 0,
    r_range: Range = (1.5, 20.0),
    refine: bool = False,
    top: int = 3,
    folder: str | Path | None = None,
    overwrite: bool = False,
    n_threads: int | None = None,
    processes: bool = False,
    part: tuple[int, int] | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Series:
    """Solve PDFs of one experiment as a series: temperature, time or position.

    The file in the middle is solved for itself, at `effort`; from there each file begins from the structures of its
    neighbour, one effort lower (quick after normal). All files are searched for the same motifs: those that any of
    them leaves likely. Results depend neither on the number of threads nor on the order in which files are given.

    Parameters
    ----------
    pdfs
        As from `read_gr`; where each stands is read from its header or its name (`Series.axis`).
    element, effort, seed, r_range
        As in `solve`.
    refine
        As in `solve`, of the best structure of each file. Off: a relaxed surface, kept in one file and not in the next,
        shifts mean bond lengths by several times what they are known to.
    top
        Candidates kept of each file.
    folder
        Where the answer to each file is kept, in a folder with its name, as soon as there is one; answers found there
        for the same data and settings are taken: an interrupted series goes on. None keeps nothing.
    overwrite
        Whether answers to other data, found there, are replaced.
    n_threads
        Files at a time, or threads of one file; None: all cores.
    processes
        Whether each file at a time has a process of its own: quicker, but a script has to guard its own lines by
        ``if __name__ == "__main__"``.
    part
        Solve the stretches of one of several jobs alone: its place, and how many there are.
    progress
        Called with a line of text for every file.
    options
        Whatever else `solve` takes: model …

    Returns
    -------
    Series
        Solutions in the order of the series; files that cannot be solved are told in `Series.failures`.

    Raises
    ------
    ConfigError
        As `solve`, or if there is no file, or a folder holds something else.
    DataError
        If no file can be solved.
    """
    if not pdfs:
        raise ConfigError("a series of no files: give at least one")
    if effort not in get_args(Effort):
        raise ConfigError(f"effort = {effort!r}: expected one of {', '.join(get_args(Effort))}")
    order, axis = series_axis([pdf.source for pdf in pdfs], [pdf.metadata for pdf in pdfs])
    ordered = [pdfs[k] for k in order]
    names = unique_names([pdf.source for pdf in ordered])
    given = {
        "element": element,
        "r_range": tuple(r_range),
        "seed": seed,
        "effort": effort,
        "refine": refine,
        "top": top,
        **options,
    }
    with threadpool_limits(1), warnings.catch_warnings():
        # What a composition holds beside the metal is noted in every answer.
        warnings.simplefilter("ignore", UserWarning)
        for pdf in ordered:
            check_composition(pdf, element)
            PdfFitter(pdf, r_range)
        run = _Run(ordered, names, given, None if folder is None else Path(folder), overwrite, progress or log.info)
        run.check()
        count = thread_count(n_threads)
        with workers(count, processes=processes and count > 1 and len(pdfs) > 1) as pool:
            run.solve(pool, count, part or (0, 1))
    if not run.answers and part is None:
        name, why = next(iter(run.failures.items()))
        raise DataError(f"none of {len(pdfs)} files can be solved; {name}: {why}")
    return Series.made(ordered, names, axis, run.answers, run.failures, run.motifs, given)


def unique_names(sources: Sequence[str]) -> list[str]:
    """Names of files without folders and endings; a number tells those of one name apart."""
    names: list[str] = []
    for source in sources:
        stem = PurePath(source).stem
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}-{count}"
        names.append(name)
    return names


@dataclass(eq=False)
class _Run:
    """The files, and what is known of them so far."""

    pdfs: Sequence[MeasuredPdf]
    names: Sequence[str]
    given: dict[str, Any]
    folder: Path | None
    overwrite: bool
    tell: Callable[[str], None]
    answers: dict[int, Solution] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    motifs: tuple[str, ...] = ()
    _covered: dict[int, frozenset[str]] = field(default_factory=dict)

    def check(self) -> None:
        for k, pdf in enumerate(self.pdfs):
            out = self._out(k)
            if out is not None:
                check_folder(out, pdf, overwrite=self.overwrite)

    def solve(self, pool: Executor, n_threads: int, part: tuple[int, int]) -> None:
        plan = stretches(len(self.pdfs))[part[0] :: part[1]]
        self._chains(pool, [(None, (one.anchor,)) for one in plan], None, n_threads)
        chains = [(one.anchor, chain) for one in plan for chain in one.chains]
        while True:
            known = set(self.motifs).union(*(motifs(answer) for answer in self.answers.values()))
            if known and known == set(self.motifs):
                return
            # A motif that one file brought up is looked for in all of them.
            self.motifs = tuple(sorted(known))
            self._chains(pool, chains, self.motifs or None, n_threads)
            if not known:
                return

    def _chains(
        self,
        pool: Executor,
        chains: Sequence[tuple[int | None, Sequence[int]]],
        families: tuple[str, ...] | None,
        n_threads: int,
    ) -> None:
        """Follow chains, as many at a time as there are workers, each from the file that it begins from."""
        threads = max(1, n_threads // max(1, len(chains)))
        under_way: dict[Future[Solution | str], tuple[int | None, Sequence[int]]] = {}

        def go_on(before: int | None, rest: Sequence[int]) -> None:
            while rest:
                k, neighbour = rest[0], None if before is None else self.answers.get(before)
                options = dict(self.given)
                if neighbour is not None:
                    options["effort"] = FOLLOWING[options["effort"]]
                if not self._known(k, options, families):
                    options["n_threads"] = threads
                    future = pool.submit(solve_one, self.pdfs[k], options, neighbour, families, self._out(k))
                    under_way[future] = (before, rest)
                    return
                before, rest = k if k in self.answers else before, rest[1:]

        for before, chain in chains:
            go_on(before, chain)
        while under_way:
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                before, rest = under_way.pop(future)
                self._note(rest[0], future.result(), families)
                go_on(rest[0] if rest[0] in self.answers else before, rest[1:])

    def _known(self, k: int, options: dict[str, Any], families: tuple[str, ...] | None) -> bool:
        """Whether nothing has to be done for a file."""
        if self.names[k] in self.failures:
            return True
        if k in self._covered and families is not None and set(families) <= self._covered[k]:
            return True
        out = self._out(k)
        found = None if out is None else known_answer(out, self.pdfs[k], options, families)
        if found is None:
            return False
        self._note(k, found, families, again=True)
        return True

    def _note(self, k: int, answer: Solution | str, families: tuple[str, ...] | None, *, again: bool = False) -> None:
        name, count = self.names[k], len(self.pdfs)
        if isinstance(answer, str):
            self.failures[name] = answer
            self.tell(f"{name}: not solved: {answer}")
            return
        self.answers[k] = answer
        self._covered[k] = frozenset(families or ())
        best, done = answer[0], len(self.answers) + len(self.failures)
        self.tell(
            f"{name}: {best.n_atoms} atoms, {best.family}, R_w {best.rw:.4f}"
            f"{' (known)' if again else ''} ({done} of {count})"
        )

    def _out(self, k: int) -> Path | None:
        return None if self.folder is None else self.folder / self.names[k]
