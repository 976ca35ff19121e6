"""What signals mean while a stage runs, and that they mean what they did before afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from hpcpdf.stage import Context, stop_on_signals

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Usual(BaseException):
    """Raised by the handlers that were there before."""


@pytest.fixture(autouse=True)
def usual():
    def act(number, frame):
        raise Usual(number)

    before = {number: signal.signal(number, act) for number in CAUGHT}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", CAUGHT)
def test_the_first_asks_to_stop(number):
    context = Context()
    with stop_on_signals(context):
        assert not context.stopping()
        os.kill(os.getpid(), number)
        assert context.stopping()
    with pytest.raises(Usual):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_of_a_kind_acts_as_usual(number):
    with stop_on_signals(Context()):
        os.kill(os.getpid(), number)
        with pytest.raises(Usual):
            os.kill(os.getpid(), number)


def test_a_batch_system_may_ask_twice_and_then_terminate():
    """The last of these still lets a checkpoint be finished."""
    context = Context()
    with stop_on_signals(context):
        for number in (signal.SIGUSR2, signal.SIGUSR2, signal.SIGTERM):
            os.kill(os.getpid(), number)
    assert context.stopping()


def test_other_threads_pass_by():
    failed = []

    def body():
        try:
            with stop_on_signals(Context()):
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert not failed
