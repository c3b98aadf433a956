"""One host: the connection to the agent on it, what it has, and what of that is free."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lofarpipe.executors.ssh.options import SshOptions, is_here
from lofarpipe.jobs import Job, Resources

# A connection that carries nothing for 45 s is given up by ssh. User's own settings stay, but what would disturb.
SSH_OPTIONS = (
    *("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=3"),
    *("ControlMaster=no", "ClearAllForwardings=yes", "RemoteCommand=none"),
)
TRIES = 3
PAUSES_S = (1.0, 3.0)  # before the second try to reach a host, and the third
READY_S = 90.0  # a login may be slow
LIMIT_S = 60.0  # an agent that hears nothing for so long ends its jobs
CLOSING_S = 5.0
KIB_PER_GB = 1e9 / 1024


class Host:
    """One host of the list.

    Attributes
    ----------
    size: what it has; None while it is not connected.
    node: what it calls itself.
    refused: why nothing can run on it although it was reached; "" if it can.
    failures: tries to reach it since it was last connected.
    said: what the last of them came to.
    """

    def __init__(self, name: str, options: SshOptions, orders: Path, token: str) -> None:
        self.name = name
        self.is_here = is_here(name)
        self.size: Resources | None = None
        self.node = ""
        self.refused = ""
        self.failures = 0
        self.said = ""
        self._options = options
        self._token = token
        self._errors = orders / "ssh" / f"{token}.{name}.err"
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = 0.0  # monotonic clock: for the answer of an agent, or of the next try
        self._unread = b""
        self._devices: list[str] = []
        self.jobs: dict[str, Job] = {}  # that run on it, by order
        self._given: dict[str, list[str]] = {}

    # ---- the connection

    @property
    def is_settled(self) -> bool:
        """Whether it is known if jobs can run here."""
        return self.size is not None or bool(self.refused) or self.failures >= TRIES

    @property
    def is_down(self) -> bool:
        """Whether it was tried to reach it, in vain."""
        return self.size is None and self.is_settled

    @property
    def descriptor(self) -> int | None:
        """Where its agent speaks."""
        return self._process.stdout.fileno() if self._process and self._process.stdout else None

    def connect(self, agent: list[str]) -> None:
        """Start the agent, if it is time to; what became of that is heard later."""
        if self._process is not None or self.is_settled or time.monotonic() < self._deadline:
            return
        command = agent
        if not self.is_here:
            options = [word for option in SSH_OPTIONS for word in ("-o", option)]
            command = ["ssh", "-T", *options, *self._options.extra, self.name, f"exec {shlex.join(agent)}"]
        self._deadline = time.monotonic() + READY_S
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,  # Ctrl-C in the terminal is for us
            )
        os.set_blocking(self._process.stdout.fileno(), False)  # type: ignore[union-attr]

    def try_again(self) -> None:
        """Let a host that was not reached have one more chance."""
        if self.is_down and not self.refused:
            self.failures, self._deadline = TRIES - 1, 0.0

    def send(self, line: str) -> None:
        """Say a line to the agent; that it does not listen any more is heard otherwise."""
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it ended, or was just closed
                process.stdin.write(os.fsencode(f"{line}\n"))

    def hear(self) -> Iterator[list[str]]:
        """Yield what the agent says of jobs, word by word, the order last; and ``["lost"]`` if the connection ended."""
        is_open = True
        while is_open and self._process and self._process.stdout:
            try:
                chunk = self._process.stdout.read(65536)
            except OSError:  # not seen
                chunk = b""
            if chunk is None:
                break
            is_open = bool(chunk)
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                token, _, words = os.fsdecode(line).partition(" ")
                if token == self._token:  # not what a login prints
                    yield from self._heard(words)
        is_late = self._process is not None and self.size is None and time.monotonic() > self._deadline
        if self._process is not None and (not is_open or is_late):
            was_ready = self.size is not None
            self._fail()
            if was_ready:
                yield ["lost"]

    def _heard(self, text: str) -> Iterator[list[str]]:
        word, _, rest = text.partition(" ")
        if word == "refused":
            self.refused = rest
        elif word == "ready":
            self.node, cores, memory_kib, gpus = rest.split()
            given = self._options
            memory_gb = given.memory_gb or int(memory_kib) / KIB_PER_GB
            self.size = Resources(given.cores or int(cores), memory_gb, given.gpus or int(gpus))
            self._devices = [str(number) for number in range(self.size.gpus)]
            self.failures = 0
        else:
            yield text.split(maxsplit=3 if word == "began" else 1)

    def _fail(self) -> None:
        if self._process is not None:
            self._process.terminate()
        code = self._end()
        try:
            said = [line for line in self._errors.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            said = []
        self.said = said[-1].strip() if said else f"its connection ended with exit code {code}"
        self.failures += 1
        self.size = None
        self._deadline = time.monotonic() + PAUSES_S[min(self.failures, len(PAUSES_S)) - 1]

    def close(self) -> None:
        """End the agent; jobs that it still has are ended by it."""
        self.send("over" if not self.jobs else "")
        self._end()
        self.size, self.failures, self._deadline = None, 0, 0.0
        self._errors.unlink(missing_ok=True)

    def _end(self) -> int:
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return 0
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        try:
            return process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    # ---- what is free

    def takes(self, job: Job) -> bool:
        """Whether a job can start here now; one that wants more cores than there are has them all."""
        if self.size is None or 0 < job.max_per_node <= len(self.jobs):
            return False
        memory_gb = self.size.memory_gb - sum(one.memory_gb or 0.0 for one in self.jobs.values())
        fits = (job.memory_gb or 0.0) <= memory_gb + 1e-7 and job.gpus <= len(self._devices)
        return fits and self._cores_of(job) <= self.free_cores

    @property
    def free_cores(self) -> int:
        """Cores that no job has."""
        return (self.size.cores if self.size else 0) - sum(map(self._cores_of, self.jobs.values()))

    def _cores_of(self, job: Job) -> int:
        return max(1, min(job.cores, self.size.cores if self.size else 1))

    def admit(self, order: str, job: Job) -> list[str]:
        """Note that a job is going to run here; return the CUDA devices that are its own until it ends."""
        self.jobs[order] = job
        self._given[order], self._devices = self._devices[: job.gpus], self._devices[job.gpus :]
        return self._given[order]

    def release(self, order: str) -> None:
        """Give back what a job used."""
        del self.jobs[order]
        self._devices += self._given.pop(order)
