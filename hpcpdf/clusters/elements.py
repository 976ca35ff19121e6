"""Sizes of metal atoms."""

from __future__ import annotations

import difflib

from hpcpdf.errors import ConfigError

METALS: tuple[str, ...] = (
    *("Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
    *("Y", "Zr", "Nb", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd"),
    *("Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg"),
)
"""The 28 transition metals that clusters are made of by default."""

# Half the distance of neighbours in twelve-fold coordination; of bcc metals corrected to it from eight-fold
# (Goldschmidt), of alkali metals as in the element. Å.
_METALLIC_RADIUS = {
    "Li": 1.52, "Be": 1.12, "Na": 1.86, "Mg": 1.60, "Al": 1.43, "K": 2.27, "Ca": 1.97,
    "Sc": 1.62, "Ti": 1.47, "V": 1.34, "Cr": 1.28, "Mn": 1.27, "Fe": 1.26, "Co": 1.25, "Ni": 1.24, "Cu": 1.28,
    "Zn": 1.34, "Rb": 2.48, "Sr": 2.15, "Y": 1.80, "Zr": 1.60, "Nb": 1.46, "Mo": 1.39, "Tc": 1.36, "Ru": 1.34,
    "Rh": 1.34, "Pd": 1.37, "Ag": 1.44, "Cd": 1.51, "In": 1.67, "Cs": 2.65, "Ba": 2.22, "Hf": 1.59, "Ta": 1.46,
    "W": 1.39, "Re": 1.37, "Os": 1.35, "Ir": 1.355, "Pt": 1.385, "Au": 1.44, "Hg": 1.51, "Tl": 1.70, "Pb": 1.75,
}  # fmt: skip


def metallic_radius(symbol: str) -> float:
    """Metallic radius for twelve-fold coordination.

    Parameters
    ----------
    symbol
        Chemical symbol of a metal, such as ``"Pt"``.

    Returns
    -------
    float
        Radius in Å; neighbours in the bulk are two radii apart.

    Raises
    ------
    ConfigError
        If no metallic radius of it is known, naming those that are.
    """
    try:
        return _METALLIC_RADIUS[symbol]
    except KeyError:
        close = difflib.get_close_matches(symbol.capitalize(), _METALLIC_RADIUS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        known = ", ".join(sorted(_METALLIC_RADIUS))
        raise ConfigError(f"no metallic radius of element {symbol!r}; {hint}known: {known}") from None
