"""Notification commands of the site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lofarpipe.report.notify import END, FAILURE, WARNING, Messenger, Notifier, NotifyOptions
from lofarpipe.state.events import RunEnded, StepDone, Warned


def messenger(told: list[str], **commands: str) -> Messenger:
    return Messenger(NotifyOptions(**commands, timeout_s=0.5), told.append)


def test_command_gets_json_on_its_standard_input(tmp_path: Path) -> None:
    told: list[str] = []
    sent = messenger(told, on_end=f"/bin/sh -c 'cat > {tmp_path}/end.json'")
    Notifier(sent, lambda: {"job": "field", "run": {"number": 1}}).run_ended(RunEnded(True, job="field"))
    assert json.loads((tmp_path / "end.json").read_text()) == {
        "event": "end",
        "text": "field: done",
        "job": "field",
        "run": {"number": 1},
    }
    assert told == []


def test_failure_falls_back_to_end_command(tmp_path: Path) -> None:
    options = NotifyOptions(on_end="/bin/end it")
    assert options.command(FAILURE) == options.command(END) == ["/bin/end", "it"]
    assert NotifyOptions(on_end="a", on_failure="b").command(FAILURE) == ["b"]
    assert NotifyOptions().is_silent
    assert not NotifyOptions(on_warning="a").is_silent


def test_warnings_are_sent_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, dict]] = []
    monkeypatch.setattr(Messenger, "send", lambda _, event, facts: sent.append((event, facts)))
    notifier = Notifier(messenger([], on_warning="a"), lambda: {"job": "field"}, is_of_table=True)
    for text in ("one", "two", "three"):
        notifier.warning(Warned(text))
    notifier.step_done(StepDone("copy"))
    notifier.run_ended(RunEnded(False, problem="no"))
    assert [(event, facts["new_warnings"]) for event, facts in sent] == [
        (WARNING, ["one"]),
        (WARNING, ["two", "three"]),
    ], "the table tells of the end"


def test_failed_command_is_reported() -> None:
    told: list[str] = []
    fails = "/bin/sh -c 'echo no mail >&2; exit 3'"
    sent = messenger(told, on_end=fails, on_failure="/bin/sleep 60", on_warning="/no/x")
    for event in (END, FAILURE, WARNING):
        sent.send(event, {"text": ""})
    sent.wait()
    assert told == [
        "[notify] on_warning: /no/x cannot be run: No such file or directory",
        "[notify] on_end: ended with 3: no mail",
        "[notify] on_failure: did not end within 0.5 s",
    ]


@pytest.mark.parametrize(
    ("text", "needed"),
    [("'open", "a command is needed: No closing quotation"), ("/no/x a", "there is no program /no/x; name one")],
)
def test_unrunnable_commands_are_faults(text: str, needed: str) -> None:
    faults = NotifyOptions(on_failure=text).faults()
    assert list(faults) == ["on_failure"]
    assert faults["on_failure"].startswith(needed)
