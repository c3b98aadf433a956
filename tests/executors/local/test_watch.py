"""Waiting for children and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import pytest

from lofarpipe.executors.local.signals import POLL_IN_THREAD_S, Watch

HOUR_S = 3600.0  # longer than any test, unless a wait fails to end
pytestmark = pytest.mark.timeout(120)


def test_child_exit_ends_wait() -> None:
    with Watch() as watch, subprocess.Popen(["sleep", "0.1"]):
        watch.wait(HOUR_S)


def test_timeout_ends_wait() -> None:
    with Watch() as watch:
        began = time.monotonic()
        watch.wait(0.05)
        assert time.monotonic() - began > 0.04


def test_repeated_wake_ends_wait() -> None:
    with Watch() as watch:
        for _ in range(100_000):  # more than a pipe holds
            watch.wake()
        watch.wait(HOUR_S)


def test_signals_are_collected_and_handlers_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    with Watch() as watch:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        watch.wait(10.0)
        assert watch.received == [signal.SIGINT, signal.SIGTERM]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Watch() as watch:
            os.kill(os.getpid(), signal.SIGHUP)
            watch.wait(0.05)
            assert watch.received == []
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_thread_polls_for_children() -> None:
    waited: list[float] = []

    def wait() -> None:
        with Watch() as watch:
            began = time.monotonic()
            watch.wait(HOUR_S)
            waited.append(time.monotonic() - began)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(60)
    assert waited
    assert waited[0] > POLL_IN_THREAD_S / 2
