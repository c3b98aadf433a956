"""Room on disk: refused before it is missed, and named when it is."""

import contextlib
import resource
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from copy_pipeline import list_step
from lofarpipe.engine import job_builder as module
from lofarpipe.engine.job_builder import PlannedJob, add_disk_estimate, disks, jobs_at_once, refuse_without_room
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Job, JobResult, Resources
from lofarpipe.support.disk import Need

MACHINE = Resources(cores=4, memory_gb=8.0)


def planned(*needs, number=0, **changes):
    job = Job(**{"name": f"s/{number}", "argv": ("x",), "workdir": Path(), "log": Path("none"), **changes})
    return PlannedJob(job, number, ([], {}), (), {}, None, lambda: list(needs))


@pytest.fixture
def two_disks(monkeypatch):
    """Every path is on disk 1 with 10 GB free, but for those below /scratch: disk 2, with 3 GB."""
    monkeypatch.setattr(module, "existing", lambda path: path)
    monkeypatch.setattr(module.os, "stat", lambda path: SimpleNamespace(st_dev=1 + ("/scratch" in str(path))))
    monkeypatch.setattr(module, "free_bytes", lambda path: 3e9 if "/scratch" in str(path) else 10e9)


def lasting(gigabytes, place="/o", what="the images"):
    return Need(Path(place), gigabytes * 1e9, what)


def temporary(gigabytes, place="/scratch"):
    return Need(Path(place), gigabytes * 1e9, "the reordered visibilities", True)


def test_fitting_step_is_accepted(two_disks):
    refuse_without_room("s", [planned(lasting(5), temporary(3)), planned(lasting(5))], MACHINE)
    refuse_without_room("s", [planned()], MACHINE)
    refuse_without_room("s", [], MACHINE)


def test_oversized_step_is_refused(two_disks):
    jobs = [planned(lasting(4), lasting(1, "/elsewhere", "the measurement set")) for _ in range(3)]
    with pytest.raises(PipelineError) as caught:
        refuse_without_room("average", jobs, MACHINE)
    assert str(caught.value) == (
        "step 'average': /o has 10 GB free, and the images and the measurement set of its 3 jobs are estimated to take "
        "15 GB; make room, or name another directory, and run again to resume here; if the estimate is wrong, set "
        "control.disk_gb to what a job takes"
    )


@pytest.mark.parametrize(("cores", "fits"), [(4, True), (2, True), (1, False)])
def test_concurrent_temporary_files_are_summed(two_disks, cores, fits):
    jobs = [planned(temporary(1.5), cores=cores) for _ in range(8)]
    if fits:
        refuse_without_room("s", jobs, MACHINE)
        return
    with pytest.raises(PipelineError, match=r"/scratch has 3 GB free, and the reordered .* take 6 GB"):
        refuse_without_room("s", jobs, MACHINE)


def test_temporary_files_elsewhere_are_ignored(two_disks):
    refuse_without_room("s", [planned(temporary(100))], MACHINE, is_local=False)
    with pytest.raises(PipelineError):
        refuse_without_room("s", [planned(temporary(100))], MACHINE)


@pytest.mark.parametrize(
    ("cores", "max_per_node", "count"),
    [([1] * 9, 0, 4), ([1] * 9, 2, 2), ([3] * 9, 0, 1), ([9], 0, 1), ([1] * 2, 0, 2)],
)
def test_jobs_at_once(cores, max_per_node, count):
    assert jobs_at_once(cores, max_per_node, MACHINE) == count


def test_stale_disk_is_skipped(tmp_path, monkeypatch):
    (need,) = needs = [lasting(1e9, tmp_path)]
    assert [disk.place for disk in disks(needs).values()] == [need.place]

    def stale(_):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(module, "free_bytes", stale)
        refuse_without_room("s", [planned(need)], MACHINE)
    monkeypatch.setattr(module, "existing", stale)
    assert disks(needs) == {}


