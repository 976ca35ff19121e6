"""A folder followed by a page on this machine, until it is stopped."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError
from hpcpdf.launch.reconstructing import check_span
from hpcpdf.launch.settings import check_writable
from hpcpdf.launch.solving import SolveSettings, check_model
from hpcpdf.live.entry import check_answers
from hpcpdf.live.watch import is_followed
from hpcpdf.pdf.fq import Reading
from hpcpdf.pdf.simulate import thread_count
from hpcpdf.report import page
from hpcpdf.sample.instrument import Instrument

ANSWERS = "hpcpdf"
"""Where answers go in the followed folder, unless another place is named."""


def serve_folder(
    folder: Path,
    settings: SolveSettings,
    out: Path | None = None,
    *,
    reading: Reading | None = None,
    port: int = 0,
    at_once: int | None = None,
    interval: float = 0.5,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> None:
    """Follow a folder and show what becomes of it; returns when it is interrupted.

    Parameters
    ----------
    folder
        Of measured files.
    settings
        How they are solved.
    out
        Folder for the answers; None: ``hpcpdf`` in `folder`.
    reading
        How files are read that do not say it all themselves.
    port
        Of this machine's loopback; 0 takes a free one.
    at_once
        Files solved at a time, each by a process; None: as many as there are cores, but one.
    interval
        Seconds between two looks at the folder.
    dry_run
        Only check, and say what is there.
    say
        Receives the address.

    Raises
    ------
    ConfigError
        If arguments cannot be used as given.
    """
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise ConfigError(f'{name} is not installed; hpcpdf serve needs it: pip install "hpcpdf[live]"')
    low, high = settings.r_range
    if not isinstance(high, str):
        check_span((low, high), "--rmin", "--rmax")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give the one that measured files are written to")
    folder = folder.absolute()
    answers = folder / ANSWERS if out is None else out.absolute()
    if answers.resolve() == folder.resolve():
        raise ConfigError(f"--out {out}: is the folder of the measured files; choose another")
    check_answers(answers)
    check_writable(answers, "--out")
    metallic_radius(settings.element)
    check_model(settings.model)
    reading = reading or Reading()
    decisive = {**page.plain(settings.arguments()), **reading.stated()}
    if settings.instrument is not None:
        # What is in it decides, not what it is called.
        decisive["instrument"] = page.plain(asdict(Instrument.load(settings.instrument)))
    if dry_run:
        count = sum(is_followed(path.name) for path in folder.iterdir())
        say(f"{folder}: {count} files -> {answers}")
        return

    import uvicorn

    from hpcpdf.live.follow import Follower
    from hpcpdf.live.server import make_app
    from hpcpdf.live.work import Work

    work = Work(settings.arguments(), reading)
    count = at_once or max(1, thread_count(None) - 1)
    follower = Follower(folder, answers, work, settings=decisive, at_once=count, interval=interval)
    token = secrets.token_urlsafe(24)
    with _loopback(port) as listening:
        app = make_app(follower, token, title=f"{folder.name}: {settings.element}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1, server_header=False
        )
        server = uvicorn.Server(config)
        failed: list[BaseException] = []

        def follow() -> None:
            try:
                follower.run()
            except BaseException as error:  # raised below, in the thread that can tell of it
                failed.append(error)
            finally:
                server.should_exit = True

        thread = threading.Thread(target=follow, name="follow", daemon=True)
        thread.start()
        try:
            say(f"{folder} -> {answers}")
            say(f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/")
            say("Ctrl-C stops it; the same command goes on")
            # It takes signals while it runs and gives them back, to this process's own handlers, when it ends.
            server.run(sockets=[listening])
        finally:
            follower.stop()
            thread.join(1.0)
    if failed:
        raise failed[0]


def _loopback(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        # From here on a browser waits instead of being refused.
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConfigError(f"--port {port}: {error.strerror}; choose another, or leave it out") from None
    return listening
