"""imgpipe from the command line to the images, with WSClean itself."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from imgpipe_site import TOML, ImgpipeSite
from small_sets import change_column

pytestmark = pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")


@pytest.fixture
def site(tmp_path: Path) -> ImgpipeSite:
    made = ImgpipeSite(tmp_path)
    made.write(TOML)
    return made


def by_hand(site: ImgpipeSite, command: list[str], name: str) -> None:
    words = [str(site.here / name) if word.endswith("/img") else word for word in command]
    Path(words[words.index("-temp-dir") + 1]).mkdir(exist_ok=True)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=site.here, env=environment, check=True, capture_output=True)


def test_images_equal_manual_command(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.write(TOML + "channels-out = 'every 2'\n")
    (command,) = site.commands(site.run("img.toml", "A.MS", "--dry-run"))
    assert site.names() == ["A.MS", "img.toml"]
    printed = site.run("img.toml", "A.MS")
    assert "1 of 1 images made" in printed
    by_hand(site, command, "hand")
    for part in ("0000", "0001", "0002", "0003", "MFS"):
        assert np.array_equal(site.pixels(f"A.MS/images/img-{part}-image.fits"), site.pixels(f"hand-{part}-image.fits"))
    assert not (site.here / "A.MS/images/img-0004-image.fits").exists()
    assert list(site.here.glob("**/*.tmp")) == []


def test_headers_record_provenance(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.write(TOML + "channels-out = 2\n")
    site.run("img.toml", "A.MS")
    for name in ("img-MFS-image.fits", "img-MFS-psf.fits", "img-0001-residual.fits"):
        header = fits.getheader(site.here / "A.MS/images" / name)
        assert header["DATE-OBS"].startswith("2017-04-27T08:53:25")
        assert header["EXPTIME"] == 60
        history = "".join(header["HISTORY"])
        digest = hashlib.sha256((site.here / "img.toml").read_bytes()).hexdigest()
        assert f"configuration: {site.here}/img.toml, sha256 {digest}" in history
        assert "started by: imgpipe img.toml A.MS" in history
    (log,) = site.here.glob("img.runs/*/logs/image/000-A.MS_images_img.log")
    assert "WSClean version" in log.read_text()


def test_provenance_can_be_disabled(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.write("[worker]\nprovenance = false\n" + TOML)
    site.run("img.toml", "A.MS")
    header = fits.getheader(site.here / "A.MS/images/img-image.fits")
    assert "EXPTIME" not in header
    assert not any("configuration" in line for line in header["HISTORY"])


def test_joint_sets_give_one_image(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS", first_channel_hz=144e6)
    site.write(TOML + "out-dir = 'out 1'\nchannels-out = 'all'\n")
    (command,) = site.commands(site.run("img.toml", "A.MS", "B.MS", "-c", "--dry-run"))
    assert command[-2:] == [str(site.here / "A.MS"), str(site.here / "B.MS")]
    assert command[command.index("-channels-out") + 1] == "8"
    assert "1 of 1 images made" in site.run("-c", "img.toml", "A.MS", "B.MS")
    assert (site.here / "out 1/img-0007-image.fits").is_file()


def test_second_run_makes_missing_or_changed_images(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS")
    site.run("img.toml", "A.MS", "B.MS")
    site.run("img.toml", "A.MS", "B.MS")
    assert site.jobs_run() == []
    (site.here / "B.MS/images/img-image.fits").unlink()
    site.run("img.toml", "A.MS", "B.MS")
    assert site.jobs_run() == ["image/001"]
    site.write(TOML.replace("niter = 5", "niter = 6"))
    site.run("img.toml", "A.MS", "B.MS")
    assert site.jobs_run() == ["image/000", "image/001"]
    site.run("img.toml", "A.MS", "B.MS", "--force")
    assert site.jobs_run() == ["image/000", "image/001"]


def test_images_of_earlier_command_are_reused(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS")
    site.run("img.toml", "A.MS")
    printed = site.run("img.toml", "B.MS", "A.MS")
    assert "image/001: was done by A.MS-" in printed
    assert "2 of 2 images made" in printed
    assert site.jobs_run() == ["image/000", "image/000"]  # of each command
    (site.here / "A.MS/images/img-image.fits").unlink()
    assert "# image/000" in site.run("img.toml", "A.MS", "B.MS", "--dry-run")


def test_foreign_model_column_is_no_change(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    deep = TOML + "mgain = 0.8\nupdate-model-required = true\n"
    for name in ("one", "two"):
        site.write(deep + f"out-dir = '{name}'\n", f"{name}.toml")
        site.run(f"{name}.toml", "A.MS")
    assert "done before" in site.run("one.toml", "A.MS")
    change_column(str(site.here / "A.MS"), "DATA", lambda visibilities: visibilities * 2)
    assert "A.MS changed" in site.run("one.toml", "A.MS")


def test_commands_are_printed_for_shell(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B C.MS")
    site.write("[worker]\ndebug = true\n" + TOML)
    (command,) = site.commands(site.run("img.toml", "B C.MS", "--dry-run"))
    assert command[-1] == str(site.here / "B C.MS")
    printed = site.run("img.toml", "A.MS")
    (started,) = (line for line in printed.splitlines() if " image/000: /" in line)
    assert shlex.split(started)[2:] == shlex.split((next(site.here.glob("*.runs/*/commands.txt"))).read_text())[1:]
    printed = site.run("img.toml", "A.MS", "--dry-run")
    assert site.commands(printed) == []
    assert f"# done: {shlex.join(shlex.split(started)[2:])[:20]}" in printed


def test_images_are_made_concurrently(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS")
    both = [site.start("img.toml", name) for name in ("A.MS", "B.MS")]
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
    assert (site.here / "A.MS/images/img-image.fits").is_file()
    assert (site.here / "B.MS/images/img-image.fits").is_file()


def test_image_of_running_command_is_refused(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS")
    waiting = site.stub('case "$*" in *.MS) while [ ! -e go ]; do sleep 0.05; done;; esac')
    first = site.start("img.toml", "A.MS", "B.MS")
    site.wait_for("A.MS/images/.img.lock")
    site.wait_for("B.MS/images/.img.lock")
    refused = site.run("img.toml", "B.MS", expected=1)
    assert f"{site.here}/B.MS/images/img: process {first.pid} on " in refused
    assert "0 of 1 images made" in refused
    same = site.run("img.toml", "A.MS", "B.MS", expected=1)
    assert f"another run works here: process {first.pid} on " in same
    (site.here / "go").touch()
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err
    assert not (site.here / "A.MS/images/.img.lock").exists()
    waiting.unlink()
    assert "1 of 1 images made" in site.run("img.toml", "B.MS")


def test_all_mistakes_are_found_before_imaging(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    (site.here / "no_set").mkdir()
    site.write(
        "[worker]\nnode = 'x'\n[wsclean]\nniterr = 5\nauto-threshold = ''\nscale = []\nchannels-out = 'every 16'\n"
    )
    printed = site.run("img.toml", "A.MS", "none.MS", "no_set", expected=1)
    for what in (
        "img.toml:2: worker.node: no such key; did you mean 'nodes'?",
        "none.MS: there is no such measurement set",
        "no_set: is no measurement set",
        "A.MS: has no column CORRECTED_DATA; it has DATA; set wsclean.data-column",
        "img.toml:6: wsclean.scale: is an empty list",
    ):
        assert what in printed
    assert site.names() == ["A.MS", "img.toml", "no_set"]


def test_refused_options_name_their_line(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.write(TOML + "niterr = 5\nauto-thresold = 3\n")
    printed = site.run("img.toml", "A.MS", expected=1)
    assert "img.toml:8: step 'image': -niterr:" in printed
    assert "did you mean 'niter'?" in printed
    assert "img.toml:9: step 'image': -auto-thresold:" in printed
    assert site.names() == ["A.MS", "img.toml"]


def test_failed_image_does_not_stop_siblings(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS", "C.MS")
    site.stub('case "$*" in *B.MS) test -e fail && { echo went wrong; exit 3; };; esac')
    (site.here / "fail").touch()
    printed = site.run("img.toml", "A.MS", "B.MS", "C.MS", expected=1)
    assert "B.MS: exit code 3" in printed
    assert "2 of 3 images made" in printed
    (page,) = site.here.glob("img.runs/*/report.html")
    assert page.read_text().count('<img src="data:image/png;base64,') == 2
    (site.here / "fail").unlink()
    assert "3 of 3 images made" in site.run("img.toml", "A.MS", "B.MS", "C.MS")
    assert site.jobs_run() == ["image/001"]


def test_common_crash_is_reported_without_retry(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.stub('case "$*" in *A.MS) echo x >>count; kill -SEGV $$;; esac')
    printed = site.run("img.toml", "A.MS", expected=1)
    assert "A.MS: signal 11, killed by signal 11 (SIGSEGV)" in printed
    assert (site.here / "count").read_text() == "x\n"


def test_missing_image_is_failure(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.stub('case "$*" in *A.MS) exit 0 ;; esac')
    printed = site.run("img.toml", "A.MS", expected=1)
    assert "WSClean ended well and wrote no image" in printed
    assert "0 of 1 images made" in printed


def test_odd_characters_in_names_are_accepted(site: ImgpipeSite) -> None:
    names = ('it\'s [a, b] "q".MS', "$HOME #1 {x} 100%.MS")
    site.make_sets(*names)
    site.write(TOML + "name = 'i;m &'\nout-dir = \"o'1 #2\"\n")  # of others CFITSIO makes something else
    site.run("img.toml", *names, "-c")
    assert (site.here / "o'1 #2/i;m &-image.fits").is_file()


def test_list_names_present_and_missing_sets(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    assert site.run("img.toml", "A.MS", "--list").splitlines() == ["set   state", "A.MS  is there"]
    printed = site.run("img.toml", "A.MS", "none.MS", "--list", expected=1)
    assert "none.MS  there is no such measurement set" in printed
    site.write("[data_handler]\nconfig_file = 'data.toml'\n[worker]\nrun_on_file_host_pattern = '(node.)'\n" + TOML)
    handler = "[obs_ids]\nN1 = ['node1']\n[spectral_windows]\nSW1 = [1, 2]\n[data_levels.L2]\ninput = 'L1'\n"
    site.write(handler, "data.toml")
    assert "data_levels.L2 needs path" in site.run("img.toml", "N1", "--list", expected=1)
    site.write(f"{handler}path = 'net/%NODE%/%OBS_ID%'\n", "data.toml")
    printed = site.run("img.toml", "N1", "--list", expected=1).splitlines()
    assert printed[0].split() == ["observation", "window", "host", "set", "state"]
    assert printed[1].split(maxsplit=4)[:4] == ["N1", "SW1", "node1", "net/node1/N1/SW1.MS"]
    assert "no observation matches 'N2'" in site.run("img.toml", "N2", "--list", expected=1)


def test_skip_missing_omits_sets(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    printed = site.run("img.toml", "A.MS", "B.MS", "--skip_missing", expected=1)
    assert "warning: B.MS: there is no such measurement set; it is left out" in printed
    assert "1 of 1 images made" in printed
    site.make_sets("B.MS")
    assert "2 of 2 images made" in site.run("img.toml", "A.MS", "B.MS", "--skip_missing")
    assert site.jobs_run() == ["image/001"]
    assert "1 problem found" in site.run("img.toml", "none.MS", "--skip-missing", expected=1)


def test_command_line_overrides_file(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    values = ("wsclean.niter=0", "wsclean.weight=natural", "wsclean.j=false", "wsclean.pol=['I', 'Q']")
    words = [word for value in values for word in ("-s", value)]
    (command,) = site.commands(site.run("img.toml", "A.MS", "--dry-run", *words))
    for option, value in (("-niter", "0"), ("-weight", "natural"), ("-pol", "I,Q")):
        assert command[command.index(option) + 1] == value
    printed = site.run("img.toml", "A.MS", "-s", "worker.max_concurent=3", "-s", "worker.max_time=-1", expected=1)
    assert "-s: worker.max_concurent: no such key; did you mean 'max_concurrent'?" in printed
    assert "-s: worker.max_time: is -1; it must be positive" in printed


def test_file_names_program(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    stub = site.stub("")
    site.write("[worker]\nwsclean = 'bin/wsclean'\n" + TOML)
    (command,) = site.commands(site.run("img.toml", "A.MS", "--dry-run"))
    assert command[0] == str(stub)
    site.write("[worker]\nwsclean = 'bin/none'\n" + TOML)
    assert "bin/none" in site.run("img.toml", "A.MS", expected=1)


def test_missing_env_file_is_found_before_run(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.write("[worker]\nenv_file = 'none.sh'\n" + TOML)
    assert "img.toml:2: worker.env_file: is 'none.sh', and there is no file none.sh" in site.run(
        "img.toml", "A.MS", expected=1
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["img.toml"], 2),
        (["none.toml", "A.MS"], 2),
        (["img.toml", "A.MS", "--none"], 2),
        (["img.toml", "A.MS", "-o"], 2),
        (["--help"], 0),
    ],
)
def test_wrong_usage_is_exit_code_2(site: ImgpipeSite, words: list[str], code: int) -> None:
    site.run(*words, expected=code)


def test_job_dir_sets_place_of_records(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.run("img.toml", "A.MS", "--job-dir", "kept")
    assert (site.here / "kept/run.json").is_file()
    assert (site.here / "kept/img.parset").is_file()
    assert site.names() == ["A.MS", "img.toml", "kept"]


def test_written_parset_resumes_run(site: ImgpipeSite) -> None:
    site.make_sets("A.MS")
    site.run("img.toml", "A.MS", "--job-dir", "kept")
    argv = [sys.executable, "-m", "lofarpipe.cli", "kept/img.parset"]
    done = subprocess.run(argv, cwd=site.here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