def result(log, code=1):
    return JobResult("s/0", code, 1.0, 2.0, 0.5, 10.0, log, ("x",))


def test_full_disk_error_shows_estimate(tmp_path):
    log = tmp_path / "log"
    log.write_text("write: No space left on device\n")
    text = add_disk_estimate("exited with 1", planned(lasting(2.5, tmp_path)), result(log))
    assert text.startswith(
        f"exited with 1: No space left on device; free some space; estimated for the images: 2.5 GB in {tmp_path} ("
    )
    assert text.endswith("B free now)")
    assert add_disk_estimate("it is full: x", planned(), result(tmp_path / "none")) == "it is full: x"
    log.write_text("all is well\n")
    known = "exited with 1: the disk of /o is full: 10 MB of 10 GB are free"
    assert add_disk_estimate(known, planned(lasting(2, "/o")), result(log)).startswith(
        f"{known}; estimated for the images: 2"
    )


def test_configured_size_names_its_option(tmp_path):
    need = Need(tmp_path, 2.5e9, "the outputs", is_given=True)
    text = add_disk_estimate("it is full: x; the disk of /o is full: y", planned(need), result(tmp_path / "none"))
    assert f"; control.disk_gb for the outputs: 2.5 GB in {tmp_path} (" in text


def test_estimates_differ_from_configured_sizes(two_disks):
    given = Need(Path("/o"), 6e9, "the outputs", is_given=True)
    with pytest.raises(PipelineError, match=r"take 12 GB by control\.disk_gb; .* too much, lower control\.disk_gb to"):
        refuse_without_room("s", [planned(given), planned(given)], MACHINE)
    with pytest.raises(PipelineError, match=r"estimated to take 12 GB; .* the estimate is wrong, set control\.disk_gb"):
        refuse_without_room("s", [planned(given), planned(lasting(6))], MACHINE)


def test_unrelated_failure_keeps_its_text(tmp_path):
    assert add_disk_estimate("exited with 1", planned(lasting(2)), result(tmp_path / "none")) == "exited with 1"


# ------------------------------------------------------------------------------------------------ whole runs

STEPS = """\
pipeline.steps = [maps, work]
work.control.type = executable_args
work.control.executable = {program}
work.control.mapfile_in = maps.output.mapfile
work.control.inputkey = product
work.control.outputkey = output
work.control.error_tolerance = False
work.argument.flags = [product, output]
{more}
"""
PARSET = STEPS + list_step("[/a, /b]", "maps")
WRITE = '#!/bin/sh\nexec head -c {size} /dev/zero > "$2"\n'


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that runs the pipeline, and returns the exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(size, *arguments, more=""):
        from lofarpipe.cli import main

        program = tmp_path / "write.sh"
        program.write_text(WRITE.format(size=size))
        program.chmod(0o755)
        (tmp_path / "p.parset").write_text(PARSET.format(program=program, more=more))
        return main(["p.parset", *arguments])

    return run


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"no file system can be mounted here: {err}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_run_continues_with_enough_room(site, small_disk, capsys):
    (small_disk / "ballast").write_bytes(bytes(3_000_000))
    assert site(1_500_000, "-w", str(small_disk)) == 1
    said = capsys.readouterr().err
    assert "step 'work': 2 of 2 jobs failed" in said or "step 'work': 1 of 2 jobs failed" in said
    assert "No space left on device; free some space" in said
    (small_disk / "ballast").unlink()
    assert site(1_500_000, "-w", str(small_disk)) == 0
    assert (small_disk / "p" / "b.work").stat().st_size == 1_500_000


def test_step_is_refused_before_its_first_job(site, small_disk, capsys):
    assert site(10, "-w", str(small_disk), more="work.control.disk_gb = 0.003") == 1
    assert (
        f"step 'work': {small_disk}/p has 4.19 MB free, and the outputs of its 2 jobs take 6 MB by control.disk_gb; "
        "make room, or name another directory, and run again to resume here; if that is too much, lower "
        "control.disk_gb to what a job takes" in capsys.readouterr().err
    )
    assert list((small_disk / "p").iterdir()) == []
    assert site(10, "-w", str(small_disk), more="work.control.disk_gb = 0.001") == 0


