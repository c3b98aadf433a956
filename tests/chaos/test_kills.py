"""The image pipeline, killed at random moments and resumed, gives the products of an undisturbed run."""

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos_products import differing, left_in, left_over, names, products
from chaos_site import Site, kill, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("CHAOS_KILLS", "6"))
SEED = int(os.environ.get("CHAOS_SEED", time.time_ns() % 10**9))
START_S = 0.6  # in which the engine starts, and checks
LONGEST_S = 4.0  # before a kill; a busy machine is not waited for


class Killer:
    """Kills runs of a site, each in a way and at a moment of its own.

    Parameters
    ----------
    random_numbers: decide.
    longest_s: that is waited for before a kill.
    """

    def __init__(self, random_numbers: random.Random, longest_s: float) -> None:
        self.random = random_numbers
        self.longest_s = longest_s
        self.kills: list[str] = []

    def disturb(self, site: Site) -> bool:
        """Run the command and kill something; return whether the run was finished before."""
        way = self.random.choice([self.at_start, self.engine, self.engine, self.job, self.job, self.at_change])
        status = way(site)
        if status == 0:
            return True
        # A killed engine reports nothing; an engine with a killed job reports it.
        assert status == (1 if way == self.job else -9), site.said.read_text()
        if self.random.random() < 0.5:  # else the next run meets dying processes
            wait_for(site.is_quiet)
        return False

    def at_start(self, site: Site) -> int:
        """Kill the engine while it starts."""
        return self._killed_after(site, self.random.uniform(0, START_S))

    def engine(self, site: Site) -> int:
        """Kill the engine at any moment."""
        return self._killed_after(site, self.random.uniform(START_S, self.longest_s))

    def at_change(self, site: Site) -> int:
        """Kill the engine when it moves, makes or removes a file: where outputs get their names, above all."""
        moment = f"{self.random.randint(1, 30)} {self.random.choice(['before', 'after'])}"
        status = site.start(CHAOS_CHANGE=moment).wait()
        if status == -9:
            self.kills.append(f"engine, change {moment}")
        return status

    def job(self, site: Site) -> int:
        """Kill one process of the jobs; the engine reports it, and ends."""
        process = site.start()
        time.sleep(self.random.uniform(START_S, self.longest_s))
        while process.poll() is None:
            if candidates := site.jobs(process.pid):
                victim = self.random.choice(sorted(candidates))
                self.kills.append(f"job process {victim}")
                kill(victim)
                break
            time.sleep(0.02)
        return process.wait()

    def _killed_after(self, site: Site, delay_s: float) -> int:
        process = site.start()
        try:
            return process.wait(delay_s)
        except subprocess.TimeoutExpired:
            self.kills.append(f"engine after {delay_s:.2f} s")
            process.kill()
            return process.wait()


def check(site: Site, undisturbed) -> None:
    """Compare the final products, and look for stale files."""
    wait_for(site.is_quiet)
    assert differing(products(site.job), undisturbed.products) == []
    assert names(site.job) == undisturbed.names
    assert left_over(site.job) == []
    assert left_in(site.scratch) == []


def test_random_kills_preserve_products(
    image_site: Callable[[Path], Site], undisturbed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killer = Killer(random.Random(SEED), min(LONGEST_S, undisturbed.duration_s / 5))
    with capsys.disabled():
        print(f"\n{KILLS} kills, CHAOS_SEED={SEED}")
    number = 0
    while len(killer.kills) < KILLS:
        number += 1
        site = image_site(tmp_path / f"site{number}")
        while not killer.disturb(site) and len(killer.kills) < KILLS:
            pass
        site.finish()
        check(site, undisturbed)
    with capsys.disabled():
        print(f"{len(killer.kills)} kills, {number} images")
