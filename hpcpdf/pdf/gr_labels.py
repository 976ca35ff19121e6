"""What a column is called: its quantity and its unit, from labels as people and programs write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hpcpdf.pdf.gr_units import Unit, parse_unit

Part = Literal["observed", "calculated", "difference", "error", "plain"]

_ARGUMENT = re.compile(r"^\|?[rRqQ]\|?$")
_BRACKET = re.compile(r"[(\[]((?:[^()\[\]]|\([^()]*\))*)[)\]]")
_TOKEN = re.compile(r"[^\s,;()\[\]]+(?:\s?[(\[](?:[^()\[\]]|\([^()]*\))*[)\]])*(?:[\w^-]+)?(?:\s+/\s+\S+|\s+in\s+\S+)?")
_PARTS: tuple[tuple[Part, str], ...] = (
    ("difference", r"diff|resid|obs\w*\s*[-−]\s*\w*cal|^(?:delta|Δ)"),
    (
        "error",
        r"err|sig(?:ma)?(?:[_ ]|$|\()|σ|std|esd|uncert|^±|^[de](?:[_ ]?(?:g|gr|y|g\(r\)|f|s|fq|sq|[fs]\(q\)))?$|^sig_",
    ),
    ("calculated", r"calc|_?fit(?:ted)?$|fit[_ ]|refin|model|simul|[_ ]sim$|theor|\brmc\b|grmc|[_ (]c\)?$"),
    ("observed", r"obs|exp(?:t|er|$|\W|_)|meas|[_ ]data$|^data$|[_ (]o\)?$"),
)
_FIRST = (
    ("index", r"(?:|#|i|n|k|no\.?|nr\.?|num(?:ber)?|idx|index|points?|row|id|unnamed: ?\d+)"),
    ("r", r"(?:r|rr|x|rad(?:ius)?|dist(?:ance)?|(?:distance|radius|separation) r)"),
    ("Q", r"(?:\|?q\|?|momentum transfer(?: q)?|scattering vector(?: q)?|wave ?vector(?: q)?)"),
    (
        "2θ",
        r"(?:scattering )?(?:2[\s_-]*theta|2\s*θ|two[\s_-]*theta|2th|tth|theta|θ|angle|degrees?|deg)(?: angles?)?"
        r"(?:[\s_]?(?:in )?(?:deg|degrees?)|\s*/\s*\S+)?",
    ),
    ("d", r"(?:d[\s_-]?spacing|d-?value)"),
    ("time of flight", r"(?:tof|time[\s_-]of[\s_-]flight)"),
    ("energy", r"(?:energy)"),
)
_SECOND = (
    ("I(Q)", r"(?:i(?:ntensity)?|iq|counts?|cps|yobs_pattern)"),
    ("S(Q)", r"(?:s|sq|structure factor)"),
    ("F(Q)", r"(?:f|fq|reduced structure f(?:actor|unction))"),
    ("R(r)", r"(?:rdf|radial distribution(?: function)?)"),
    ("T(r)", r"(?:t|tr|total correlation(?: function)?)"),
    ("D(r)", r"(?:d|differential correlation(?: function)?)"),
    ("N(r)", r"(?:n|nr|(?:running )?coordination(?: number)?)"),
    ("ρ(r)", r"(?:rho|ρ|density)"),
    ("h(r)", r"(?:h)"),
    ("G(r)", r"(?:pdf|reduced (?:pdf|pair distribution function)|pair distribution function)"),
)


@dataclass(frozen=True)
class Label:
    """One column.

    Attributes
    ----------
    text : str
        As written.
    quantity : str
        ``r``, ``Q``, ``2θ``, ``index``, ``G(r)``, ``g(r)``, ``T(r)``, …; ``G or g`` where the letter is small, the
        argument left out; empty where the label names none that is known.
    part : str
        Whether it is measured, calculated, their difference or an error; ``plain`` where it does not say.
    unit : Unit or None
    """

    text: str
    quantity: str
    part: Part
    unit: Unit | None


def split_labels(line: str, columns: int) -> list[str]:
    """The names in a line of names: as many as there are columns if a way of dividing it gives so many."""
    text = re.sub(r"^\s*(?:[#%!]+|//)?\s*(?:L\s)?", "", line).replace("$", "").rstrip()
    # An unnamed first column leaves nothing before the comma, so blanks at the left stay.
    for divider in (r"\s*;\s*", r"\s*\t\s*", r"\s*,\s*", r"\s{2,}"):
        names = [name.strip("\"' ") for name in re.split(divider, text if divider[-1] == "*" else text.strip())]
        if len(names) == columns and columns > 1:
            return names
    return [name.strip("\"'") for name in _TOKEN.findall(text)]


def read_label(text: str, *, first: bool) -> Label:
    """Quantity, part and unit of a column; `first` for the one before all curves."""
    unit: Unit | None = None
    argument = ""
    name = text.strip()
    for inside in _BRACKET.findall(name):
        if _ARGUMENT.match(inside.strip()):
            argument = inside.strip().strip("|").lower()
        elif (found := parse_unit(inside)) is not None:
            unit = found
            name = name.replace(inside, "", 1)
    outside = re.search(r"(?:\s*/\s*|\s+in\s+|_|\s+)([^\s_/]\S*|1/\S+)$", name)
    # "d_r" and "G A" are names; a unit of one letter needs a sign before it.
    if unit is None and outside and (len(outside[1]) > 1 or re.match(r"\s*/|\s+in\s", outside[0])):
        unit = parse_unit(outside[1])
        name = name[: outside.start()] if unit is not None else name
    base = re.sub(r"[(\[]\s*[)\]]", "", name).strip(" \t_:")
    if first:
        kind = _match(_FIRST, _BRACKET.sub("", base.lower()).strip(" _:"))
        if kind == "r" and unit is not None and unit.power < 0:
            kind = "Q"
        return Label(text, kind, "plain", unit)
    part: Part = next((part for part, pattern in _PARTS if base != "D" and re.search(pattern, base.lower())), "plain")
    if re.fullmatch(r"(?:d|sig(?:ma)?|err)_?[rqQ](?:_int)?", base):
        return Label(text, "error of r", "error", unit)
    return Label(text, _quantity(base, argument, unit), part, unit)


def _quantity(base: str, argument: str, unit: Unit | None) -> str:
    """What a curve is, its obs and calc taken away."""
    if re.search(r"q\s*\[?\(?\s*s\s*\(?q?\)?\s*-\s*1", base.lower().replace(" ", "")):
        return "F(Q)"
    if re.search(r"s\(q\)-1", base.lower().replace(" ", "")):
        return "S(Q)-1"
    stem = _BRACKET.sub("", base)
    stem = re.sub(
        r"[_ -]?(?:obs(?:erved)?|exp(?:erimental|eriment|t)?|meas(?:ured)?|data|calc(?:ulated)?|fit(?:ted)?|model|"
        r"simulated|sim|rmc|diff(?:erence)?|resid(?:ual)?)[_ ]?",
        "",
        stem,
        flags=re.IGNORECASE,
    ).strip(" _-$")
    if argument == "r" and re.search(r"g\(r\)\s*-\s*1$", base):
        return "h(r)"
    # "total T(r)" is T(r).
    last = re.split(r"[\s_-]", stem)[-1]
    stem = last if argument and len(last) == 1 else stem.replace("_", "")
    if stem in ("G", "Gr", "GofR", "G of r", "GR"):
        return "G(r)"
    if stem.lower() in ("g", "gr", "gofr", "g of r"):
        if unit is not None and unit.power == -2:
            return "G(r)"
        return "g(r)" if argument == "r" or stem == "gofr" else "G or g"
    # Any other letter is a function of its own: P(r), T(r), H(Q).
    if argument and len(stem) == 1 and stem.lower() != "y":
        return f"{stem}(r)" if argument == "r" else f"{stem.upper()}(Q)"
    if stem == "R":
        return "R(r)"
    return _match(_SECOND, stem.lower()) or (_match(_FIRST[1:5], stem.lower()) if len(stem) > 1 else "")


def _match(table: Sequence[tuple[str, str]], name: str) -> str:
    return next((kind for kind, pattern in table if re.fullmatch(pattern, name)), "")
