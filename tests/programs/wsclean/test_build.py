"""Version and help text of a WSClean program."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.wsclean.build import describe_build, parse_build, run_briefly
from wsclean_stubs import make_stub

VERSION_TEXT = (
    "\nWSClean version 3.4 (2023-10-11)\n\nEveryBeam is available.\nIDG is available.\nWGridder is available.\n"
)


def test_installed_program_is_described(wsclean):
    build = describe_build(wsclean)
    assert build.version >= (3, 1)
    assert {"size", "niter", "auto-mask", "maxuv-l", "temp-dir", "abs-mem", "j"} <= build.options
    assert "asec" not in build.options
    assert "wstacking" in build.gridders


def test_options_sharing_help_line_are_found(wsclean):
    pairs = {"reorder", "no-reorder", "small-inversion", "no-small-inversion", "iuwt-snr-test", "no-iuwt-snr-test", "v"}
    assert pairs <= describe_build(wsclean).options


def test_version_text_lists_parts():
    build = parse_build(Path("wsclean"), VERSION_TEXT, "-gridder <type>\n   Sets it.\n-j <threads>\n")
    assert build.version == (3, 4)
    assert (build.has_idg, build.has_everybeam, build.has_wgridder) == (True, True, True)
    assert build.options == {"gridder", "j"}
    assert build.gridders == ("idg", "wgridder", "direct-ft", "wstacking", "tuned-wgridder")


def test_unavailable_part_is_recognised():
    build = parse_build(Path("wsclean"), "WSClean version 3.1\nIDG is not available.\n", "-use-idg\n")
    assert not build.has_idg
    assert build.gridders == ("direct-ft", "wstacking")


@pytest.mark.parametrize(("version", "help_text"), [("cp (GNU coreutils) 9.1", "-j"), ("WSClean version 3.1", "none")])
def test_foreign_program_is_refused(version, help_text):
    with pytest.raises(PipelineError, match="not a WSClean"):
        parse_build(Path("/bin/cp"), version, help_text)


def test_missing_program_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="cannot be run: No such file"):
        describe_build(tmp_path / "wsclean")


def test_failing_program_is_refused():
    with pytest.raises(PipelineError, match="exited with 1"):
        describe_build("/bin/false")


def test_text_file_is_refused(tmp_path):
    path = tmp_path / "wsclean"
    path.write_text("no program")
    with pytest.raises(PipelineError, match="no answer"):
        run_briefly(path, ["--version"])


def test_replaced_program_is_described_again(tmp_path, wsclean):
    assert not describe_build(make_stub(tmp_path, wsclean)).has_idg
    (tmp_path / "wsclean").unlink()
    assert describe_build(make_stub(tmp_path, wsclean, parts=("IDG",))).has_idg


def test_description_needs_no_environment(wsclean, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert run_briefly(wsclean, ["--version"])[0] == 0


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_single_and_double_dashes_are_tried(tmp_path, dashes):
    program = tmp_path / "wsclean"
    program.write_text(
        f"#!/bin/sh\ncase $1 in {dashes}version) echo WSClean version 3.1.0 ;; {dashes}help) echo '-size <w> <h>' ;;\n"
        "*) exit 2 ;;\nesac\n"
    )
    program.chmod(0o755)
    assert describe_build(program).value_counts["size"] == 2
