"""From the bytes of a file to lines of text: encodings, ends of files, and what is no text at all."""

from __future__ import annotations

from pathlib import Path

from hpcpdf.errors import DataError

_LOOK = 4096
_ENDS = bytes([0, 4, 26])
"""NUL, end of transmission and Ctrl-Z: what fills or ends a file on some systems."""
_SPOKEN = str.maketrans({chr(i): None for i in (*range(9), *range(14, 28), 127)}) | str.maketrans(
    {"\u2212": "-", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u212b": "Å"}
)
"""Minus signs, blanks that do not break and the unit Å are what they look like; marks for printers are left out."""


def read_lines(path: Path) -> list[str]:
    """Lines of a text file.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or holds no text.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a .gr file") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not raw.strip():
        raise DataError(f"{path}: is empty")
    return _decode(raw, path).translate(_SPOKEN).splitlines()


def _decode(raw: bytes, path: Path) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return raw.decode("utf-16").rstrip("\0\x04\x1a")
        except UnicodeDecodeError:
            raise DataError(f"{path}: begins as UTF-16 text but breaks off: copy it again") from None
    if not any(raw[1:400:2]) and 0 not in raw[:400:2]:
        return _decode(b"\xff\xfe" + raw, path)
    raw = raw.rstrip(_ENDS + b" \t\r\n")
    if not raw:
        raise DataError(f"{path}: is empty: nothing but control characters")
    if 0 in raw:
        raise DataError(f"{path}: is a binary file, or a torn copy of a text; expected columns of numbers as text")
    # A text of any encoding read here has no control characters but tab, line feed, form feed and return; a stray
    # one (a terminal's colours, a mark of a printer) makes no binary file.
    start = raw[:_LOOK]
    if sum(byte < 9 or (14 <= byte < 32 and byte not in (26, 27)) for byte in start) > len(start) // 200:
        raise DataError(f"{path}: is a binary file, expected columns of numbers as text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
