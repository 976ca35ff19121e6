"""The PDF of one structure that changes atom by atom, as a search changes it."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from hpcpdf import _core
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.clusters import Cluster, Structure, as_clusters
from hpcpdf.pdf.grids import Grid, extended_grid, r_grid
from hpcpdf.pdf.params import B_PER_U, PdfParams
from hpcpdf.pdf.scattering import scattering_factors
from hpcpdf.pdf.simulate import debye_f, sine_exact, thread_count

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A structure and its Debye sum. Nothing in it ever changes, so that one can keep it and go back to it."""

    positions: Floats
    """(n, 3), Å."""
    u: Floats
    """Mean-square displacements (n,), Å^2."""
    species: NDArray[np.intc] | None
    """Kinds of atoms (n,), numbered as they came; None for a bare array."""
    total: Floats
    """Debye sum over all pairs, scattering factors included, not normalised; (n_q,)."""

    def __post_init__(self) -> None:
        for array in (self.positions, self.u, self.species, self.total):
            if array is not None:
                array.setflags(write=False)


class IncrementalPdf:
    """G(r) after adding, removing or moving one atom, for the work of that atom's pairs: O(n) instead of O(n^2).

    The numbers are those of ``simulate_pdf(..., accuracy="direct")`` with the exact transform, its limits and its
    truncation, but for rounding, of which every change leaves a little: after 10 000 moves less than 1e-11 of max|G|.
    A structure that has lost most of its atoms keeps the rounding of the large one. `refresh` removes it.

    The Q grid follows from the parameters and the largest displacement parameter at construction (without atoms: that
    of the parameters) and stays, where ``simulate_pdf`` moves it in whole steps with the largest one present.

    Parameters
    ----------
    structure
        One structure as for ``simulate_pdf``, with or without atoms. A bare array stays one element of unit
        scattering power; ``Atoms`` have scattering factors and may mix elements.
    params
        Grid, instrument and sample.
    n_threads
        For construction and `refresh`, as in ``simulate_pdf``; a change of one atom uses one.

    Raises
    ------
    ConfigError
        For a structure that cannot be used.

    Examples
    --------
    A trial that is taken back leaves nothing behind, to the bit::

        before = pdf.state
        pdf.move(3, [0.0, 0.1, 2.7])
        if misfit(pdf.g) > best:
            pdf.state = before
    """

    def __init__(self, structure: Structure, params: PdfParams, *, n_threads: int | None = None) -> None:
        clusters, single = as_clusters(structure, params)
        if not single:
            raise ConfigError("structure: expected one (n, 3) array or ase.Atoms, got a sequence")
        cluster = clusters[0]
        self.params = params
        self.r: Floats = r_grid(params)
        self.grid: Grid = extended_grid(params, cluster.u_max if len(cluster.positions) else params.uiso)
        self._n_threads = thread_count(n_threads)
        self._envelope: Floats = params.scale * np.exp(-0.5 * (params.qdamp * self.r) ** 2)
        self._symbols: list[str] = []
        self._factors: Floats = np.zeros((0, self.grid.n_q))
        species = None
        if cluster.symbols is not None:
            species = np.array([self._kind(symbol) for symbol in cluster.symbols], dtype=np.intc)
        self.state = State(cluster.positions.copy(), cluster.atoms_u.copy(), species, np.zeros(self.grid.n_q))
        self.refresh()

    @property
    def state(self) -> State:
        """The structure with its sum. Assign an earlier one of this object to go back to it exactly."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self._g: Floats | None = None

    @property
    def positions(self) -> Floats:
        """Positions (n, 3) in Å, in the order in which the atoms were given and added; read-only."""
        return self._state.positions

    @property
    def atoms(self) -> Atoms:
        """The structure as ``ase.Atoms`` with an array ``"biso"`` (Å^2); a bare array has no elements to give."""
        species = self._state.species
        if species is None:
            raise ConfigError("atoms: the structure was given as a bare array; give ase.Atoms, or use positions")
        atoms = Atoms([self._symbols[kind] for kind in species], self.positions)
        atoms.arrays["biso"] = self._state.u * B_PER_U
        return atoms

    @property
    def g(self) -> Floats:
        """G(r) of the structure as it is, shape (R,), Å^-2; computed when it is asked for."""
        if self._g is None:
            total, norm = self._state.total, self._norm()
            f = np.divide(total, norm, out=np.zeros_like(total), where=norm != 0.0)
            self._g = self._envelope * sine_exact(f[None], self.grid, self.r, self.params.rstep, 1)[0]
            self._g.setflags(write=False)
        return self._g

    def __len__(self) -> int:
        return len(self._state.u)

    def add(self, position: ArrayLike, symbol: str | None = None, biso: float | None = None) -> None:
        """Add an atom at `position` (3,) Å as the last one.

        Its element may be left out where there is only one; `biso` (Å^2) defaults to that of the parameters. One
        above the largest at construction is computed correctly, on the Q grid that was fixed then.
        """
        old = self._state
        u = self.params.uiso if biso is None else float(biso) / B_PER_U
        if not 0.0 <= u < np.inf:
            raise ConfigError(f"biso = {biso}: expected a value >= 0 (Å^2)")
        positions = np.concatenate([old.positions, _point(position)[None]])
        species = None
        if old.species is not None:
            species = np.append(old.species, np.intc(self._kind_of_new(symbol)))
        elif symbol is not None:
            raise ConfigError(f"symbol = {symbol!r}: the structure was given as a bare array; give ase.Atoms")
        new = State(positions, np.append(old.u, u), species, old.total)
        self.state = self._with(new, old.total + self._pairs(new, len(self)))

    def remove(self, index: int) -> None:
        """Remove an atom; those behind it move up by one."""
        old, index = self._state, self._index(index)
        species = None if old.species is None else np.delete(old.species, index)
        new = State(np.delete(old.positions, index, axis=0), np.delete(old.u, index), species, old.total)
        self.state = self._with(new, old.total - self._pairs(old, index))

    def move(self, index: int, position: ArrayLike) -> None:
        """Move an atom to `position` (3,), Å."""
        old, index = self._state, self._index(index)
        positions = old.positions.copy()
        positions[index] = _point(position)
        new = State(positions, old.u, old.species, old.total)
        self.state = self._with(new, old.total + (self._pairs(new, index) - self._pairs(old, index)))

    def refresh(self) -> None:
        """Sum over all pairs anew: O(n^2), and no rounding left of what was changed before."""
        state = self._state
        symbols = None if state.species is None else tuple(self._symbols[kind] for kind in state.species)
        f = debye_f([Cluster(state.positions, state.u, symbols)], self.params, self.grid, self._n_threads)[0]
        self.state = self._with(state, f * self._norm())

    def _with(self, state: State, total: Floats) -> State:
        # Without pairs there is nothing but rounding left.
        return replace(state, total=total if len(state.u) > 1 else np.zeros_like(total))

    def _pairs(self, state: State, atom: int) -> Floats:
        """Debye sum of one atom with all others, (n_q,)."""
        bare = state.species is None
        return _core.debye_atom(
            positions=state.positions,
            u=state.u,
            species=state.species,
            factors=None if bare else self._factors,
            atom=atom,
            qstep=self.grid.qstep,
            n_q=self.grid.n_q,
            d_min=self.grid.d_min,
            d_max=self.grid.d_max,
            delta1=self.params.delta1,
            delta2=self.params.delta2,
            qbroad=self.params.qbroad,
            precision=0.0 if bare else self.params.precision,
        )

    def _norm(self) -> Floats:
        """N <f>^2, (n_q,)."""
        n, species = len(self), self._state.species
        if species is None:
            return np.full(self.grid.n_q, float(n))
        scattered = np.bincount(species, minlength=len(self._symbols)) @ self._factors
        return np.asarray(scattered**2 / max(n, 1))

    def _kind(self, symbol: str) -> int:
        """Number of an element, a new one for a new element: numbers in earlier states keep their meaning."""
        if symbol not in self._symbols:
            factors = scattering_factors(symbol, self.grid.q, self.params.radiation)
            self._factors = np.concatenate([self._factors, factors[None]])
            self._symbols.append(symbol)
        return self._symbols.index(symbol)

    def _kind_of_new(self, symbol: str | None) -> int:
        if symbol is None:
            if len(self._symbols) != 1:
                raise ConfigError(f"symbol: expected the element of the new atom, for it may be {self._symbols}")
            return 0
        return self._kind(symbol)

    def _index(self, index: int) -> int:
        found = operator.index(index)
        if not 0 <= found < len(self):
            raise ConfigError(f"index = {found}: expected 0 to {len(self) - 1}")
        return found


def _point(position: ArrayLike) -> Floats:
    point = np.asarray(position, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ConfigError(f"position = {position!r}: expected three finite numbers (Å)")
    return point
