"""After any changes, failures and kills exactly the unfinished jobs run, with right products."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moving_site import (
    MARKED,
    MARKED_INPUTS,
    Expected,
    Killed,
    MovingSite,
    PipelineError,
    Pretended,
    product_of,
    temporary_site,
)

SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PRODUCTS = "abcde"
JOBS = [*(f"{step}-{product}" for step in ("copy", "again") for product in PRODUCTS), "join"]
LISTS = st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=5, unique=True).map("".join)
FAILING = st.frozensets(st.sampled_from(JOBS), max_size=2)
KILL_AT = st.integers(-6, 8)  # jobs before the engine is killed; below 0: it is not
WAYS = st.sampled_from(["half", "idle", "untold"])  # what the job did at which it is
RUNS = st.tuples(
    LISTS,
    FAILING,
    KILL_AT,
    WAYS,
    st.lists(st.sampled_from(PRODUCTS), max_size=1),  # whose input changes before
    st.lists(st.tuples(st.sampled_from(PRODUCTS), st.sampled_from(["copy", "again"])), max_size=1),  # removed before
)


def check_picture(site: MovingSite, products: str) -> None:
    """Each job is shown once, for its own product, with its own log."""
    for name in ("copy", "again"):
        step = site.state.steps[name]
        assert sorted(site.numbers(name).values()) == sorted(products)
        assert (step.done, step.failed, step.total) == (len(products), 0, len(products))
        for job in step.jobs.values():
            assert Path(job.log).read_text() == f"{name}-{product_of(job.label)}"


@SOME
@given(st.lists(RUNS, min_size=2, max_size=6))
def test_only_unfinished_jobs_run(runs: list[tuple]) -> None:  # type: ignore[type-arg]
    with temporary_site() as site:
        site.change(*PRODUCTS)
        expected = Expected(site)
        for products, failing, kill_at, way, changed, removed in runs:
            site.change(*changed)
            for product, step in removed:
                site.output(product, step).unlink(missing_ok=True)
            assert site.dry_run(products) == expected.copied().run(products)
            wanted = expected.run(products, failing, kill_at)
            executor = Pretended(failing, kill_at, way)
            ended = False
            with contextlib.suppress(PipelineError, Killed):
                site.run(products, executor)
                ended = True
            assert executor.started == wanted
            assert len(set(executor.names)) == len(executor.names)
            if ended:
                assert site.joined() == "".join(site.input(product).read_text() for product in products)
                check_picture(site, products)
                assert site.run(products) == []


# Products that stand twice in a list, and those of another directory whose outputs have the same names.
MIXED = (
    st.lists(st.sampled_from("abcAB"), min_size=1, max_size=5)
    .map(lambda names: [name for name in names if name.swapcase() not in names[: names.index(name)]])
    .map("".join)
)


@SOME
@given(st.lists(st.tuples(MIXED, FAILING, KILL_AT, WAYS), min_size=2, max_size=6))
def test_products_have_right_contents(runs: list[tuple]) -> None:  # type: ignore[type-arg]
    with temporary_site() as site:
        site.change(*"abcAB")
        for products, failing, kill_at, way in runs:
            told = site.dry_run(products)
            executor = Pretended(failing, kill_at, way)
            ended = False
            with contextlib.suppress(PipelineError, Killed):
                site.run(products, executor)
                ended = True
            assert executor.started == told[: len(executor.started)] or executor.failing & set(executor.started)
            if ended:
                assert (executor.started, executor.names) == (told, site.named)
                assert site.joined() == "".join(site.input(product).read_text() for product in products)
                assert site.run(products) == []


@pytest.mark.parametrize("steps", [MARKED, MARKED_INPUTS], ids=["copies", "inputs"])
@example(
    runs=[("acdbe", 8, "half"), ("a", 0, "half"), ("abcde", 0, "half"), ("abc", 1, "untold"), ("ab", 0, "half")]
)  # cut off, made anew, and cut off again without a word
@SOME
@given(runs=st.lists(st.tuples(LISTS, KILL_AT, WAYS), min_size=2, max_size=6))
def test_no_product_is_changed_twice(steps: tuple[str, ...], runs: list[tuple[str, int, str]]) -> None:
    """A half-changed product is refused in every list until it is mended."""
    with temporary_site(*steps) as site:
        site.change(*PRODUCTS)
        texts = {product: site.input(product).read_text() for product in PRODUCTS}
        expected = ExpectedMarks(has_copies=steps is MARKED)
        for products, kill_at, way in runs:
            wanted, end = expected.run(products, kill_at, way)
            # An unrecorded copy is attributed to the interrupted job, and refused.
            is_copy = wanted and wanted[-1].startswith("copy")
            executor = Pretended(frozenset(), kill_at, "half" if way == "untold" and is_copy else way)
            if end == "done":
                site.run(products, executor)
                assert site.joined() == "".join(f"{texts[product]}marked\n" for product in products)
                assert site.run(products) == []
            else:
                with pytest.raises(PipelineError if end == "refused" else Killed, match=REFUSED[end]):
                    site.run(products, executor)
            assert executor.started == wanted
            for product in expected.mend(products) if end == "refused" else []:
                if steps is MARKED:
                    site.output(product, "copy").unlink()
                else:
                    site.input(product).write_text(texts[product])


REFUSED = {"refused": "was cut off while it changed", "killed": None}


class ExpectedMarks:
    """The same for copies that are changed in place."""

    def __init__(self, has_copies: bool) -> None:
        self.has_copies = has_copies
        self.copied: dict[str, int] = {}  # product -> when
        self.marked: dict[str, int] = {}  # product -> which copy
        self.joined: list[tuple[str, int]] = []
        self.half: set[str] = set()
        self._clock = 0

    def run(self, products: str, kill_at: int, way: str) -> tuple[list[str], str]:
        """Return the started jobs in order, and the end of the run."""
        started: list[str] = []
        for product in products:
            if product in self.copied or not self.has_copies:
                continue
            started.append(f"copy-{product}")
            self.half.discard(product)
            if len(started) == kill_at + 1:
                return started, "killed"
            self._clock += 1
            self.copied[product] = self._clock
        pending = [product for product in products if self.marked.get(product) != self._copy(product)]
        if self.half & set(pending):
            return started, "refused"
        for product in pending:
            started.append(f"mark-{product}")
            self.marked.pop(product, None)
            if len(started) == kill_at + 1:
                self._cut_off(product, way)
                return started, "killed"
            self.marked[product] = self._copy(product)
        return self._join(started, [(product, self.marked[product]) for product in products], kill_at)

    def _copy(self, product: str) -> int:
        return self.copied[product] if self.has_copies else 0

    def _cut_off(self, product: str, way: str) -> None:
        if way == "untold" and self.has_copies:
            del self.copied[product]  # who changed it is not known
        elif way != "idle":
            self.half.add(product)

    def mend(self, products: str) -> set[str]:
        """Remove or restore half-changed products, and return them."""
        mended = self.half & set(products)
        self.half -= mended
        for product in mended if self.has_copies else ():
            del self.copied[product]
        return mended

    def _join(self, started: list[str], wanted: list[tuple[str, int]], kill_at: int) -> tuple[list[str], str]:
        if self.joined == wanted:
            return started, "done"
        started.append("join")
        is_killed = len(started) == kill_at + 1
        self.joined = [] if is_killed else wanted
        return started, "killed" if is_killed else "done"
