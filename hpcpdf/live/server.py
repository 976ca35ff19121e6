"""The page: on this machine alone, behind an address that nobody can guess."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from hpcpdf.live.entry import Entry
from hpcpdf.live.follow import Follower
from hpcpdf.live.watch import is_followed
from hpcpdf.pdf.fq import ENDINGS
from hpcpdf.report import page
from hpcpdf.report.series_report import csv_text
from hpcpdf.series.axis import series_axis
from hpcpdf.series.one import LIKELY

LARGEST = 20_000_000
"""Bytes of a dropped file."""

_LONGEST = 120
"""Characters of its name."""
_UNSAFE = re.compile(r"[^\w.+=() -]", re.ASCII)
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",  # the address is the key
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_KINDS = (".html", ".png", ".pdf", ".csv", ".json", ".xyz", ".cif", ".npz")
"""Endings of what is shown of an answer."""


def make_app(follower: Follower, token: str, *, title: str) -> Starlette:
    """The application; everything lies below ``/TOKEN/``.

    Parameters
    ----------
    follower
        Of the folder; running or not.
    token
        Secret part of the address.
    title
        Of the page.
    """
    views = _Views(follower, token, title)
    routes = [
        Route("/{token}/", views.index),
        Route("/{token}/state", views.state),
        Route("/{token}/trends.csv", views.trends),
        Route("/{token}/drop", views.drop, methods=["POST"]),
        Route("/{token}/{answer}/{name}", views.report),
    ]
    # A page elsewhere that has its own name point here does not get in.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts])


View = Callable[[Request], Awaitable[Response]]


class _Views:
    def __init__(self, follower: Follower, token: str, title: str) -> None:
        self._follower, self._token, self._title = follower, token, title
        self._known: tuple[int, dict[str, Any]] = (-1, {})

    def _check(self, request: Request) -> None:
        if not secrets.compare_digest(request.path_params["token"].encode(), self._token.encode()):
            raise HTTPException(404)

    async def index(self, request: Request) -> Response:
        self._check(request)
        html = page.render("live.html", title=self._title, folder=str(self._follower.folder), limit=LARGEST)
        return HTMLResponse(html, headers=_HEADERS)

    async def state(self, request: Request) -> Response:
        self._check(request)
        if request.query_params.get("since") == str(self._follower.version):
            return JSONResponse({"version": self._follower.version}, headers=_HEADERS)
        return JSONResponse(await run_in_threadpool(self._state), headers=_HEADERS)

    def _state(self) -> dict[str, Any]:
        version, entries = self._follower.entries()
        if self._known[0] != version:
            self._known = version, live_state(version, entries)
        return self._known[1]

    async def trends(self, request: Request) -> Response:
        self._check(request)
        state = await run_in_threadpool(self._state)
        return Response(csv_text(state["rows"]), media_type="text/csv", headers=_HEADERS)

    async def report(self, request: Request) -> Response:
        self._check(request)
        answer, name = request.path_params["answer"], request.path_params["name"]
        path = self._follower.out / answer / name
        hidden = answer.startswith(".") or name.startswith(".") or os.sep in answer or os.sep in name
        if hidden or path.suffix not in _KINDS or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, headers=_HEADERS)

    async def drop(self, request: Request) -> Response:
        self._check(request)
        try:
            name = safe_name(request.query_params.get("name", ""))
            body = bytearray()
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    raise ValueError(f"larger than {LARGEST // 1_000_000} MB")
            kept = await run_in_threadpool(keep, self._follower.folder, name, bytes(body))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400, headers=_HEADERS)
        except OSError as error:
            return JSONResponse({"error": f"cannot be written: {error.strerror}"}, status_code=507, headers=_HEADERS)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse({"name": kept}, headers=_HEADERS)


def live_state(version: int, entries: Sequence[Entry]) -> dict[str, Any]:
    """What the page shows, as JSON data."""
    solved = [entry for entry in entries if entry.state == "solved" and entry.row is not None]
    order, axis = series_axis([entry.name for entry in solved], [entry.header for entry in solved])
    rows = _of_one_kind(
        [
            {"name": solved[k].folder, axis.column: value, **(solved[k].row or {})}
            for k, value in zip(order, axis.values, strict=True)
        ]
    )
    motifs = sorted({key[2:] for row in rows for key, value in row.items() if key.startswith("p_") and value >= LIKELY})
    return {
        "version": version,
        "column": axis.column,
        "label": axis.label,
        "motifs": motifs,
        "rows": rows,
        "files": [
            {"name": entry.name, "state": entry.state, "present": entry.present, "message": entry.message}
            for entry in entries
            if entry.state != "solved" or not entry.present
        ],
    }


def _of_one_kind(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the columns of all of them: a motif that a file does not have has no share in it."""
    columns = dict.fromkeys(key for row in rows for key in row)
    made = []
    for row in rows:
        spread = any(key.startswith("weight_") for key in row)
        made.append({key: row.get(key, 0.0 if key.startswith("p_") or spread else None) for key in columns})
    return made


def safe_name(name: str) -> str:
    """A file's name without folders and characters that mean something somewhere.

    Raises
    ------
    ValueError
        If nothing that ends in .gr, .fq or .sq is left.
    """
    last = re.split(r"[/\\]", name)[-1]
    stem, dot, ending = _UNSAFE.sub("_", last).rstrip(" ").rpartition(".")
    # An ending is all that is left of .gr; a leading minus would be an option of some program.
    clean = stem[:_LONGEST].strip(" ").lstrip(" .-") + dot + ending
    if not is_followed(clean):
        raise ValueError(f"{last[:60]!r}: expected a file that ends in {', '.join(ENDINGS)}")
    return clean


def keep(folder: Path, name: str, content: bytes) -> str:
    """Write a dropped file as a whole under its name, or under one beside it if that is taken by another content."""
    path = Path(name)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".dropped.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        for count in range(1, 10_000):
            target = folder / (name if count == 1 else f"{path.stem}-{count}{path.suffix}")
            try:
                # An empty file, which nobody takes for whole, holds the name: whoever else writes now finds it taken.
                target.touch(exist_ok=False)
            except FileExistsError:
                if target.is_file() and target.read_bytes() == content:
                    return target.name
                continue
            os.replace(temporary, target)
            return target.name
        raise ValueError(f"{name}: ten thousand files have this name")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
