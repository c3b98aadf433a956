"""lofar-clean in the place of WSClean: checks, completion, needs, logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe import __version__
from lofarpipe.jobs import Resources
from lofarpipe.programs.base import KNOWN_PROGRAMS, program_of
from lofarpipe.programs.lofar_clean import options
from lofarpipe.programs.lofar_clean.program import PROGRAM
from lofarpipe.programs.logs import ProgressReader

HERE = Path("lofar-clean")
JOB = Resources(4, 8.0)
KEYWORDS = {
    "name": "/a/full", "size": "200 100", "scale": "0.002", "weight": "briggs 0", "niter": "1000", "mgain": "0.8",
    "channels-out": "3", "gridder": "auto", "idg-mode": "cpu", "auto-mask": "5", "auto-threshold": "3",
    "weighting-rank-filter": "0", "pol": "I", "temp-dir": "/tmp", "update-model-required": "False",
}  # fmt: skip
FLAGS = ["-reorder", "-fit-beam", "-join-channels", "a.ms"]


def test_program_is_known() -> None:
    assert KNOWN_PROGRAMS["lofar_clean"] is PROGRAM
    assert program_of("lofar-clean") is PROGRAM
    assert PROGRAM.version(HERE) == __version__


def test_pipeline_arguments_are_valid() -> None:
    assert PROGRAM.check(HERE, KEYWORDS, FLAGS, JOB) == []


def test_map_values_are_not_checked() -> None:
    unknown = {name: text for name, text in KEYWORDS.items() if name not in ("size", "channels-out")}
    assert PROGRAM.check(HERE, unknown, FLAGS, JOB) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"gridder": "idg"}, "-gridder is 'idg'; one of wgridder"),
        ({"niter": "x"}, "-niter is 'x'; an integer >= 0 is needed"),
        ({"use-idg": "True"}, "-use-idg: there is no IDG"),
        ({"size": "200"}, "-size takes 2 values, and has 1: '200'"),
        ({"nither": "3"}, "-nither: no such option; did you mean 'niter'?"),
        ({"join-channels": "False"}, "-channels-out is 3: all are cleaned together here"),
    ],
)
def test_refusal_is_predicted(changes: dict[str, str], finding: str) -> None:
    found = PROGRAM.check(HERE, KEYWORDS | changes, FLAGS, JOB)
    assert len(found) == 1
    assert found[0].startswith(finding)


def test_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "PACKAGES", ("no_such_package",))
    assert PROGRAM.check(HERE, KEYWORDS, FLAGS, JOB) == [
        "lofar-clean: no_such_package is not installed; pip install 'genericpipeline[imager]'"
    ]


def test_job_gets_threads_and_memory() -> None:
    keywords, flags, notices = PROGRAM.complete(HERE, KEYWORDS, FLAGS, JOB)
    assert flags == ["-join-channels", "a.ms"]
    assert (keywords["j"], keywords["abs-mem"]) == ("4", "7.60")
    assert not {"mgain", "gridder", "idg-mode", "update-model-required"} & set(keywords)
    assert [text.split()[0] for text in notices] == ["-mgain"]


def test_single_channel_is_not_joined() -> None:
    keywords, flags, _ = PROGRAM.complete(HERE, KEYWORDS | {"channels-out": "1", "fit-spectral-pol": "2"}, FLAGS, JOB)
    assert flags == ["a.ms"]
    assert "fit-spectral-pol" not in keywords


def test_given_share_stays() -> None:
    keywords, flags, _ = PROGRAM.allotted(HERE, {"j": "2", "mem": "50"}, ["-reorder", "a.ms"], JOB)
    assert (keywords, flags) == ({"j": "2", "mem": "50"}, ["-reorder", "a.ms"])
    assert PROGRAM.requested_resources(HERE, {"j": "2"}, []) == (2, 0)
    assert PROGRAM.most_gpus({"idg-mode": "hybrid"}) == 0


def test_options_are_accepted() -> None:
    names = ("niter", "mgain", "channelsout", "shift", "nither")
    assert [PROGRAM.accepts(HERE, name) for name in names] == [True, True, True, False, False]


def test_model_is_written_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.ms").mkdir()
    assert PROGRAM.in_place({"niter": "5"}, ["a.ms"], tmp_path) == []
    assert PROGRAM.in_place({"niter": "5"}, ["-update-model-required", "a.ms"], tmp_path) == ["a.ms"]


def test_divergence_is_detected_without_retry() -> None:
    limits = {name: limit.default for name, limit in PROGRAM.limits.items()}
    read = PROGRAM.detector(limits)
    lines = [
        line
        for n, peak in enumerate((10, 30, 80), 1)
        for line in (f" == Deconvolving ({n}) ==", f"Initial peak: {peak} mJy")
    ]
    assert "rose from 10 mJy to 80 mJy" in [found for line in lines if (found := read(line))][-1]
    assert PROGRAM.retry_arguments(["-size", "9", "9"], "the peak of the residual image rose", limits) is None


def test_progress_is_read() -> None:
    reader = ProgressReader()
    text = " == Deconvolving (2) ==\nInitial peak: 12.5 mJy\nEstimated standard deviation of background noise: 1 mJy\n"
    assert reader.feed(text).text == "major iteration 2, peak 12.5 mJy"
    assert reader.feed("3 major iterations were performed.\n").text == "3 major iterations done"


def test_last_error_is_complaint() -> None:
    assert (
        PROGRAM.complaint("lofar-clean: a.ms: cannot be read; repair it\n")
        == "lofar-clean says: a.ms: cannot be read; repair it"
    )
    assert PROGRAM.complaint("3 major iterations were performed.\n") is None
