"""Slurm is asked again as long as it does not answer."""

from __future__ import annotations

import pytest

from lofarpipe.executors.slurm import client as patience
from lofarpipe.executors.slurm.client import SlurmBusy, SlurmRefused, retry_while_down


class Controller:
    """Answers the third question."""

    def __init__(self, refusal: type[SlurmRefused] = SlurmBusy) -> None:
        self.asked = 0
        self.refusal = refusal

    def answer(self) -> int:
        self.asked += 1
        if self.asked < 3:
            raise self.refusal("connect failure")
        return 42


def nothing(_: float) -> None:
    """Wait for no time at all."""


def test_busy_controller_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.01)
    waited: list[float] = []
    told: list[str] = []
    assert retry_while_down(Controller().answer, waited.append, lambda: False, told.append) == 42
    assert len(waited) >= 2
    assert told == ["Slurm does not answer, and is asked again: connect failure"] * 2


def test_short_wait_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.01)
    waits = 0

    def count(_: float) -> None:  # it returns at once, as where a child ended
        nonlocal waits
        waits += 1

    controller = Controller()
    retry_while_down(controller.answer, count, lambda: False, lambda _: None)
    assert waits > controller.asked


def test_retry_has_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LIMIT_S", -1.0)
    with pytest.raises(SlurmBusy):
        retry_while_down(Controller().answer, nothing, lambda: False, lambda _: None)


def test_cancel_interrupts_wait() -> None:
    controller = Controller()
    with pytest.raises(SlurmBusy):
        retry_while_down(controller.answer, nothing, lambda: True, lambda _: None)
    assert controller.asked == 1


def test_refusal_is_not_retried() -> None:
    controller = Controller(SlurmRefused)
    with pytest.raises(SlurmRefused):
        retry_while_down(controller.answer, nothing, lambda: False, lambda _: None)
    assert controller.asked == 1
