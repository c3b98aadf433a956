"""Arguments fitted to a build and a machine, refusals foreseen, and logs understood."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.programs.argv import build_argv
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.logs import sign_in
from lofarpipe.programs.wsclean.build import WSCleanBuild, describe_build, resolve_gridder
from lofarpipe.programs.wsclean.checks import check_arguments, has_option
from lofarpipe.programs.wsclean.log import Deconvolution, find_refusal
from lofarpipe.programs.wsclean.options import number, option_words, remove_flags
from lofarpipe.programs.wsclean.program import adapt
from wsclean_stubs import make_stub

PIPELINE_FLAGS = ["-no-update-model-required", "-reorder", "-fit-beam", "-join-channels", "-local-rms"]
PIPELINE_FLAGS += ["-local-rms-window", "50", "-local-rms-method", "rms-with-min", "msfile"]
PIPELINE_KEYWORDS = {
    "name": "/tmp/fullband",
    "pol": "I",
    "scale": "0.00208",
    "padding": "1.2",
    "weight": "briggs 0",
    "weighting-rank-filter": "3",
    "minuv-l": "80",
    "maxuv-l": "7000",
    "niter": "100000",
    "mgain": "0.65",
    "auto-mask": "3.3",
    "auto-threshold": "0.5",
    "threshold": "0",
    "temp-dir": "/tmp",
}
AUTO = {"gridder": "auto", "idg-mode": "cpu"}


@pytest.fixture(scope="module")
def installed(wsclean) -> WSCleanBuild:
    build = describe_build(wsclean)
    if build.has_idg:
        pytest.skip("this WSClean has IDG; these tests are of one without")
    return build


@pytest.fixture(scope="module")
def complete(wsclean, tmp_path_factory) -> WSCleanBuild:
    """WSClean 3.1 with IDG and EveryBeam."""
    folder = tmp_path_factory.mktemp("complete")
    return describe_build(make_stub(folder, wsclean, parts=("EveryBeam", "IDG", "WGridder")))


@pytest.fixture(scope="module")
def newer(wsclean, tmp_path_factory) -> WSCleanBuild:
    """WSClean 3.4 with IDG and EveryBeam."""
    folder = tmp_path_factory.mktemp("newer")
    return describe_build(make_stub(folder, wsclean, version="3.4", parts=("EveryBeam", "IDG", "WGridder")))


# ---- the gridder


def test_auto_chooses_idg_with_beam(complete):
    keywords, flags, notices = adapt({**AUTO, "size": "3000 3000"}, ["-reorder", "a.ms"], complete, 2, None)
    assert flags == ["-use-idg", "-grid-with-beam", "-use-differential-lofar-beam", "-reorder", "a.ms"]
    assert keywords == {"idg-mode": "cpu", "size": "3000 3000", "j": "2"}
    assert notices == []


def test_newer_versions_get_new_spelling(newer):
    keywords, flags, _ = adapt(AUTO, ["a.ms"], newer, 2, None)
    assert keywords["gridder"] == "idg"
    assert flags == ["-grid-with-beam", "-use-differential-lofar-beam", "a.ms"]


def test_auto_chooses_wgridder_without_idg(installed):
    keywords, flags, (notice,) = adapt(AUTO, ["a.ms"], installed, 2, None)
    assert flags == ["-use-wgridder", "a.ms"]
    assert keywords == {"j": "2"}
    assert "built without IDG" in notice


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": "3000 2000"}, "square images only"),
        ({"size": "120 120"}, "IDG loses flux in images of less than 128 pixels"),
        ({"pol": "IQ"}, "Stokes I or all of IQUV"),
        ({"pol": "XX,YY"}, "Stokes I or all of IQUV"),
        ({"apply-primary-beam": ""}, "-grid-with-beam"),
        ({"baseline-averaging": "3"}, "-baseline-averaging"),
        ({"parallel-gridding": "2"}, "-parallel-gridding 2"),
    ],
)
def test_idg_restrictions_are_findings(complete, options, reason):
    (finding,) = check_arguments({"gridder": "idg", **options}, ["a.ms"], complete, 0)
    assert reason in finding
    _, flags, (notice,) = adapt({"gridder": "auto", **options}, ["a.ms"], complete, 2, None)
    assert flags == ["-use-wgridder", "a.ms"]
    assert reason in notice


def test_idg_options_are_accepted(complete):
    keywords = {"gridder": "idg", "pol": "iquv", "niter": "10", "size": "512 512", "parallel-gridding": "1"}
    assert check_arguments(keywords, ["-link-polarizations", "I", "a.ms"], complete, 0) == []


def test_missing_idg_is_refused(installed):
    (finding,) = check_arguments({"gridder": "idg", "idg-mode": "cpu"}, ["a.ms"], installed, 0)
    assert "does not have (it has wgridder, direct-ft, wstacking); set gridder = wgridder" in finding
    (finding,) = check_arguments({}, ["-use-idg", "a.ms"], installed, 0)
    assert "gridder is 'idg'" in finding


def test_unknown_gridder_is_refused(installed):
    (finding,) = check_arguments({"gridder": "gpu"}, ["a.ms"], installed, 0)
    assert finding.startswith("gridder is 'gpu'; one of auto, idg, wgridder")


def test_only_hybrid_idg_needs_device(complete, installed):
    keywords = {"gridder": "auto", "idg-mode": "hybrid"}
    (finding,) = check_arguments(keywords, ["a.ms"], complete, gpus=0)
    assert "no CUDA device; set idg_mode = cpu" in finding
    assert check_arguments(keywords, ["a.ms"], complete, gpus=1) == []
    assert check_arguments(keywords, ["a.ms"], installed, gpus=0) == []


def test_unknown_idg_mode_is_refused(installed):
    (finding,) = check_arguments({"gridder": "auto", "idg-mode": "gpx"}, ["a.ms"], installed, 0)
    assert finding == "idg-mode is 'gpx'; one of cpu, hybrid is needed; set idg_mode = cpu"


def test_beam_flags_need_idg_and_everybeam(installed, complete):
    found = check_arguments({}, ["-grid-with-beam", "-apply-primary-beam", "a.ms"], installed, 0)
    assert ["built without IDG" in found[0], "built without EveryBeam" in found[1], len(found)] == [True, True, 2]
    assert check_arguments({"gridder": "idg"}, ["-grid-with-beam", "a.ms"], complete, 0) == []


def test_old_flags_are_respelled_for_newer_versions(newer):
    keywords, flags, _ = adapt({"idg-mode": "cpu"}, ["-use-idg", "-grid-with-beam", "a.ms"], newer, 2, None)
    assert (keywords["gridder"], flags) == ("idg", ["-grid-with-beam", "a.ms"])


def test_old_idg_flag_adds_no_beam(complete):
    _, flags, _ = adapt({}, ["-use-idg", "a.ms"], complete, 2, None)
    assert flags == ["-use-idg", "a.ms"]


def test_gridder_option_becomes_old_flag(complete):
    _, flags, _ = adapt({}, ["-gridder", "wgridder", "-idg-mode", "cpu", "a.ms"], complete, 2, None)
    assert flags == ["-use-wgridder", "a.ms"]


def test_unset_gridder_adds_no_flag(complete):
    assert adapt({}, ["a.ms"], complete, 2, None)[:2] == ({"j": "2"}, ["a.ms"])


def test_user_aterms_stay(complete):
    _, flags, _ = adapt({"gridder": "idg", "aterm-config": "a.conf"}, ["a.ms"], complete, 2, None)
    assert flags == ["-use-idg", "a.ms"]


def test_auto_resolves_to_best_gridder(complete, installed):
    assert resolve_gridder("auto", complete) == "idg"
    assert resolve_gridder("auto", installed) == "wgridder"
    assert resolve_gridder("idg", installed) == "idg"
    assert adapt({"gridder": "wstacking"}, ["a.ms"], installed, 2, None)[1] == ["a.ms"]


# ---- cores and memory


def test_job_sets_cores_and_memory(installed):
    keywords, _, _ = adapt({}, ["a.ms"], installed, 3, 10.0)
    assert keywords == {"j": "3", "abs-mem": "9.00"}  # 10 % less than given


@pytest.mark.parametrize("given_by_user", [{"mem": "50"}, {"abs-mem": "4"}])
def test_user_memory_stays(installed, given_by_user):
    assert adapt(given_by_user, ["a.ms"], installed, 3, 10.0)[0] == {**given_by_user, "j": "3"}


def test_user_cores_stay(installed):
    keywords, flags, _ = adapt({}, ["-j", "7", "a.ms"], installed, 3, None)
    assert (keywords, flags) == ({}, ["-j", "7", "a.ms"])


# ---- options and ranges


def test_pipeline_arguments_are_valid(installed, complete, newer):
    for build in (installed, complete, newer):
        assert check_arguments({**PIPELINE_KEYWORDS, **AUTO}, PIPELINE_FLAGS, build, 0) == []


def test_unknown_option_names_nearest(installed):
    found = check_arguments({"paddin": "1.2"}, ["-reordr", "a.ms"], installed, 0)
    assert [line.split(":")[0] for line in found] == ["-paddin", "-reordr"]
    assert "did you mean 'padding'?" in found[0]
    assert "did you mean 'reorder'?" in found[1]


def test_undocumented_old_spellings_are_known(installed):
    assert check_arguments({}, ["-joinchannels", "-smallinversion", "a.ms"], installed, 0) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", "0"),
        ("scale", "asec"),
        ("padding", "0.9"),
        ("niter", "-1"),
        ("niter", "1.5"),
        ("channels-out", "0"),
        ("mgain", "1.1"),
        ("mgain", "0"),
        ("auto-mask", ""),
        ("abs-mem", "0"),
    ],
)
def test_numbers_out_of_range_are_refused(installed, name, value):
    (finding,) = check_arguments({name: value}, ["a.ms"], installed, 0)
    assert finding.startswith(f"-{name} is '{value}'; a")


@pytest.mark.parametrize("size", ["3000", "3000 x", "0 0", "-5 5"])
def test_size_needs_two_numbers(installed, size):
    (finding,) = check_arguments({"size": size}, ["a.ms"], installed, 0)
    assert "width and height in pixels are needed" in finding


def test_empty_uv_range_is_refused(installed):
    (finding,) = check_arguments({"minuv-l": "80", "maxuv-l": "20"}, ["a.ms"], installed, 0)
    assert finding == "-minuv-l is 80 and -maxuv-l 20 wavelengths; the first must be smaller"


def test_dry_run_of_wsclean_checks_values(installed):
    found = check_arguments(
        {"weight": "brigs 0", "local-rms-method": "middle", "super-weight": "x"}, ["a.ms"], installed, 0
    )
    assert [line.split(":")[0] for line in found] == ["-weight brigs 0", "-local-rms-method middle", "-super-weight x"]
    assert all("refuses:" in line for line in found)


def test_flag_refused_by_wsclean_is_finding(installed):
    (finding,) = check_arguments({}, ["-interval", "a", "b", "a.ms"], installed, 0)
    assert "for parameter -interval" in finding


def test_help_decides_without_dry_run(installed):
    from dataclasses import replace

    build = replace(installed, options=installed.options - {"dry-run"})
    (finding,) = check_arguments({"weight": "brigs 0"}, ["-joinchannels", "a.ms"], build, 0)
    assert finding.startswith("-joinchannels:")


@given(st.lists(st.text("-aj1 .,[]'", max_size=8)), st.dictionaries(st.text("a-j", min_size=1), st.text("[ ],'1x")))
def test_arbitrary_arguments_are_readable(positionals, keywords):
    options = option_words(keywords, positionals)
    assert set(keywords) <= set(options)
    assert remove_flags(positionals, [], []) == positionals


def test_path_is_single_word():
    assert option_words({"name": "/my data/a", "size": "1 2"}, []) == {"name": ["/my data/a"], "size": ["1", "2"]}
    assert option_words({"temp-dir": ""}, []) == {"temp-dir": []}


def test_numbers_have_units():
    assert [number(text) for text in ("7.5asec", "-3", "1e3", ".5", "asec", "")] == [7.5, -3, 1000, 0.5, None, None]


def test_removed_flags_lose_their_values():
    assert remove_flags(["-gridder", "idg", "-x", "a.ms"], ["gridder"], ["x"]) == ["a.ms"]


# ---- the real program, its images and its logs


def run_real(build, folder, keywords, flags):
    """Run WSClean on a small image, and return exit code and log."""
    small = {"name": str(folder / "x"), "size": "64 64", "scale": "0.1", **keywords}
    fitted, positionals, _ = adapt(small, ["-no-update-model-required", *flags], build, 1, 1.0)
    argv = build_argv(str(build.path), positionals, fitted, "wsclean")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stdout


def test_adapted_arguments_make_real_image(installed, hba_set, tmp_path):
    keywords = {**AUTO, "data-column": "DATA", "niter": "10", "temp-dir": str(tmp_path)}
    code, log = run_real(installed, tmp_path, keywords, ["-reorder", str(hba_set)])
    assert code == 0
    assert "usage limited to 0.9 GB" in log
    assert (tmp_path / "x-image.fits").exists()
    assert find_refusal(log) is None


def test_exception_gets_advice(installed, hba_set, tmp_path):
    keywords = {"data-column": "DATA", "temp-dir": str(tmp_path / "nosuch")}
    code, log = run_real(installed, tmp_path, keywords, ["-reorder", str(hba_set)])
    assert code == 255
    assert "Error writing to temporary file" in find_refusal(log)
    assert "local_scratch_dir" in find_refusal(log)


def test_empty_image_is_failure_despite_status_0(installed, hba_set, tmp_path):
    code, log = run_real(installed, tmp_path, {"data-column": "DATA", "maxuv-l": "1"}, [str(hba_set)])
    assert code == 0
    assert find_refusal(log).startswith("WSClean gridded 0 visibilities")


def test_nan_image_is_failure_despite_status_0(installed, hba_set, tmp_path):
    from casacore.tables import table

    copy = tmp_path / "nan.ms"
    shutil.copytree(hba_set, copy)
    with table(str(copy), readonly=False, ack=False) as main:
        main.putcol("DATA", main.getcol("DATA") * float("nan"))
    keywords = {"data-column": "DATA", "niter": "10", "mgain": "0.8", "auto-mask": "3", "weight": "briggs 0"}
    code, log = run_real(installed, tmp_path, keywords, [str(copy)])
    assert code == 0
    assert "noise of 0 Jy" in find_refusal(log)


def test_temporary_files_match_estimate(installed, hba_set, tmp_path):
    """168 rows x 8 channels: 12 bytes a visibility, 8 for the model, 38 a row; headers are 21 bytes a file."""
    from lofarpipe.programs.disk_space import ImagingVolume

    keywords = {"data-column": "DATA", "niter": "10", "mgain": "0.5", "temp-dir": str(tmp_path)}
    small = {"name": str(tmp_path / "x"), "size": "64 64", "scale": "0.1", **keywords}
    argv = build_argv(str(installed.path), ["-reorder", "-save-source-list", str(hba_set)], small, "wsclean")
    sizes: dict[str, int] = {}
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=tmp_path) as process:
        while process.poll() is None:
            for path in tmp_path.glob("*.tmp"):
                try:
                    sizes[path.name] = max(sizes.get(path.name, 0), path.stat().st_size)
                except FileNotFoundError:
                    continue
    assert process.returncode == 0
    assert sum(sizes.values()) == pytest.approx(ImagingVolume(168, 168 * 8).reordered_bytes(), rel=0.02)


@pytest.mark.parametrize(
    ("log", "text"),
    [
        ("+ An exception occured:\n+ >>> WSClean was not compiled with IDG: x\n", "set gridder = wgridder"),
        ("+ >>> Can not create HYBRID_CUDA_CPU_OPTIMIZED proxy.\n", "idg_mode = cpu"),
        ("+ >>> The HOME environment variable has not been set\n", "set HOME"),
        ("terminate called after throwing\n  what():  std::bad_alloc\n", "ran out of memory"),
        ("Estimated standard deviation of background noise: nan Jy\n", "noise of nan Jy"),
        ("Estimated standard deviation of background noise: -? Jy\n", "noise of -? Jy"),
    ],
)
def test_known_log_lines_are_refusals(log, text):
    assert text in find_refusal(log)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "Gridded visibility count: 0\nGridded visibility count: 1.2e+06\n",
        "Estimated standard deviation of background noise: 12.3 mJy\n",
        "bad_alloc.fits written\n",
    ],
)
def test_harmless_logs_are_no_refusals(log):
    assert find_refusal(log) is None


def test_single_output_channel_is_not_joined(installed):
    keywords, positionals, notices = adapt({"channels-out": "1"}, ["-join-channels", "a.MS"], installed, 1, 1.0)
    assert "-join-channels" not in positionals
    assert "a.MS" in positionals
    assert keywords["channels-out"] == "1"
    assert "none to join" in notices[-1]
    _, positionals, _ = adapt({"channels-out": "2"}, ["-join-channels", "a.MS"], installed, 1, 1.0)
    assert "-join-channels" in positionals


def test_options_of_build_are_known(installed):
    assert has_option("channels-out", installed)
    assert has_option("gridder", installed)
    assert not has_option("nchansout_clean1", installed)


def test_divergence_is_failure_despite_status_0():
    log = (Path(__file__).parents[1] / "logs" / "wsclean_nan.log").read_text()
    complaint = "WSClean's deconvolution diverged: the peak of its residual is -nan Jy; lower mgain"
    assert find_refusal(log) == find_refusal(log.replace("\nStopped", "\n Stopped")) == complaint


def test_stopped_deconvolution_is_reported_once():
    log = (Path(__file__).parents[1] / "logs" / "wsclean_nan.log").read_text()
    seen = sign_in(log.splitlines(), Deconvolution().read)
    assert find_refusal(f"{log}\n### stopped: {seen}\n") is None


def test_malformed_visibility_count_is_ignored():
    assert find_refusal("Gridded visibility count: ..\n") is None
    assert "gridded 0 visibilities" in (find_refusal("Gridded visibility count: 0e+00, effective\n") or "")


def test_none_keywords_are_omitted(installed):
    keywords, flags, _ = adapt(
        {"nmiter": "none", "niter": "5", "gridder": "none", "name": "x"}, ["a.ms"], installed, 1, None
    )
    assert not {"nmiter", "gridder"} & set(keywords)
    assert not [flag for flag in flags if flag.startswith("-use")]
    assert "nmiter" not in option_words({"nmiter": "none"}, [])


def test_idg_runs_without_beam(tmp_path, wsclean):
    stub = describe_build(make_stub(tmp_path, wsclean, parts=("IDG", "EveryBeam", "WGridder")))
    wanted = adapt({"gridder": "idg"}, ["a.ms"], stub, 1, None)[1]
    assert "-grid-with-beam" in wanted
    assert adapt({"gridder": "idg", "grid-with-beam": "False"}, ["a.ms"], stub, 1, None)[1] == ["-use-idg", "a.ms"]


DIVERGED = "ended with 0 after 1.0 s, but the peak is nan Jy: the deconvolution diverged; lower mgain"


@pytest.mark.parametrize(
    ("problem", "more", "sides"),
    [
        (DIVERGED, 1024, ["1536", "1624"]),
        ("stopped: the peak of the residual image rose from 1 Jy to 3 Jy", 1024, ["1536", "1624"]),
        (DIVERGED, 0, None),
        ("exited with 255", 1024, None),
    ],
)
def test_second_attempt_is_wider_after_divergence(problem, more, sides):
    argv = ["wsclean", "-size", "512", "600", "-name", "x", "a.ms"]
    second = KNOWN_PROGRAMS["wsclean"].retry_arguments(argv, problem, {"wider_retry": more})
    assert second == (None if sides is None else ["wsclean", "-size", *sides, "-name", "x", "a.ms"])
    assert KNOWN_PROGRAMS["wsclean"].retry_arguments(["wsclean"], DIVERGED, {"wider_retry": 1}) is None


def test_subject_names_polarisations():
    program = KNOWN_PROGRAMS["wsclean"]
    assert program.subject(["wsclean", "-pol", "QU", "a.ms"]) == "Stokes QU"
    assert program.subject(["wsclean", "-pol", "XX,YY", "a.ms"]) == "XX,YY"
