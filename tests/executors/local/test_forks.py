"""Processes that a plugin forks: from their first moment they can be ended, and nothing of ours is held there."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Hooks that were registered before ours run before ours after the fork: the moment at which a signal was lost.
CODE = """
import os, signal, sys, threading, time
from lofarpipe.executors.local import signals
from lofarpipe.jobs import Interrupted
from lofarpipe.support.processes import BACKGROUND

def hit():
    os.kill(os.getpid(), signal.SIGTERM)

def forked(work):
    child = os.fork()
    if not child:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

{body}
"""
BODIES = {
    "child_ends": """
os.register_at_fork(after_in_child=hit)
with signals.raise_on_signals():
    print(forked(lambda: 7))
""",
    "child_of_child_keeps_its_handler": """
def again():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
    return forked(lambda: hit() or time.sleep(5) or 7)
with signals.raise_on_signals():
    print(forked(again))
""",
    "child_keeps_handler_of_the_plugin": """
with signals.raise_on_signals():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(4))
    print(forked(lambda: hit() or time.sleep(5) or 7))
""",
    "parent_hears_of_it": """
os.register_at_fork(after_in_parent=hit)
try:
    with signals.raise_on_signals():
        forked(lambda: 0)
        time.sleep(10)
except Interrupted as err:
    print(err.signal)
""",
    "child_holds_nothing": """
held, go = threading.Event(), threading.Event()
lock = threading.Lock()  # as that of a stream
def work():
    with BACKGROUND, lock:
        held.set()
        go.wait()
with signals.raise_on_signals():
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    held.wait()
    threading.Timer(0.1, go.set).start()
    print(forked(lambda: int(lock.acquire(timeout=3) and BACKGROUND.acquire(timeout=3))))
""",
    "fork_does_not_wait_for_ever": """
signals.QUIET_S = 0.05
held = threading.Event()
threading.Thread(target=lambda: BACKGROUND.acquire() and (held.set() or time.sleep(60)), daemon=True).start()
held.wait()
with signals.raise_on_signals():
    print(forked(lambda: 5))
""",
}
EXPECTED = {
    "child_ends": -signal.SIGTERM,
    "child_of_child_keeps_its_handler": 3,
    "child_keeps_handler_of_the_plugin": 4,
    "parent_hears_of_it": int(signal.SIGTERM),
    "child_holds_nothing": 1,
    "fork_does_not_wait_for_ever": 5,
}


@pytest.mark.parametrize("case", BODIES)
def test_forked_child_is_free_of_the_engine(case):
    code = CODE.format(body=BODIES[case])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == ([str(int(EXPECTED[case]))], "")
