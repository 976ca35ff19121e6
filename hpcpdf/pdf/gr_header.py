"""What the headers of ``.gr`` files say: one ``key = value`` a line, or several inline, and element tables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from ase.data import atomic_numbers

_LINE = re.compile(r"^([A-Za-z_]\w*)\s+=\s*(.*)$")
_KEY = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*=\s*")
_LEADING_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_TABLES = (("element", "relatomnum"), ("symbol", "fractions"))
"""Column names of PDFgetN's and PDFgetX2's element tables: the symbol, then the number of atoms."""


def parse(header: Sequence[str]) -> dict[str, str]:
    """Every ``key = value`` of the header; keys in lower case, the first mention of a key wins.

    ``key = value`` with a blank before the sign takes the rest of the line (paths hold blanks);
    ``key=value   key=value`` ends each value at the next key, two blanks or a comma.
    """
    found: dict[str, str] = {}
    for line in header:
        text = line.strip().lstrip("#").strip()
        whole = _LINE.match(text)
        if whole and not _KEY.search(whole[2]):
            found.setdefault(whole[1].lower(), whole[2].strip())
            continue
        keys = list(_KEY.finditer(text))
        for i, key in enumerate(keys):
            end = keys[i + 1].start() if i + 1 < len(keys) else len(text)
            value = re.split(r"\s{2,}", text[key.end() : end])[0].strip().rstrip(",;")
            found.setdefault(key[1].lower(), value)
    for alias, name in (("qsig", "qdamp"), ("qalp", "qbroad")):
        if alias in found:
            found.setdefault(name, found[alias])
    if "mode" not in found and any(re.search(r"neutron|PDFgetN\b", line, re.IGNORECASE) for line in header):
        found["mode"] = "neutron"
    return found


def number(metadata: Mapping[str, str], name: str) -> float | None:
    """The number that a header value begins with; None when absent, not a number or not finite."""
    match = _LEADING_NUMBER.match(metadata.get(name, ""))
    if match is None:
        return None
    value = float(match[0])
    return value if math.isfinite(value) else None


def column_label(header: Sequence[str]) -> str | None:
    """The text of the last ``#L`` line (names of the columns), None without one."""
    labels = [match[1] for line in header if (match := re.match(r"\s*#L\s+(.*)", line))]
    return labels[-1].strip() if labels else None


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
