"""Run the site's commands when a run ends, fails or warns: [notify] of pipeline.cfg.

A command gets a JSON object on its standard input. Its failure does not affect the run.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import IO, Any

from lofarpipe.config import Settings
from lofarpipe.errors import Finding
from lofarpipe.state.events import Event, RunEnded, Warned
from lofarpipe.support.config_file import read_section
from lofarpipe.support.dataclass import dataclass

SECTION = "notify"
END, FAILURE, WARNING = "end", "failure", "warning"
WARNING_INTERVAL_S = 60.0  # warnings in between are sent together
ERROR_CHARACTERS = 300

Facts = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class NotifyOptions:
    """The keys of [notify]; empty commands are not run."""

    on_end: str = ""
    on_failure: str = ""
    on_warning: str = ""
    timeout_s: float = 60.0

    def faults(self) -> Mapping[str, str]:
        """Return the expectation for commands that cannot be run."""
        commands = {"on_end": self.on_end, "on_failure": self.on_failure, "on_warning": self.on_warning}
        return {key: problem for key, text in commands.items() if (problem := _command_problem(text))}

    def command(self, event: str) -> list[str]:
        """Return the words of the command for an event; empty without a command."""
        commands = {END: self.on_end, FAILURE: self.on_failure or self.on_end, WARNING: self.on_warning}
        return shlex.split(commands[event])

    @property
    def is_silent(self) -> bool:
        """Whether no command is set."""
        return not any(map(self.command, (END, FAILURE, WARNING)))


def _command_problem(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as err:
        return f"a command is needed: {err}"
    if words and shutil.which(words[0]) is None:
        return f"there is no program {words[0]}; name one with its path, and its arguments after it"
    return ""


def notify_options(settings: Settings) -> tuple[NotifyOptions, list[Finding]]:
    """Return the options of [notify], and their problems."""
    section = settings.sections.get(SECTION, {})
    values = {key: value for key, value in section.items() if settings.defaults.get(key) != value}
    options, findings = read_section(NotifyOptions, settings.config_file, SECTION, values, settings.laid_over)
    return options or NotifyOptions(), findings


@dataclass
class _Call:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    name: str


@dataclass
class Messenger:
    """Runs the commands of [notify].

    Parameters
    ----------
    complain: gets the command that failed, and the reason.
    """

    options: NotifyOptions
    complain: Callable[[str], None]
    _calls: list[_Call] = field(default_factory=list)

    def send(self, event: str, facts: Mapping[str, Any]) -> None:
        """Start the command for an event, with ``facts`` as JSON on its standard input."""
        if not (argv := self.options.command(event)):
            return
        text = json.dumps({"event": event, **facts}, default=str)
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the command has ended
        try:
            with tempfile.TemporaryFile() as message_file:  # a pipe would wait for a command that does not read it
                message_file.write(text.encode("utf-8", "replace"))
                message_file.seek(0)
                process = subprocess.Popen(
                    argv, stdin=message_file, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
                )
        except OSError as err:
            errors.close()
            self.complain(f"[{SECTION}] on_{event}: {argv[0]} cannot be run: {err.strerror}")
            return
        self._calls.append(_Call(process, errors, f"on_{event}"))

    def wait(self) -> None:
        """Wait for the commands started, each for ``timeout_s`` at most."""
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                status = call.process.wait(self.options.timeout_s)
                problem = f"ended with {status}" if status else ""
            except subprocess.TimeoutExpired:
                call.process.kill()
                call.process.wait()
                problem = f"did not end within {self.options.timeout_s:g} s"
            call.errors.seek(0)
            words = call.errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            call.errors.close()
            if problem:
                self.complain(f"[{SECTION}] {call.name}: {': '.join([problem, *words])[:ERROR_CHARACTERS]}")


class Notifier:
    """Notifies the site's commands of a run: warnings at most once a minute, and the end.

    Parameters
    ----------
    facts: returns the input of the commands.
    is_of_table: whether the run belongs to a table of fields, which reports the end itself.
    """

    def __init__(self, messenger: Messenger, facts: Facts, is_of_table: bool = False) -> None:
        self._messenger = messenger
        self._facts = facts
        self._is_of_table = is_of_table
        self._waiting: list[str] = []  # warnings
        self._told_s = -WARNING_INTERVAL_S

    def warning(self, event: Warned) -> None:
        """Send this warning, with the warnings held back since the last message."""
        self._waiting.append(event.text)
        if time.monotonic() - self._told_s >= WARNING_INTERVAL_S:
            self._send_warnings()

    def step_done(self, event: Event) -> None:
        """Send the warnings that wait."""
        del event
        if self._waiting and time.monotonic() - self._told_s >= WARNING_INTERVAL_S:
            self._send_warnings()

    def run_ended(self, event: RunEnded) -> None:
        """Send the end of the run, unless everything was done before, and wait for the commands."""
        if self._waiting:
            self._send_warnings()
        facts = self._facts()
        if not (self._is_of_table or (event.ok and facts.get("is_repeat"))):
            text = f"{event.job}: done" if event.ok else f"{event.job}: {event.reason or 'failed'}"
            self._messenger.send(END if event.ok else FAILURE, {"text": text, **facts})
        self._messenger.wait()

    def _send_warnings(self) -> None:
        new, self._waiting, self._told_s = self._waiting, [], time.monotonic()
        facts = self._facts()
        text = f"{facts.get('job') or 'run'}: {'; '.join(new)}"
        self._messenger.send(WARNING, {"text": text, **facts, "new_warnings": new})
