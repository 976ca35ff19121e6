"""Seeded test sets for `hpcpdf.solve`: PDFs whose structure is known.

    python benchmarks/quality/structures/cases.py            # what sets there are
    python benchmarks/quality/structures/cases.py fcc-rough --seed 1 --count 5

Case k of a set depends on the seed and on k alone, but that a structure which the set already has is drawn again. Sets
that differ in noise or in what is known of the instrument hold the same structures and instruments.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import shapes
from ase import Atoms
from numpy.typing import NDArray
from pairs import Pair, find_pairs
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from shapes import Rng, Span

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.clusters.canonical import shape_key
from hpcpdf.clusters.draw import draw_shape
from hpcpdf.clusters.elements import METALS, metallic_radius
from hpcpdf.clusters.reference import reference_shapes
from hpcpdf.config import FAMILIES
from hpcpdf.pdf.clusters import as_clusters
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.grids import extended_grid, r_grid
from hpcpdf.pdf.simulate import debye_f, sine_exact
from hpcpdf.stage import sample_rng

Floats = NDArray[np.float64]

QMIN, QMAX, QDAMP, BISO = (0.5, 1.2), (20.0, 26.0), (0.01, 0.06), (0.2, 0.8)
"""Ranges that instrument and sample are drawn from, 1/Å and Å²."""
DELTA2 = (0.0, 4.0)
"""Å²."""

_MARGIN = 1.1
"""Data reach so many diameters: as far as a bond length 10 % longer could put the longest distance."""
_ATTEMPTS = 300


@dataclass(frozen=True, eq=False)
class Case:
    """One PDF and the structure behind it.

    Attributes
    ----------
    name
        Set, seed and number.
    pdf
        What the solver is given: r, G, qmin, qmax and, when known, qdamp in the header.
    truth
        Structure, Å.
    element
        Chemical symbol.
    family
        Of `FAMILIES`, or ``twin``.
    params
        With these, ``simulate_pdf(truth.positions, params)`` gives the PDF before noise.
    r_range
        Range to fit, Å: 1.5–20, the solver's default, as long as the longest distance is well within; else 1.5–30, or
        as far as that distance asks. A user sees in the data how far they go.
    qdamp_known
        Whether the header has qdamp.
    noise
        Standard deviation of the noise in F(Q), relative to the root mean square of F between qmin and qmax.
    partner
        The other one of a nearly homometric pair, Å.
    kind
        What is special: of a pair, which kind.
    """

    name: str
    pdf: MeasuredPdf
    truth: Atoms
    element: str
    family: str
    params: PdfParams
    r_range: tuple[float, float]
    qdamp_known: bool
    noise: float
    partner: Atoms | None = None
    kind: str = ""

    @property
    def n_atoms(self) -> int:
        return len(self.truth)


@dataclass(frozen=True, eq=False)
class Body:
    """A structure without scale: positions in nearest-neighbour distances.

    `element` and `nn` (Å) are given where the set draws them in a way of its own.
    """

    points: Floats
    family: str = "fcc"
    element: str | None = None
    nn: float | None = None
    partner: Floats | None = None
    kind: str = ""


Draw = Callable[[Rng, int, int], Body]
"""Random stream, number of the case and seed of the set to a body."""


@dataclass(frozen=True)
class CaseSet:
    """How a set is made.

    Attributes
    ----------
    draw
        Makes a structure.
    stream
        Names the random streams; sets of the same stream share structures and instruments.
    count
        Cases unless asked otherwise.
    qdamp_known
        Whether the PDFs' header has qdamp.
    noise
        Levels, taken in turn.
    delta2
        Whether correlated motion is drawn; else there is none.
    distinct
        Whether a structure may occur only once.
    """

    draw: Draw
    stream: str
    count: int
    qdamp_known: bool = False
    noise: tuple[float, ...] = (0.0,)
    delta2: bool = False
    distinct: bool = True


def _points(make: Callable[[Rng], Floats], family: str = "fcc") -> Draw:
    return lambda rng, index, seed: Body(make(rng), family)


def _alternating(*draws: Draw) -> Draw:
    return lambda rng, index, seed: draws[index % len(draws)](rng, index, seed)


def _of_family(rng: Rng, index: int, seed: int) -> Body:
    family = FAMILIES[index % len(FAMILIES)]
    shape = draw_shape(family, rng, 6, 200)
    return Body(shape.positions, family, nn=float(rng.uniform(2.0, 3.4)))


def _of_the_grid(rng: Rng, index: int, seed: int) -> Body:
    shapes_of_grid = reference_shapes()
    element = str(rng.choice(METALS))
    stretch = 1.0 + 0.01 * rng.uniform(-1.0, 1.0)
    points = shapes_of_grid[index % len(shapes_of_grid)].positions
    return Body(points, "fcc", element, 2.0 * metallic_radius(element) * stretch)


@lru_cache(maxsize=4)
def _pairs_of(seed: int) -> dict[str, list[Pair]]:
    return find_pairs(sample_rng(seed, 0, zlib.crc32(b"pairs")))


def _one_of_a_pair(rng: Rng, index: int, seed: int) -> Body:
    kind = ("homometric", "minkowski", "homometric", "near")[index % 4]
    number = index // 4 if kind != "homometric" else index // 2
    found = _pairs_of(seed)[kind]
    if number >= len(found):
        raise shapes.NoShapeError(f"only {len(found)} {kind} pairs were found; ask for fewer cases")
    pair = found[number]
    first, second = (pair.first, pair.second) if rng.random() < 0.5 else (pair.second, pair.first)
    return Body(first, "fcc", partner=second, kind=kind)


_SMALL = Span(15, 100)
_ASYMMETRIC = _points(partial(shapes.fcc_convex, size=_SMALL))
_SYMMETRIC = _points(partial(shapes.fcc_symmetric, size=_SMALL))
_ROUGH = _points(partial(shapes.fcc_rough, size=_SMALL))


def _large(n: int) -> CaseSet:
    size = Span(round(0.95 * n), round(1.05 * n))
    return CaseSet(_points(partial(shapes.fcc_convex, size=size, spread=0.2)), f"large-{n}", 8, qdamp_known=True)


SETS: dict[str, CaseSet] = {
    "fcc-asymmetric": CaseSet(_ASYMMETRIC, "fcc-asymmetric", 40, qdamp_known=True),
    "fcc-rough": CaseSet(_ROUGH, "fcc-rough", 40, qdamp_known=True),
    "fcc-symmetric": CaseSet(_SYMMETRIC, "fcc-symmetric", 30, qdamp_known=True),
    "paper-grid": CaseSet(_of_the_grid, "paper-grid", 45, distinct=False),
    "seven-families": CaseSet(_of_family, "seven-families", 140),
    "family-bounds": CaseSet(_of_family, "family-bounds", 100, noise=(0.0, 0.02, 0.05)),
    "twin": CaseSet(_points(partial(shapes.twin, size=Span(40, 200)), "twin"), "twin", 20),
    "cut-decahedron": CaseSet(
        _points(partial(shapes.cut_decahedron, size=Span(30, 250)), "decahedron"), "cut-decahedron", 20
    ),
    "cut-icosahedron": CaseSet(
        _points(partial(shapes.cut_icosahedron, size=Span(30, 250)), "icosahedron"), "cut-icosahedron", 20
    ),
    **{f"large-{n}": _large(n) for n in (500, 1000, 2000, 10000)},
    "noise-2-symmetric": CaseSet(_SYMMETRIC, "fcc-symmetric", 30, qdamp_known=True, noise=(0.02,)),
    "noise-2-asymmetric": CaseSet(_ASYMMETRIC, "fcc-asymmetric", 40, qdamp_known=True, noise=(0.02,)),
    "noise-5": CaseSet(_alternating(_ASYMMETRIC, _SYMMETRIC), "noise-5", 200, qdamp_known=True, noise=(0.05,)),
    "delta2": CaseSet(_ASYMMETRIC, "delta2", 40, noise=(0.0, 0.02), delta2=True),
    "near-homometric": CaseSet(_one_of_a_pair, "near-homometric", 20),
}
"""Every one also with ``-known`` or ``-unknown`` behind its name: qdamp in the header, or not."""


def find_set(name: str) -> CaseSet:
    """The set of that name; KeyError names those that there are."""
    if name in SETS:
        return SETS[name]
    base, _, ending = name.rpartition("-")
    if base in SETS and ending in ("known", "unknown"):
        return replace(SETS[base], qdamp_known=ending == "known")
    raise KeyError(f"no set {name!r}; there are {', '.join(SETS)}, each also with -known or -unknown")


def make_cases(
    name: str, seed: int, count: int | None = None, *, noise: float | None = None, rstep: float = 0.1
) -> Iterator[Case]:
    """Cases of a set.

    Parameters
    ----------
    name
        One of `SETS`, or that with ``-known`` or ``-unknown`` behind it.
    seed
        Seed: below 1000 to tune with, 2028 to show.
    count
        Number of cases; None: as the set says.
    noise
        In place of the set's own levels.
    rstep
        Step of the PDFs, Å.
    """
    recipe = find_set(name)
    if noise is not None:
        recipe = replace(recipe, noise=(noise,))
    seen: set[str] = set()
    for index in range(recipe.count if count is None else count):
        body = _new_body(recipe, seed, index, seen)
        yield _make_case(f"{name}/{seed}/{index}", recipe, body, seed, index, rstep)


def _stream(recipe: CaseSet, seed: int, index: int, *more: int) -> Rng:
    return sample_rng(seed, index, zlib.crc32(recipe.stream.encode()), *more)


def _new_body(recipe: CaseSet, seed: int, index: int, seen: set[str]) -> Body:
    for attempt in range(_ATTEMPTS):
        body = recipe.draw(_stream(recipe, seed, index, 0, attempt), index, seed)
        # The distances of the largest differ without asking: their lists would take seconds each.
        key = shape_key(body.points) if len(body.points) <= 3000 else f"{recipe.stream} {index}"
        if not recipe.distinct or key not in seen:
            seen.add(key)
            return body
    raise shapes.NoShapeError(f"{recipe.stream}: no structure that the {index} cases before do not have")


def _make_case(name: str, recipe: CaseSet, body: Body, seed: int, index: int, rstep: float) -> Case:
    rng = _stream(recipe, seed, index, 1)
    element = str(rng.choice(METALS))
    stretch = 1.0 + 0.03 * rng.uniform(-1.0, 1.0)
    element = body.element or element
    nn = body.nn or 2.0 * metallic_radius(element) * stretch
    truth = _turned(body.points * nn, element, rng)
    partner = None if body.partner is None else _turned(body.partner * nn, element, rng)
    high = _needed(truth.positions)
    params = PdfParams(
        rstep=rstep,
        rmax=max(30.1, high + 0.1),
        qmin=rng.uniform(*QMIN),
        qmax=rng.uniform(*QMAX),
        qdamp=rng.uniform(*QDAMP),
        biso=rng.uniform(*BISO),
        delta2=rng.uniform(*DELTA2) if recipe.delta2 else 0.0,
    )
    noise = recipe.noise[index % len(recipe.noise)]
    pdf = make_pdf(truth.positions, params, noise, _stream(recipe, seed, index, 2), name, recipe.qdamp_known)
    return Case(
        name=name,
        pdf=pdf,
        truth=truth,
        element=element,
        family=body.family,
        params=params,
        r_range=(1.5, high),
        qdamp_known=recipe.qdamp_known,
        noise=noise,
        partner=partner,
        kind=body.kind,
    )


def make_pdf(
    positions: Floats, params: PdfParams, noise: float, rng: Rng, source: str, qdamp_known: bool
) -> MeasuredPdf:
    """PDF of a structure with white noise in F(Q), which passes through transform and envelope as the signal does.

    Parameters
    ----------
    positions
        (n, 3), Å.
    params
        Instrument and sample.
    noise
        Standard deviation relative to the root mean square of F(Q) between qmin and qmax.
    rng
        Of the noise.
    source
        Names the PDF.
    qdamp_known
        Whether the header says qdamp.
    """
    r, g = simulate_pdf(positions, params, transform="exact", n_threads=1)
    if noise > 0.0:
        grid = extended_grid(params, params.uiso)
        f = debye_f(as_clusters([positions], params)[0], params, grid, 1)
        used = slice(grid.k_first, grid.n_q)
        extra = np.zeros_like(f)
        extra[0, used] = rng.normal(0.0, noise * float(np.sqrt(np.mean(f[0, used] ** 2))), grid.n_q - grid.k_first)
        envelope = params.scale * np.exp(-0.5 * (params.qdamp * r) ** 2)
        g = g + envelope * sine_exact(extra, grid, r_grid(params), params.rstep, 1)[0]
    header = {"qdamp": repr(params.qdamp)} if qdamp_known else {}
    return MeasuredPdf(r, g, qmin=params.qmin, qmax=params.qmax, metadata=header, source=source)


def _turned(positions: Floats, element: str, rng: Rng) -> Atoms:
    """In a random orientation, handedness and order, so that nothing can be read off the frame."""
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    centred = positions - positions.mean(axis=0)
    return Atoms([element] * len(positions), positions=rng.permutation(centred @ rotation.T))


def _needed(positions: Floats) -> float:
    """Upper end of the r range, Å."""
    corners = positions[ConvexHull(positions).vertices] if _is_solid(positions) else positions
    longest = _MARGIN * float(pdist(corners).max())
    return next((high for high in (20.0, 30.0) if longest <= high), float(np.ceil(longest)))


def _is_solid(positions: Floats) -> bool:
    return len(positions) > 3 and float(np.linalg.svd(positions - positions.mean(axis=0))[1][2]) > 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.set is None:
        for name, recipe in SETS.items():
            levels = ", ".join(f"{100 * level:g} %" for level in recipe.noise)
            print(
                f"{name:20s} {recipe.count:4d} cases, noise {levels}, qdamp {'' if recipe.qdamp_known else 'un'}known"
            )
        return
    for case in make_cases(asked.set, asked.seed, asked.count):
        p = case.params
        print(
            f"{case.name:28s} {case.family:12s} {case.element:2s} {case.n_atoms:5d} atoms, r to {case.r_range[1]:g} Å, "
            f"Q {p.qmin:.2f}-{p.qmax:.2f} 1/Å, qdamp {p.qdamp:.3f}, Biso {p.biso:.2f}, delta2 {p.delta2:.2f}",
            case.kind,
        )


if __name__ == "__main__":
    main()
