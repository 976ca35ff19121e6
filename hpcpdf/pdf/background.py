"""A slowly varying background below and between the peaks of a PDF: what small angles, ligands or solvent leave.

B(r) = Σ_m b_m sin(m π r / r_end), m = 1 … M, with m π / r_end below qmin. A structure's own G(r) holds next to no wave
below qmin, so that these few terms take nothing from its peaks. They are linear, as the scale is, and each costs a
degree of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError

Array = NDArray[np.float64]

MOST = 8
"""Terms at most, however far the data go."""


def terms_below(r: Array, qmin: float) -> int:
    """How many sine terms lie below `qmin`, 1/Å; `MOST` at most."""
    return min(MOST, int(np.floor(qmin * float(r[-1]) / np.pi)))


def check_terms(background: object, r: Array, qmin: float) -> None:
    """ConfigError unless `background` is None, ``"auto"`` or a number of terms that lie below `qmin`."""
    if background is None or background == "auto":
        return
    most = terms_below(r, qmin)
    if not isinstance(background, int) or isinstance(background, bool) or not 0 <= background <= most:
        raise ConfigError(
            f'background = {background!r}: expected None, "auto", or 0 to {most} sine terms, '
            f"as many as lie below qmin = {qmin:g} 1/Å up to {r[-1]:g} Å"
        )


@dataclass(frozen=True, eq=False)
class Background:
    """The first sine terms on given points.

    Parameters
    ----------
    r : (R,) array
        Å.
    terms
        How many, at least 1.
    """

    r: Array
    terms: int

    @cached_property
    def rows(self) -> Array:
        """The terms made orthonormal on the points, (terms, R)."""
        waves = np.sin(np.outer(self.r, np.arange(1, self.terms + 1)) * (np.pi / self.r[-1]))
        return np.ascontiguousarray(np.linalg.qr(waves)[0].T)

    def of(self, g: Array) -> Array:
        """What the terms can tell of curves `g`, (..., R)."""
        return np.asarray((g @ self.rows.T) @ self.rows)

    def without(self, g: Array) -> Array:
        """What they cannot."""
        return np.asarray(g - self.of(g))
