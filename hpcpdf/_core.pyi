import enum
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

def debye_f(
    positions: NDArray[np.float64],
    offsets: NDArray[np.uintp],
    u: NDArray[np.float64],
    species: NDArray[np.intc] | None,
    factors: NDArray[np.float64] | None,
    qstep: float,
    n_q: int,
    d_min: float,
    d_max: float,
    delta1: float,
    delta2: float,
    qbroad: float,
    precision: float,
    n_threads: int,
) -> NDArray[np.float64]: ...
def debye_lines(
    distance: NDArray[np.float64],
    count: NDArray[np.float64],
    u: float,
    qstep: float,
    n_q: int,
    delta1: float,
    delta2: float,
    qbroad: float,
) -> NDArray[np.float64]: ...
def debye_atom(
    positions: NDArray[np.float64],
    u: NDArray[np.float64],
    species: NDArray[np.intc] | None,
    factors: NDArray[np.float64] | None,
    atom: int,
    qstep: float,
    n_q: int,
    d_min: float,
    d_max: float,
    delta1: float,
    delta2: float,
    qbroad: float,
    precision: float,
) -> NDArray[np.float64]: ...
def sine_transform(
    f: NDArray[np.float64], qstep: float, k_first: int, r: NDArray[np.float64], n_threads: int
) -> NDArray[np.float64]: ...
def compiled_instruction_level() -> str: ...
def instruction_level() -> str: ...
def spread(
    positions: NDArray[np.float64],
    offsets: NDArray[np.uintp],
    step: float,
    n_nodes: int,
    d_min: float,
    d_max: float,
    n_threads: int,
) -> NDArray[np.float64]: ...
def gather(
    positions: NDArray[np.float64],
    offsets: NDArray[np.uintp],
    field: NDArray[np.float64],
    step: float,
    d_min: float,
    d_max: float,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

class LatticeSites:
    def __init__(
        self,
        *,
        positions: NDArray[np.float64],
        neighbours: NDArray[np.int32],
        level: NDArray[np.int32],
        height: NDArray[np.float64],
        normal: NDArray[np.float64],
        kind: NDArray[np.int32],
        edge: NDArray[np.uint8],
        scale: float,
        table: NDArray[np.uint16],
        n_classes: int,
    ) -> None: ...
    def shell_counts(self, occupied: NDArray[np.int32]) -> NDArray[np.int32]: ...

class LatticeTarget:
    def __init__(
        self,
        *,
        data: NDArray[np.float64],
        shells: NDArray[np.float64],
        rho: NDArray[np.float64] | None,
        rate_max: float,
    ) -> None: ...

class MetStructure(TypedDict):
    misfit: float
    rate: float
    energy: float
    missing: float
    key: int
    sites: NDArray[np.int32]

class WalkResult(TypedDict):
    best: list[MetStructure]
    steps: int
    accepted: int
    exchanged: int

def lattice_walks(
    *,
    sites: LatticeSites,
    target: LatticeTarget,
    starts: Sequence[Sequence[NDArray[np.int32]]],
    rates: Sequence[float],
    seeds: Sequence[int],
    powers: Sequence[float],
    rounds: int,
    steps: int,
    shares: tuple[float, float, float, float],
    bond_cost: float,
    usual_missing: float,
    stop: float,
    least_atoms: int,
    most_atoms: int,
    least_bonds: int,
    keep: int,
    n_threads: int,
) -> list[WalkResult]: ...
def lattice_polish(
    *,
    sites: LatticeSites,
    target: LatticeTarget,
    starts: Sequence[NDArray[np.int32]],
    rates: Sequence[float],
    rounds: int,
    tenure: int,
    patience: int,
    most_changes: int,
    bond_cost: float,
    usual_missing: float,
    stop: float,
    least_atoms: int,
    least_bonds: int,
    keep: int,
    n_threads: int,
) -> list[WalkResult]: ...
def lattice_score(target: LatticeTarget, counts: NDArray[np.int32], rate: float) -> tuple[float, float]: ...
def lattice_shapes(
    *,
    sites: LatticeSites,
    target: LatticeTarget,
    seed: int,
    count: int,
    least_atoms: int,
    most_atoms: int,
    centres: NDArray[np.float64],
    off_centre: float,
    rate: float,
    bond_cost: float,
    usual_missing: float,
    keep: int,
    n_threads: int,
) -> list[MetStructure]: ...
def nnls(
    columns: NDArray[np.float64], data: NDArray[np.float64], tolerance: float = 0.0, start: Sequence[int] = ...
) -> tuple[NDArray[np.float64], list[int], float]: ...
def classes_of_pairs(
    positions: NDArray[np.float64], scale: float, reach: float
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]: ...

class ShellWaves:
    def __init__(
        self, *, qstep: float, n_q: int, k_first: int, d_min: float, d_max: float, r: NDArray[np.float64]
    ) -> None: ...
    def columns(
        self, *, distance: NDArray[np.float64], damping: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]: ...
    def slopes(
        self,
        *,
        distance: NDArray[np.float64],
        damping: NDArray[np.float64],
        factor: NDArray[np.float64],
        stretch: NDArray[np.float64],
        rate: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> NDArray[np.float64]: ...

def wave_tables(
    distance: NDArray[np.float64], a: NDArray[np.float64], qstep: float, n_q: int, n_threads: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

class PdfPlan:
    def __init__(
        self,
        *,
        qstep: float,
        n_q: int,
        k_first: int,
        delta1: float,
        delta2: float,
        qbroad: float,
        u: float,
        d_min: float,
        d_max: float,
        length: float,
        rstep: float,
        first: int,
        count: int,
        adjoint: bool,
    ) -> None: ...
    @staticmethod
    def bytes(*, qstep: float, n_q: int, length: float, rstep: float, count: int, adjoint: bool) -> float: ...
    @property
    def nearest(self) -> float: ...
    def simulate(
        self,
        positions: NDArray[np.float64],
        offsets: NDArray[np.uintp],
        species: NDArray[np.intc] | None,
        factors: NDArray[np.float64] | None,
        envelope: NDArray[np.float64],
        n_threads: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]: ...
    def gradient(
        self,
        positions: NDArray[np.float64],
        offsets: NDArray[np.uintp],
        species: NDArray[np.intc] | None,
        factors: NDArray[np.float64] | None,
        envelope: NDArray[np.float64],
        scale: float,
        values: NDArray[np.float64],
        misfit: bool,
        n_threads: int,
    ) -> dict[str, NDArray[np.float64]]: ...

class LbfgsbTask(enum.Enum):
    evaluate = 0
    new_iterate = 1
    gradient_small = 2
    reduction_small = 3
    abnormal = 4

class Lbfgsb:
    def __init__(self, n: int, *, memory: int, ftol: float, gtol: float, max_line_search: int) -> None: ...
    def start(self, x0: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> LbfgsbTask: ...
    def advance(self, f: float, gradient: NDArray[np.float64]) -> LbfgsbTask: ...
    def proceed(self) -> LbfgsbTask: ...
    @property
    def x(self) -> NDArray[np.float64]: ...
    @property
    def f(self) -> float: ...
    @property
    def gradient(self) -> NDArray[np.float64]: ...
    @property
    def projected_gradient(self) -> float: ...
    @property
    def iterations(self) -> int: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def pairs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

class TrilaterationOptions:
    sequential: bool
    general: bool
    wide: bool
    threads: int
    level: str
    max_evaluations: int
    gradient_tolerance: float
    def __init__(self) -> None: ...

def trilaterate(
    distances: Any,
    satellite_distances: Any,
    satellites: NDArray[np.float64],
    counts: NDArray[np.int64] | None,
    weights: Any,
    satellite_weights: Any,
    options: TrilaterationOptions,
) -> tuple[
    list[NDArray[Any]] | NDArray[Any],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int32],
    NDArray[np.int32],
]: ...
def trilateration_levels() -> list[str]: ...
