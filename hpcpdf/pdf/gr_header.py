"""What the headers of ``.gr`` files say: one ``key = value`` a line, or several inline, and element tables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from ase.data import atomic_numbers

from hpcpdf.pdf.gr_units import Unit, leading_unit, parse_unit

_LINE = re.compile(r"^([A-Za-z_]\w*)\s+=\s*(.*)$")
_KEY = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*=\s*")
_COLON = re.compile(r"^([A-Za-z_]\w*)\s*:\s+(\S.*)$")
_LEADING_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+|\.)?|\.\d+)(?:[eE][+-]?\d+)?")
_TABLES = (("element", "relatomnum"), ("symbol", "fractions"))
"""Column names of PDFgetN's and PDFgetX2's element tables: the symbol, then the number of atoms."""

_POWERS = {
    **dict.fromkeys(("qmin", "qmax", "qmaxinst", "qdamp", "qbroad", "qsig", "qalp"), -1),
    **dict.fromkeys(("rmin", "rmax", "rstep", "delta1", "wavelength"), 1),
    **dict.fromkeys(("delta2", "biso", "uiso"), 2),
}
"""Which power of a length a header value is."""
_ENDS = {"min": r"min(?:imum)?", "max": r"max(?:imum)?", "step": r"step", "damp": r"damp", "broad": r"broad"}
_SPELLINGS = {
    name: rf"{name[0]}[\s_.-]*{{?{end}}}?" + (rf"|{end}[\s_.-]*{name[0]}" if ending in ("min", "max") else "")
    for ending, end in _ENDS.items()
    for name in (f"q{ending}", f"r{ending}")
    if name in _POWERS
}
_VALUE = re.compile(
    r"(?<![\w.])(?:" + "|".join(f"(?P<{name}>{spelling})" for name, spelling in _SPELLINGS.items()) + r")(?![A-Za-z])"
    r"(?:\s*[(\[](?P<unit>[^)\]=:]*)[)\]]|(?:_|\s*/\s*|\s+in\s+)(?P<suffix>[\w^/-]+))?"
    r"[\"']?\s*(?:(?P<sign>[:=])=?|[,;\s])\s*[\"']?(?P<value>" + _LEADING_NUMBER.pattern + ")",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"\bq[\s_-]*range(?:\s*[(\[](?P<unit>[^)\]=:]*)[)\]])?\s*[:=]\s*[(\[]?(?P<qmin>"
    + _LEADING_NUMBER.pattern
    + r")\s*(?:-|–|to|\.\.+|[,;]\s|\s)\s*(?P<qmax>"
    + _LEADING_NUMBER.pattern
    + r")[)\]]?",
    re.IGNORECASE,
)
_COMPOSITION = re.compile(
    r"^(?:(?:sample|chemical)[\s_-]*)?(?:composition|formula)[\"']?\s*[:=]\s*(.+)$", re.IGNORECASE
)
_MODE = re.compile(
    r"^(?:mode|radiation(?:[\s_-]*type)?|probe|s(?:cattering)?[\s_-]*type)[\"']?\s*[:=]\s*"
    r"[\"']?(n|x)(?:[\s_-]*rays?|eutrons?)?\b",
    re.IGNORECASE,
)


def parse(header: Sequence[str]) -> dict[str, str]:
    """Every ``key = value`` of the header; keys in lower case, the first mention of a key wins.

    ``key = value`` with a blank before the sign takes the rest of the line (paths hold blanks);
    ``key=value   key=value`` ends each value at the next key, two blanks or a comma. Keys that are known (qmin, qmax,
    qdamp, qbroad, rmin, rmax, rstep, composition, mode) may be spelled with blanks, dashes and a unit, and stand
    before a colon.
    """
    found: dict[str, str] = {}
    for line in header:
        text = line.strip().lstrip("#%!/").strip()
        known = _known(text, found)
        whole = _LINE.match(text)
        if whole and not _KEY.search(whole[2]):
            found.setdefault(whole[1].lower(), whole[2].strip())
            continue
        keys = list(_KEY.finditer(text))
        for i, key in enumerate(keys):
            if any(begin < key.start() < end for begin, end in known):
                continue
            end = keys[i + 1].start() if i + 1 < len(keys) else len(text)
            value = re.split(r"\s{2,}", text[key.end() : end])[0].strip().rstrip(",;")
            found.setdefault(key[1].lower(), value)
        if not keys and not known and (colon := _COLON.match(text)):
            found.setdefault(colon[1].lower(), colon[2].strip())
    for alias, name in (("qsig", "qdamp"), ("qalp", "qbroad")):
        if alias in found:
            found.setdefault(name, found[alias])
    if "mode" not in found and any(re.search(r"neutron|PDFgetN\b", line, re.IGNORECASE) for line in header):
        found["mode"] = "neutron"
    return found


def _known(text: str, found: dict[str, str]) -> list[tuple[int, int]]:
    """Add known keys of a line in any spelling to `found`; where in the line they stand."""
    spans = []
    matches = list(_VALUE.finditer(text))
    for i, match in enumerate(matches):
        # Without a sign, only what begins a line is a key.
        if match["sign"] is None and match.start() > 1:
            continue
        # "qmax_inst" and "qmax (instrument)" are other things.
        if (match["suffix"] and parse_unit(match["suffix"]) is None) or "inst" in (match["unit"] or "").lower():
            continue
        name = next(name for name in _SPELLINGS if match[name] is not None)
        end = matches[i + 1].start() if i + 1 < len(matches) else len(text)
        rest = re.split(r"\s{2,}|,\s|;", text[match.end() : end])[0].strip(" ,;\"'")
        unit = match["unit"] or match["suffix"] or ""
        found.setdefault(name, f"{match['value']} {unit or rest}".strip())
        spans.append((match.start(), match.end()))
    both = _RANGE.search(text)
    if both is not None:
        for name in ("qmin", "qmax"):
            unit = both["unit"] or text[both.end() :]
            found.setdefault(name, f"{both[name]} {unit}".strip())
    for name, pattern in (("composition", _COMPOSITION), ("mode", _MODE)):
        word = pattern.match(text)
        if word is not None:
            value = word[1].strip(" ,;\"'")
            found.setdefault(name, {"n": "neutron", "x": "xray"}[value.lower()] if name == "mode" else value)
    return spans


def number(metadata: Mapping[str, str], name: str, default: Unit | None = None) -> float | None:
    """The number that a header value begins with; None when absent, not a number or not finite.

    A unit behind it counts where the name is one of a length or of its power: 220 nm⁻¹ gives 22. Its power is the
    name's, whatever is written; `default` is the unit of a value that states none.
    """
    match = _LEADING_NUMBER.match(metadata.get(name, ""))
    if match is None:
        return None
    value = float(match[0].replace(",", "."))
    if name in _POWERS:
        unit = stated_unit(metadata, name) or default
        value *= 1.0 if unit is None else unit.length ** _POWERS[name]
    return value if math.isfinite(value) else None


def stated_unit(metadata: Mapping[str, str], name: str) -> Unit | None:
    """The unit behind the number of a header value."""
    text = metadata.get(name, "")
    match = _LEADING_NUMBER.match(text)
    return leading_unit(text[match.end() :]) if match and text[match.end() :].strip() else None


def composition_table(header: Sequence[str]) -> str | None:
    """Formula from a table of elements in the header, such as ``Mn0.2 O0.6``; None without one."""
    for i, line in enumerate(header):
        names = line.strip().lstrip("#").lower().split()
        for symbol, amount in _TABLES:
            if symbol in names and amount in names:
                # "#L symbol valence ..." : the mark L is no column.
                offset = names.index(symbol)
                column = names.index(amount) - offset
                return _formula(header[i + 1 :], column)
    return None


def _formula(rows: Sequence[str], column: int) -> str | None:
    parts = []
    for row in rows:
        cells = row.split()
        if len(cells) <= column or cells[0] not in atomic_numbers:
            break
        amount = _LEADING_NUMBER.match(cells[column])
        parts.append(f"{cells[0]}{float(amount[0]):g}" if amount else cells[0])
    return " ".join(parts) or None


def parse_formula(text: str) -> dict[str, float]:
    """Atoms of each element in a chemical formula such as ``Au144 S60 C180``, ``La0.8Ca0.2MnO3`` or ``Ni(OH)2``.

    Text that is not a formula gives an empty dictionary.
    """
    tokens = re.findall(r"[A-Z][a-z]?|\d+\.?\d*|\.\d+|[()\[\]]|[\s,*_-]+|.", text.strip())
    stack: list[dict[str, float]] = [{}]
    last: dict[str, float] = {}
    for token in tokens:
        if token in atomic_numbers and atomic_numbers[token] > 0:
            _add(stack[-1], last)
            last = {token: 1.0}
        elif token[0].isdigit() or token[0] == ".":
            if not last:
                return {}
            _add(stack[-1], {symbol: count * float(token) for symbol, count in last.items()})
            last = {}
        elif token in "([":
            _add(stack[-1], last)
            last = {}
            stack.append({})
        elif token in ")]":
            _add(stack[-1], last)
            if len(stack) == 1:
                return {}
            last = stack.pop()
        elif token.strip(" \t,*_-"):
            return {}
    _add(stack[-1], last)
    return stack[0] if len(stack) == 1 else {}


def _add(total: dict[str, float], part: Mapping[str, float]) -> None:
    for symbol, count in part.items():
        total[symbol] = total.get(symbol, 0.0) + count
