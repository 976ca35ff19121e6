"""Units of length and of their powers, as people spell them: nm, pm, Å⁻¹, 1/nm, [nm-1], $\\AA^{-2}$, inverse nm."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LENGTHS = (
    (r"nm|nano-?met(?:er|re)s?", 10.0),
    (r"pm|pico-?met(?:er|re)s?", 0.01),
    (r"[uµμ]m|micro-?met(?:er|re)s?|microns?", 1e4),
    (r"m|met(?:er|re)s?", 1e10),
    (r"bohrs?", 0.529177210903),
    # A, Å (two code points), \AA, every spelling of ångström, and Å as read in a wrong encoding.
    (r"a|å|aa|angs?\.?|angst\.?|[aå]ngstr(?:o|ö|oe)e?ms?|ã…|ã\x85|â„«|\ufffd|\?", 1.0),
)
_INVERSE = r"1\s*/|/|per\b|inverse\b|inv\.?|reciprocal\b|1\s*per\b|1_per_"
_UNIT = re.compile(
    rf"(?P<inverse>{_INVERSE})?[\s_]*(?:"
    + "|".join(f"(?P<u{i}>{spelling})" for i, (spelling, _) in enumerate(_LENGTHS))
    + r")[\s_]*(?P<power>[+-]?[12])?"
)
_RAISED = str.maketrans("⁺⁻¹²−‐–", "+-12---")
_ANY_BRACKETS = str.maketrans("", "", "()[]{}$^\\")


@dataclass(frozen=True)
class Unit:
    """A power of a length.

    Attributes
    ----------
    length : float
        The length in Å: 10 for nm, nm⁻¹ and nm⁻².
    power : int
        1 for nm, −1 for 1/nm, −2 for nm⁻².
    """

    length: float
    power: int


def parse_unit(text: str) -> Unit | None:
    """The unit that a text names, with or without brackets and TeX marks; None when it names none."""
    plain = text.strip().translate(_RAISED).replace("**", "^").translate(_ANY_BRACKETS).strip(" \t.,;:\"'").lower()
    plain = plain.replace("å", "å").replace("mathrm", "").replace("rm ", "").replace("text", "")
    match = _UNIT.fullmatch(plain)
    if match is None:
        return None
    length = next(factor for i, (_, factor) in enumerate(_LENGTHS) if match[f"u{i}"] is not None)
    power = int(match["power"] or 1)
    return Unit(length, -abs(power) if match["inverse"] else power)


def leading_unit(text: str) -> Unit | None:
    """The unit that a text begins with, as behind a number: ``nm^-1 (calibrated)``."""
    text = text.strip()
    bracket = re.match(r"[(\[]([^)\]]*)[)\]]", text)
    if bracket:
        return parse_unit(bracket[1])
    words = text.split()
    for count in (3, 2, 1):
        found = parse_unit(" ".join(words[:count])) if len(words) >= count else None
        if found is not None:
            return found
    return parse_unit(re.split(r"[\s,;#(]", text, maxsplit=1)[0])