@pytest.mark.parametrize(("advice", "status"), [("True", 0), ("False", 1)])
def test_small_disk_is_warning_on_request(site, tmp_path, capsys, advice, status):
    more = f"work.control.disk_gb = 1000000\nwork.control.warn_of_disk = {advice}"
    assert site(10, "-w", str(tmp_path), more=more) == status
    said = capsys.readouterr()
    assert "by control.disk_gb; make room" in said.out + said.err
    assert ("warning: step 'work'" in said.out + said.err) == (status == 0)


def one_line(err):
    """Return the single last line of the command line's output."""
    (said,) = [line for line in err.splitlines() if line.startswith("genericpipeline.py: ")]
    assert "unexpected" not in said
    return said


def fill(disk):
    """Write a file until the disk is full."""
    with (disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(bytes(4096)) == 4096:
            pass


def test_full_job_directory_gives_one_message(site, small_disk, capsys):
    fill(small_disk)
    assert site(10, "-r", str(small_disk)) == 1
    assert "No space left on device" in one_line(capsys.readouterr().err)


def test_filling_job_directory_gives_one_message(site, small_disk, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(globals(), "WRITE", f"#!/bin/sh\ncat /dev/zero > {small_disk}/ballast 2>/dev/null\nexit 0\n")
    assert site("", "-r", str(small_disk), "-w", str(tmp_path)) == 1
    said = one_line(capsys.readouterr().err)
    assert str(small_disk) in said
    assert "No space left on device" in said or "the disk is full" in said
    (small_disk / "ballast").unlink()
    monkeypatch.setitem(globals(), "WRITE", "#!/bin/sh\nexit {size}\n")
    assert site(0, "-r", str(small_disk), "-w", str(tmp_path)) == 0


def test_full_disk_is_reported_at_every_write(site, small_disk, tmp_path, capsys):
    """With a page more of room each time, something else of the engine's own is the first that cannot be written."""
    ended = []
    for pages in range(64):
        fill(small_disk)
        with (small_disk / "ballast").open("ab") as ballast:
            ballast.truncate((small_disk / "ballast").stat().st_size - 4096 * pages)
        (tmp_path / str(pages)).mkdir()
        ended.append(site(10, "-r", str(small_disk), "-w", str(tmp_path / str(pages)), "-q"))
        said = capsys.readouterr().err
        assert "Traceback" not in said
        if ended[-1]:
            assert "No space left on device" in one_line(said) or "the disk is full" in one_line(said)
        shutil.rmtree(small_disk / "p", ignore_errors=True)
    assert ended[0] == 1
    assert ended[-1] == 0


def test_read_only_disk_is_reported(site, small_disk, tmp_path, capsys):
    (small_disk / "p").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert site(10, "-r", str(tmp_path), "-w", str(small_disk)) == 1
    assert "Read-only file system; ask who runs it" in capsys.readouterr().err
    assert site(10, "-r", str(small_disk), "-w", str(tmp_path)) == 1
    assert "Read-only file system" in one_line(capsys.readouterr().err)


def test_vanished_working_directory_is_reported(site, small_disk, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(globals(), "WRITE", f"#!/bin/sh\ncd /\numount -l {small_disk}\nexit 1\n")
    work = small_disk / "p"
    assert site("", "-r", str(tmp_path), "-w", str(small_disk)) == 1
    said = capsys.readouterr().err
    assert f"{work} is not there any more: somebody removed the directory, or a file system is not mounted" in said
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small_disk)], check=True)  # for the fixture


def test_file_size_limit_is_reported(site, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert site(2_000_000) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "SIGXFSZ" in capsys.readouterr().err
