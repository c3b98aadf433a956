"""Which jobs of a step are still good: where it is not known which one something concerns, it concerns all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from journal_events import emit
from lofarpipe.config import Overrides, load_settings
from lofarpipe.state import jobs as module
from lofarpipe.state.events import JobDone, StepStarted
from lofarpipe.state.jobs import JobLedger
from lofarpipe.state.journal import Stream
from lofarpipe.state.uptodate import NEVER_DONE, Ledger
from lofarpipe.support.data_map import DataMap, DataProduct

Identity = dict[str, object]


class Pipeline:
    """Steps that are run by hand, in a pipeline that can be started again."""

    def __init__(self, here: Path) -> None:
        (here / "pipeline.cfg").write_text(f"[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n")
        self.settings = load_settings(here / "run.parset", Overrides(config=str(here / "pipeline.cfg")))
        self.here = here
        self.stream = Stream()
        self.ledger = Ledger(self.stream, self.settings)

    def start_again(self) -> None:
        self.ledger = Ledger(self.stream, self.settings)

    def step(self, entry: str, jobs: dict[str, list[object]], write: Callable[[], object] | None = None) -> list[str]:
        """Run the jobs of a step that are not good any more; return them."""
        identities: dict[str, Identity] = {f"{entry}/{place}": {"arguments": names} for place, names in jobs.items()}
        whole: Identity = {"arguments": list(jobs.values())}
        if not self.ledger.stale(entry, whole):
            self.ledger.restore_step(entry)
            return []
        ledger = JobLedger(self.ledger, entry)
        self.reasons = ledger.pending(list(identities), identities.__getitem__)
        pending = [job for job in identities if job in self.reasons]
        kept = [end for end in map(self.ledger.work.last_job, identities.keys() - pending) if end]
        began = self.ledger.fingerprint_step(entry, whole, kept)
        self.stream.emit(StepStarted(entry))
        for job in pending:
            emit(self.stream, "job_started", step=entry, job=job, before={})
        if write is not None:
            write()
        for job in pending:
            ledger.record(identities[job], began.stamps, tuple, JobDone(entry, job))
        self.ledger.finish(began, {})
        return pending

    def write(self, *names: str, text: str = "x") -> None:
        for name in names:
            (self.here / name).write_text(text)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)


def last_job(pipeline: Pipeline, job: str) -> JobDone:
    end = pipeline.ledger.work.last_job(job)
    assert end is not None
    return end


def two(pipeline: Pipeline) -> dict[str, list[object]]:
    return {"000": [f"{pipeline.here}/a.out"], "001": [f"{pipeline.here}/b.out"]}


def test_new_jobs_run_once(pipeline: Pipeline) -> None:
    assert pipeline.step("s", two(pipeline)) == ["s/000", "s/001"]
    assert pipeline.reasons == {"s/000": NEVER_DONE, "s/001": NEVER_DONE}
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == []


def test_changed_arguments_repeat_job(pipeline: Pipeline) -> None:
    pipeline.step("s", two(pipeline))
    pipeline.start_again()
    assert pipeline.step("s", {**two(pipeline), "001": ["other"]}) == ["s/001"]
    assert pipeline.reasons == {"s/001": "changed: what it is made of"}


def test_failed_job_runs_again(pipeline: Pipeline) -> None:
    pipeline.step("s", two(pipeline))
    emit(pipeline.stream, "job_done", step="s", job="s/001", problem="exited with 1")
    emit(pipeline.stream, "step_started", step="s")
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == ["s/001"]


def test_name_prefix_claims_product(pipeline: Pipeline) -> None:
    """Image names are the beginnings of file names."""
    jobs: dict[str, list[object]] = {"000": [f"{pipeline.here}/img-a"], "001": [f"{pipeline.here}/img-b"]}
    products = ("img-a-MFS.fits", "img-b-MFS.fits")
    pipeline.step("image", jobs, lambda: pipeline.write(*products))
    use: dict[str, list[object]] = {str(n): [f"{pipeline.here}/{name}"] for n, name in enumerate(products)}
    assert pipeline.step("use", use) == ["use/0", "use/1"]
    emit(pipeline.stream, "job_forgotten", step="image", job="image/001")
    pipeline.start_again()
    assert pipeline.step("image", jobs, lambda: pipeline.write(products[1], text="y")) == ["image/001"]
    assert pipeline.step("use", use) == ["use/1"]


def lose_a_file(pipeline: Pipeline, entry: str, name: str) -> None:
    """Let a step have had a file that none of its jobs has, and which is not there any more."""
    event = pipeline.ledger.work.last_done(entry)
    assert event is not None
    pipeline.stream.emit(replace(event, files={f"{pipeline.here}/{name}": "1@2"}))


def test_unclaimed_product_belongs_to_matching_prefix(pipeline: Pipeline) -> None:
    jobs = {place: [f"{pipeline.here}/img-{place}"] for place in ("a", "b")}
    pipeline.step("image", jobs, lambda: pipeline.write("img-a", "img-b"))
    lose_a_file(pipeline, "image", "img-a.of-nobody")
    pipeline.start_again()
    ledger = JobLedger(pipeline.ledger, "image")
    assert ledger.pending(["image/a", "image/b"], lambda job: {"arguments": jobs[job[-1]]}) == {
        "image/a": f"{pipeline.here}/img-a.of-nobody has disappeared"
    }


def test_unattributed_product_repeats_all_jobs(pipeline: Pipeline) -> None:
    jobs = two(pipeline)
    pipeline.step("s", jobs)
    lose_a_file(pipeline, "s", "elsewhere")
    pipeline.start_again()
    assert pipeline.step("s", jobs) == ["s/000", "s/001"]


def test_named_map_stands_for_its_products(pipeline: Pipeline) -> None:
    mapfile = pipeline.here / "all.mapfile"
    DataMap([DataProduct("localhost", f"{pipeline.here}/{name}.out", False) for name in "ab"]).save(str(mapfile))
    use: dict[str, list[object]] = {"000": [str(mapfile)]}
    pipeline.step("s", two(pipeline), lambda: pipeline.write("a.out", "b.out"))
    assert pipeline.step("use", use) == ["use/000"]
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == []
    assert pipeline.step("use", use) == []
    pipeline.write("a.out", text="by hand")
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline), lambda: pipeline.write("a.out")) == ["s/000"]
    assert pipeline.step("use", use) == ["use/000"]


@pytest.mark.parametrize("many", [0, 20])
def test_many_writers_are_stored_as_one_mark(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(module, "MANY", many)
    (pipeline.here / "out").mkdir()
    jobs: dict[str, list[object]] = {place: [f"{pipeline.here}/out/{place}"] for place in ("a", "b")}
    use: dict[str, list[object]] = {"000": [f"{pipeline.here}/out/"], "001": [f"{pipeline.here}/out/"]}
    pipeline.step("s", jobs, lambda: pipeline.write("out/a", "out/b"))
    assert pipeline.step("use", use) == ["use/000", "use/001"]
    depends = last_job(pipeline, "use/000").depends
    assert list(depends) == ([f"{pipeline.here}/out"] if many == 0 else ["s/a", "s/b"])
    pipeline.start_again()
    assert pipeline.step("s", jobs) == []
    assert pipeline.step("use", use) == []
    emit(pipeline.stream, "job_forgotten", step="s", job="s/a")
    pipeline.start_again()
    assert pipeline.step("s", jobs, lambda: pipeline.write("out/a", text="y")) == ["s/a"]
    assert pipeline.step("use", use) == ["use/000", "use/001"]


def test_file_removed_by_job_is_recorded(pipeline: Pipeline) -> None:
    pipeline.write("a.out")
    pipeline.step("s", two(pipeline), (pipeline.here / "a.out").unlink)
    assert last_job(pipeline, "s/000").written == {f"{pipeline.here}/a.out": None}
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == []


def test_step_of_older_version_has_no_jobs(pipeline: Pipeline) -> None:
    """Its products are those of the step; where one is wanted, all its jobs run again."""
    pipeline.write("a.out", "b.out")
    whole: Identity = {"arguments": list(two(pipeline).values())}
    began = pipeline.ledger.fingerprint_step("s", whole)
    pipeline.stream.emit(StepStarted("s"))
    pipeline.write("a.out", "b.out", text="new")
    pipeline.ledger.finish(began, {})
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == []
    assert pipeline.step("use", two(pipeline)) == ["use/000", "use/001"]
    assert list(last_job(pipeline, "use/000").depends) == ["s"]
    pipeline.write("a.out", text="by hand")
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == ["s/000", "s/001"]


def test_forgotten_job_or_step_runs_again(pipeline: Pipeline) -> None:
    pipeline.step("s", two(pipeline))
    JobLedger(pipeline.ledger, "s").forget_job("s/001")
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == ["s/001"]
    JobLedger(pipeline.ledger, "s").forget_job()
    pipeline.start_again()
    assert pipeline.step("s", two(pipeline)) == ["s/000", "s/001"]


def test_repair_clears_only_jobs_of_step(pipeline: Pipeline) -> None:
    work = pipeline.settings.job_workdir
    work.mkdir(exist_ok=True)
    for name, step in (("x", "s"), ("y", "t")):
        emit(pipeline.stream, "job_started", step=step, job=f"{step}/000", before={f"{work}/{name}": None})
        (work / name).touch()
    told: list[str] = []
    JobLedger(pipeline.ledger, "s").repair(told.append)
    JobLedger(pipeline.ledger, "s").repair(told.append)
    assert told == [f"s/000 was cut off; {work}/x was not complete, and is removed"]
    assert [path.name for path in work.iterdir() if path.name in "xy"] == ["y"]
