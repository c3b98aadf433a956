"""One host: the connection to its agent, its size, and its free resources."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from lofarpipe.executors.remote.order import Order, new_attempt
from lofarpipe.executors.remote.queue import portable_environment
from lofarpipe.executors.ssh.options import SshOptions, is_this_machine
from lofarpipe.jobs import Job, Resources
from lofarpipe.programs.find import portable_variables

# ssh gives up a connection after 45 s of silence. The user's settings stay, except interfering ones.
SSH_OPTIONS = (
    *("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=3"),
    *("ControlMaster=no", "ClearAllForwardings=yes", "RemoteCommand=none"),
)
TRIES = 3
PAUSES_S = (1.0, 3.0)  # before the second and the third try to connect
READY_S = 90.0  # a login may be slow
LIMIT_S = 60.0  # an agent without contact for this long ends its jobs
CLOSING_S = 5.0
KIB_PER_GB = 1e9 / 1024


class Host:
    """One host of the list.

    Attributes
    ----------
    size: cores, memory and GPUs; None while not connected.
    node: the host's own name.
    is_placed: whether its agent is in the directory of the orders.
    refused: reason why a reached host is unusable, or "".
    failures: failed tries since the last connection.
    problem: problem of the last try.
    jobs: running jobs, by name of the order.
    """

    def __init__(self, name: str, options: SshOptions, grace_s: float) -> None:
        self.name = name
        self.is_here = is_this_machine(name)
        self.size: Resources | None = None
        self.node = self.refused = self.problem = ""
        self.is_placed = False
        self.failures = 0
        self.jobs: dict[str, Job] = {}
        self._options = options
        self._token = ""  # unique for each connection: two hosts may be one machine
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None  # stderr of ssh
        self._deadline = 0.0  # monotonic clock, s: for the agent's answer, or time of the next try
        self._unread = b""
        self._orders: Path | None = None
        self._devices: list[str] = []  # free CUDA devices
        self._lent_devices: dict[str, list[str]] = {}

    # ---- the connection

    @property
    def is_down(self) -> bool:
        """Whether all tries to connect have failed."""
        return self.size is None and self.failures >= TRIES

    @property
    def is_settled(self) -> bool:
        """Whether the host is known to be usable or not."""
        is_ready = self.size is not None and (self.is_placed or self._orders is None)
        return is_ready or bool(self.refused) or self.is_down

    @property
    def descriptor(self) -> int:
        """File descriptor of the agent's output; -1 without an agent."""
        return self._process.stdout.fileno() if self._process and self._process.stdout else -1

    def connect(self) -> None:
        """Start the agent, if due, without waiting for its answer."""
        if self._process is not None or self.refused or self.is_down or time.monotonic() < self._deadline:
            return
        self._token = new_attempt()
        text = importlib.resources.files(__package__).joinpath("agent.sh").read_bytes()
        reading = f'text=$(head -c {len(text)}) && eval "$text"'
        facts = [self._token, f"{LIMIT_S:.0f}", str(round(10 * self._grace_s)), self._options.env_file]
        command = ["/bin/sh", "-c", reading, "agent.sh", "agent", *facts]
        if not self.is_here:
            options = [word for option in SSH_OPTIONS for word in ("-o", option)]
            command = ["ssh", "-T", *options, *self._options.extra, self.name, f"exec {shlex.join(command)}"]
        self._deadline = time.monotonic() + READY_S
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open during the connection
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal goes to the runner only
        )
        self._write(process, text)
        self._process = process  # from now on other threads write as well
        os.set_blocking(self.descriptor, False)

    def send_orders(self, orders: Path) -> None:
        """Send the directory of the orders to the agent; allow an unreachable host another try."""
        if self.is_down:
            self.failures, self._deadline = TRIES - 1, 0.0
        if self._orders is None:
            self._orders = orders
            self.send(f"in {orders}")

    def send(self, line: str) -> None:
        """Send a line to the agent; its death is detected elsewhere."""
        if self._process is not None:
            self._write(self._process, os.fsencode(f"{line}\n"))

    def _write(self, process: subprocess.Popen[bytes], text: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # ended or just closed
            if process.stdin is not None:
                process.stdin.write(text)

    def read_messages(self) -> Iterator[list[str]]:
        """Yield the agent's messages about jobs as word lists, order last; ``["lost"]`` if the connection ended."""
        is_open = True
        while is_open and self._process and self._process.stdout:
            chunk = self._process.stdout.read(65536)
            if chunk is None:
                break
            is_open = bool(chunk)
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                token, _, message = os.fsdecode(line).partition(" ")
                if token == self._token:  # skips output of the login
                    yield from self._handle_message(message)
        is_late = self._process is not None and self.size is None and time.monotonic() > self._deadline
        if is_late or not is_open:
            was_ready = self.size is not None
            self._fail("no answer" if is_late else "")
            if was_ready:
                yield ["lost"]

    def _handle_message(self, message: str) -> Iterator[list[str]]:
        word, _, rest = message.partition(" ")
        if word == "refused":
            self.refused, self.is_placed = rest, False
        elif word == "placed":
            self.is_placed = True
        elif word == "ready":
            self.node, cores, memory_kib, gpus = rest.split()
            size = self._options
            memory_gb = size.memory_gb or int(memory_kib) / KIB_PER_GB
            self.size = Resources(size.cores or int(cores), memory_gb, size.gpus or int(gpus))
            self._devices = [str(number) for number in range(self.size.gpus)]
            self.failures = 0
            if self._orders is not None:
                self.send(f"in {self._orders}")
        else:
            yield message.split(maxsplit=3 if word == "began" else 1)

    def _fail(self, cause: str) -> None:
        """Record the loss of the connection, and its cause."""
        if self._process is not None:
            self._process.terminate()
        code, errors = self._end()
        self.problem = cause or (errors[-1] if errors else f"its connection ended with exit code {code}")
        self.failures += 1
        self._deadline = time.monotonic() + PAUSES_S[min(self.failures, len(PAUSES_S)) - 1]

    def disconnect(self) -> None:
        """Tell the agent that the work is over."""
        if not self.jobs:
            self.send("over")

    def close(self) -> None:
        """Close the connection; the agent ends its remaining jobs."""
        self._end()
        self.failures, self._deadline = 0, 0.0

    def _end(self) -> tuple[int, list[str]]:
        """Close the connection; return ssh's exit code and error lines."""
        process, errors = self._process, self._errors
        self._process, self._errors, self._unread = None, None, b""
        self.size, self.is_placed = None, False
        if process is None or errors is None:
            return 0, []
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        try:
            code = process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        with errors:
            errors.seek(0)
            return code, [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]

    # ---- free resources

    @property
    def free_cores(self) -> int:
        """Number of free cores."""
        return (self.size.cores if self.size else 0) - sum(map(self._cores_of, self.jobs.values()))

    def _cores_of(self, job: Job) -> int:
        return max(1, min(job.cores, self.size.cores if self.size else 1))

    def fits_when_idle(self, job: Job) -> bool:
        """Whether a job fits on the idle host; True while the host's size is unknown."""
        size = self.size
        return size is None or ((job.memory_gb or 0.0) <= size.memory_gb + 1e-7 and job.gpus <= size.gpus)

    def has_room_for(self, job: Job) -> bool:
        """Whether a job can start here now; one requesting more cores than the host has gets all."""
        if self.size is None or not self.is_placed or 0 < job.max_per_node <= len(self.jobs):
            return False
        memory_gb = self.size.memory_gb - sum(one.memory_gb or 0.0 for one in self.jobs.values())
        # A hundred bytes of tolerance for rounding in sums of floats.
        fits = (job.memory_gb or 0.0) <= memory_gb + 1e-7 and job.gpus <= len(self._devices)
        return fits and self._cores_of(job) <= self.free_cores

    def reserve(self, order: str, job: Job) -> list[str]:
        """Reserve the resources of a job; return its CUDA devices."""
        self.jobs[order] = job
        self._lent_devices[order], self._devices = self._devices[: job.gpus], self._devices[job.gpus :]
        return self._lent_devices[order]

    def release(self, order: str) -> None:
        """Release the resources of a job."""
        del self.jobs[order]
        self._devices += self._lent_devices.pop(order)


def guard_input(order: Order, host: Host, options: SshOptions, more: Mapping[str, str]) -> str:
    """Return the input of a guard: facts, the start of the record, and the command of the program.

    Parameters
    ----------
    more: variables in addition to the job's own.
    """
    job = order.job
    argv = job.staged.argv if job.staged else job.argv
    result = {"name": job.name, "log": str(job.log), "argv": job.argv, "host": job.host, "label": job.label}
    tempdir = str(job.tempdir) if job.tempdir else ""
    facts = {
        "attempt": order.attempt,
        "record": json.dumps({"attempt": order.attempt, "result": result})[:-2] + ", ",
        "log": str(job.log),
        "workdir": str(job.workdir),
        "tempdir": tempdir,
        "no_workdir": json.dumps(f"working directory {job.workdir} is not there on host {host.name}"),
        "no_tempdir": json.dumps(f"temporary directory {tempdir} cannot be made on host {host.name}"),
    }
    lines = [f"{name}={shlex.quote(text)}" for name, text in facts.items()]
    alone, variables = _variables(job, host, options)
    words = [f"{name}={text}" for name, text in {**variables, **more}.items()]
    sourcing = """$shell -c '. "$0"; exec "$@"' "$env_file" """ if options.env_file else ""
    if "=" in argv[0] and not sourcing:  # env would read it as a variable
        sourcing = """$shell -c 'exec "$@"' sh """
    start = f'exec setsid env $reset {"-i " if alone else ""}{shlex.join(words)} "$mark" {sourcing}{shlex.join(argv)}'
    return "\n".join([*lines, f"program() {{ {start}; }}", ""])


def _variables(job: Job, host: Host, options: SshOptions) -> tuple[bool, dict[str, str]]:
    """Return the variables of a job, after whether they are its whole environment."""
    if host.is_here:
        return False, dict(job.env)
    if options.environment == "host":
        return False, portable_variables(job.env)
    return True, {**portable_environment(os.environ), **job.env}
