"""One place where errors become one line on stderr and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import Any, NoReturn, TextIO

import typer

from hpcpdf.errors import ConfigError, HpcPdfError

FAILED = 1
USAGE = 2
INTERRUPTED = 130
TERMINATED = 143

_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "RANK", "SLURM_PROCID")

debug = False
"""Whether an error also shows its traceback; set by ``--debug``."""

# typer carries its own copy of click in some versions; the base of its exported error is right in all of them.
_UsageError: Any = typer.BadParameter.__base__


class _Lines(logging.Handler):
    """Progress on stdout; warnings and worse on stderr, marked as such."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            print(record.getMessage(), flush=True)
        else:
            _warn(record.getMessage())


class _Terminated(BaseException):
    """SIGTERM arrived: unwind, so that temporary files are removed, then leave."""


def call(app: typer.Typer, arguments: list[str] | None) -> int:
    """Call the application; every way out of it is a return value."""
    global debug
    debug = False
    warnings.showwarning = _show_warning
    log = logging.getLogger("hpcpdf")
    log.handlers = [_Lines()]
    log.setLevel(logging.WARNING if _rank() else logging.INFO)
    log.propagate = False
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(arguments, prog_name="hpcpdf", standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        return _usage(error)
    except HpcPdfError as error:
        return _fail(error, str(error), USAGE if isinstance(error, ConfigError) else FAILED)
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nothing to say, and nothing more to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _fail(error, _describe(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except _Terminated:
        print("hpcpdf: terminated", file=sys.stderr)
        return TERMINATED
    except MemoryError as error:
        return _fail(error, "out of memory; use fewer threads, samples or a smaller batch", FAILED)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error} (a defect of hpcpdf; --debug shows where)"
        return _fail(error, text, FAILED)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return _interrupted() if code == INTERRUPTED else int(code or 0)


def _rank() -> int:
    found = (os.environ.get(name, "") for name in _RANKS)
    return next((int(value) for value in found if value.isdecimal()), 0)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _interrupted() -> int:
    print("hpcpdf: interrupted; the same command goes on from the last finished step", file=sys.stderr)
    return INTERRUPTED


def _usage(error: Any) -> int:
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        return USAGE
    command = context.command_path if context else "hpcpdf"
    return _fail(error, f"{error.format_message()} (see {command} --help)", USAGE)


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _fail(error: BaseException, text: str, code: int) -> int:
    # A wrong call is wrong on all ranks alike: one of them says so.
    if code == USAGE and _rank():
        return code
    if debug:
        traceback.print_exception(error)
    print(f"hpcpdf: error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    origin = f" ({filename}:{lineno})" if debug else ""
    _warn(f"{message}{origin}")


def _warn(text: str) -> None:
    print(f"hpcpdf: warning: {' '.join(text.split())}", file=sys.stderr)
