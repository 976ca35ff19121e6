"""Instrument and sample parameters of a simulated PDF."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from hpcpdf.errors import ConfigError

Radiation = Literal["xray", "neutron"]

B_PER_U = 8.0 * math.pi**2
"""Biso = 8 pi^2 Uiso."""


@dataclass(frozen=True, kw_only=True)
class PdfParams:
    """Parameters of a PDF; lengths in Å, Q in 1/Å.

    Parameters
    ----------
    rmin, rmax, rstep : float
        Output grid r_i = i * rstep from `rmin` to below `rmax`. The default gives the 301 points 0 ... 30.0 Å.
    qmin, qmax : float
        Range of the sine transform. Both snap to the Q grid, see `hpcpdf.pdf.grids`.
    qdamp : float
        Gaussian envelope exp(-(qdamp r)^2 / 2) of the instrument's resolution, 1/Å.
    qbroad : float
        Broadening that grows with r, 1/Å.
    delta1, delta2 : float
        Correlated motion, Å and Å^2: peak variances are multiplied by 1 - delta1/d - delta2/d^2 + (qbroad d)^2.
    biso : float
        Isotropic displacement parameter of every atom, Å^2 (Biso = 8 pi^2 Uiso).
    scale : float
        Factor on G.
    radiation : {"xray", "neutron"}
        Which scattering factors ``Atoms`` get. They cancel for one element.
    precision : float
        A pair's contribution to the Debye sum ends where it falls to this (f^2/Å, absolute); ``Atoms`` only.
    maxextension : float
        Upper limit of the distance beyond `rmax` (and below `rmin`) at which pairs still count, Å.

    Raises
    ------
    ConfigError
        Naming the parameter, the value and what was expected.
    """

    rmin: float = 0.0
    rmax: float = 30.1
    rstep: float = 0.1
    qmin: float = 0.8
    qmax: float = 25.0
    qdamp: float = 0.04
    qbroad: float = 0.0
    delta1: float = 0.0
    delta2: float = 0.0
    biso: float = 0.3
    scale: float = 1.0
    radiation: Radiation = "xray"
    precision: float = 1e-6
    maxextension: float = 10.0

    def __post_init__(self) -> None:
        if self.radiation not in get_args(Radiation):
            raise ConfigError(f"radiation = {self.radiation!r}: expected one of {', '.join(get_args(Radiation))}")
        for name in (field.name for field in fields(self) if field.name != "radiation"):
            value = getattr(self, name)
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise ConfigError(f"{name} = {value!r}: expected a number") from None
            if not math.isfinite(number):
                raise ConfigError(f"{name} = {value!r}: expected a finite number")
            if number < 0.0 and name != "scale":
                raise ConfigError(f"{name} = {value!r}: expected a value >= 0")
            object.__setattr__(self, name, number)
        if self.rstep == 0.0:
            raise ConfigError("rstep = 0: expected a step above 0 Å")
        if self.rmax <= self.rmin:
            raise ConfigError(f"rmax = {self.rmax}: expected a value above rmin = {self.rmin}")
        if self.qmax <= self.qmin:
            raise ConfigError(f"qmax = {self.qmax}: expected a value above qmin = {self.qmin}")

    @property
    def uiso(self) -> float:
        """Mean-square displacement, Å^2."""
        return self.biso / B_PER_U
