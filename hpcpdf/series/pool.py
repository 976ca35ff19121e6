"""Where the files of a series are solved: in threads of this process, or in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor


@contextlib.contextmanager
def workers(count: int, *, processes: bool) -> Iterator[Executor]:
    """An executor of `count` workers; when the body raises, no work that is under way is waited for.

    Parameters
    ----------
    count
        At least 1.
    processes
        Processes do more than threads on several cores, as much of a solution is Python; but a script that starts them
        has to guard its own lines by ``if __name__ == "__main__"``.
    """
    if not processes:
        with ThreadPoolExecutor(count) as threads:
            try:
                yield threads
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return
    others = set(multiprocessing.active_children())
    # Threads of this process would not survive a fork.
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _begin() -> None:
    """Ctrl-C reaches all processes of a terminal: the one that started this one decides, and this one ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed tells nobody: its workers would go on, and then wait for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
