"""Hosts and environments of jobs: behind a stub of ssh that provides only HOME and PATH."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.lease import state_of
from lofarpipe.executors.remote.order import find_orders, write_order
from lofarpipe.executors.ssh import host as hosts
from lofarpipe.executors.ssh.executor import SshExecutor
from lofarpipe.executors.ssh.options import SshOptions, walltime_s
from lofarpipe.jobs import Job, JobResult, Resources, Staged

# Hosts are up, but one whose name begins with "down"; the agent of one called "weak" dies when it gets its first job.
STUB = """\
#!/bin/sh
while :; do
  case $1 in
  -o) shift 2 ;;
  -*) shift ;;
  *) break ;;
  esac
done
echo "$1" >>{root}/calls
case $1 in
down*) echo "ssh: Could not resolve hostname $1: Name or service not known" >&2; exit 255 ;;
weak*) sed -u '/^run /Q' | exec env -i HOME={root}/home PATH="{path}" sh -c "$2"; exit ;;
esac
exec env -i HOME={root}/home PATH="{path}" STUB_HOST="$1" dash -c "$2"
"""
# All that the agent needs of a host; there is no bash.
PROGRAMS = "sh dash head timeout setsid grep readlink uname nproc env sleep date mv rm mkdir rmdir touch cat printf"
Run = Callable[..., list[JobResult]]


@pytest.fixture
def executors() -> Iterator[list[SshExecutor]]:
    made: list[SshExecutor] = []
    yield made
    for executor in made:
        executor.close()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executors: list[SshExecutor]) -> Callable[..., SshExecutor]:
    """Make executors whose ssh is the stub."""
    own = tmp_path / "bin"
    for directory in (own, tmp_path / "home", tmp_path / "of_hosts"):
        directory.mkdir()
    for name in PROGRAMS.split():
        program = shutil.which(name)
        assert program
        (tmp_path / "of_hosts" / name).symlink_to(program)
    (own / "ssh").write_text(STUB.format(root=tmp_path, path=tmp_path / "of_hosts"))
    (own / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{own}:{os.environ['PATH']}")
    monkeypatch.setattr(hosts, "PAUSES_S", (0.05, 0.05))

    def make_executor(names: str, **options: object) -> SshExecutor:
        facts = {"cores": 2, "memory_gb": 4.0, **options}
        executors.append(SshExecutor(SshOptions(names, **facts), tmp_path / "jobs", grace_s=1.0))  # type: ignore[arg-type]
        return executors[-1]

    return make_executor


def job(root: Path, number: int, script: str = "exit 0", **changes: object) -> Job:
    facts = {"name": f"s/{number:03}", "argv": ("sh", "-c", script), "workdir": root, "log": root / f"{number}.log"}
    return Job(**{**facts, **changes})  # type: ignore[arg-type]


def host_in(log: Path) -> str:
    (line,) = (line for line in log.read_text().splitlines() if line.startswith("### host "))
    return line.removeprefix("### host ")


def test_each_host_has_its_share(make, tmp_path):
    executor = make("n[1-2],localhost", cores=4)
    meeting = f"touch {tmp_path}/here.$$; until [ $(ls {tmp_path} | grep -c here) -ge 3 ]; do sleep 0.05; done"
    results = executor.run([job(tmp_path, number, meeting, max_per_node=1) for number in range(3)])
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert {host_in(result.log) for result in results} == {"n1", "n2", "localhost"}
    assert {result.node for result in results} == {os.uname().nodename}
    assert sorted((tmp_path / "calls").read_text().split()) == ["n1", "n2"]  # one connection each, none to localhost


def test_bound_jobs_do_not_delay_free_jobs(make, tmp_path):
    executor = make("n[1-2]")
    bound = [job(tmp_path, n, "echo $STUB_HOST", host=f"n{n}.site.eu", at_host=True, max_per_node=1) for n in (2, 1)]
    free = job(tmp_path, 7, "echo $STUB_HOST", host="n9")
    elsewhere = job(tmp_path, 8, host="n9", at_host=True)
    here = job(tmp_path, 9, host="localhost", at_host=True)
    results = executor.run([*bound, free, elsewhere, here])
    assert [result.exit_code for result in results] == [0] * 5
    assert [host_in(result.log) for result in results[:2]] == ["n2", "n1"]
    assert executor.notices == ["n9, where data of s is, is none of the hosts; any of them takes its jobs"]


def test_environment_comes_from_run_or_host(make, tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THE_USER", "a b")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    given = {"COLOUR": "red", "OMP_NUM_THREADS": "2", "PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/mine"}
    (tmp_path / "home" / "setup.sh").write_text("export TOOLS=$HOME/tools PATH=$HOME/programs:$PATH\nfalse")
    program = tmp_path / "home" / "programs" / "show"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nenv; exit 3\n")
    program.chmod(0o755)
    facts = {"environment": "host", "env_file": "~/setup.sh"}
    (result,) = make("n1", **facts).run([job(tmp_path, 0, argv=("show",), env=given)])
    assert result.exit_code == 3
    seen = dict(line.split("=", 1) for line in result.tail(30))
    assert seen["PATH"] == f"{tmp_path}/home/programs:{tmp_path}/of_hosts"
    assert (seen["TOOLS"], seen["COLOUR"], seen["OMP_NUM_THREADS"]) == (f"{tmp_path}/home/tools", "red", "2")
    assert (seen["STUB_HOST"], seen["HOME"]) == ("n1", f"{tmp_path}/home")
    assert not {"OF_THE_USER", "LD_LIBRARY_PATH"} & set(seen)
    (of_run,) = make("n1").run([job(tmp_path, 1, "env", env=given)])
    seen = dict(line.split("=", 1) for line in of_run.tail(200) if "=" in line)
    assert (seen["OF_THE_USER"], seen["LD_LIBRARY_PATH"]) == ("a b", "/mine")
    assert "STUB_HOST" not in seen


def test_dollar_in_program_path_is_literal(make, tmp_path):
    program = tmp_path / "a=b"
    program.write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o755)
    assert make("n1").run([job(tmp_path, 0, argv=(str(program),))])[0].exit_code == 5


def test_usage_is_counted(make, tmp_path):
    hungry = "head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null; sleep 0.5"
    big = "import time; kept = bytearray(80_000_000); time.sleep(0.8)"
    executor = make("localhost,n1", cores=1)
    first, second = executor.run(
        [job(tmp_path, 0, hungry), job(tmp_path, 1, argv=(shutil.which("python3"), "-c", big))]
    )
    assert first.cpu_s >= 0.01
    assert second.max_rss_mb > 80
    assert 0.5 < first.duration_s < 60
    assert abs(first.start_s - time.time()) < 120


def test_unreachable_host_loses_its_jobs(make, tmp_path):
    executor = make("down1,n1")
    assert executor.capacity().cores == 2
    (notice,) = executor.notices
    assert notice.startswith("host down1 cannot be reached, 3 tries: ssh: Could not resolve hostname down1: Name or")
    assert "see that 'ssh -o BatchMode=yes down1 true' works" in notice
    assert not (tmp_path / "jobs").exists()  # a check leaves nothing behind
    lost, good = executor.run([job(tmp_path, 0, host="down1", at_host=True), job(tmp_path, 1)])
    assert (lost.exit_code, lost.is_lost, good.ok) == (69, False, True)
    assert lost.reason().startswith(
        "host down1, to which it is bound, cannot be reached, 3 tries: down1: ssh: Could not"
    )
    assert len(executor.notices) == 1
    with pytest.raises(PipelineError) as caught:
        make("down[1-2]").capacity()
    assert [line.split()[2] for line in str(caught.value).splitlines()] == ["down1", "down2"]


def test_unusable_hosts_are_reported(make, tmp_path):
    with pytest.raises(PipelineError) as caught:
        make("n[1-2]", env_file="~/none.sh").capacity()
    expected = f"env_file {tmp_path}/home/none.sh is not there, or cannot be read"
    assert str(caught.value) == f"[ssh]: host n1: {expected}\n[ssh]: host n2: {expected}"
    for name in ("setsid", "timeout"):
        (tmp_path / "of_hosts" / name).unlink()
    with pytest.raises(PipelineError, match="host n1: setsid is not installed timeout is not installed"):
        make("n1").capacity()


def test_missing_directory_of_host_is_reported(make, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts.Host, "send_orders", lambda self, orders: self.send("in /no/such"))
    executor = make("n1")
    executor.capacity()
    with pytest.raises(PipelineError, match="host n1: /no/such is not there, or cannot be written"):
        executor.run([job(tmp_path, 0)])
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match="file/jobs: cannot be made: Not a directory"):
        SshExecutor(SshOptions("localhost"), tmp_path / "file" / "jobs").run([job(tmp_path, 0)])


def test_silent_login_times_out(make, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "READY_S", 0.2)
    monkeypatch.setattr(hosts, "CLOSING_S", 0.2)
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
    with pytest.raises(PipelineError, match="host n1 cannot be reached, 3 tries: no answer"):
        make("n1").capacity()


def test_unstarted_job_moves_to_another_host(make, tmp_path):
    executor = make("weak1,n1", cores=1)
    first, second = executor.run([job(tmp_path, 0, f"echo x >>{tmp_path}/count"), job(tmp_path, 1, "sleep 1")])
    assert (first.exit_code, second.exit_code) == (0, 0)  # whose host is the same machine
    assert (tmp_path / "count").read_text() == "x\n"
    (never,) = make("weak2").run([job(tmp_path, 2)])
    assert (never.exit_code, never.is_lost) == (69, False)
    assert never.reason().startswith(
        "did not begin, 3 tries; the last one was lost with host weak2: its connection ended"
    )


def test_oversized_job_for_live_hosts_is_lost(make, tmp_path):
    executor = make("n1,weak1")
    executor.run([job(tmp_path, 0)])
    executor.hosts[1].size = Resources(2, 50.0)
    (result,) = executor.run([job(tmp_path, 1, memory_gb=10.0)])
    assert result.reason().startswith("none of the hosts that could take it can be reached")


def test_walltime_ends_job(make, tmp_path):
    executor = make("n1", walltime="0:30")
    stubborn = "trap 'echo asked' TERM; while :; do sleep 0.1; done"
    short = {"batch": {"walltime": "0:01"}}
    late, quick = executor.run([job(tmp_path, 0, stubborn, **short), job(tmp_path, 1)])
    assert late.exit_code == -signal.SIGKILL
    assert late.reason().startswith("stopped after ")
    assert late.reason().endswith("its time limit of 1.0 s; raise walltime of the step, or in [ssh]")
    assert "asked" in late.tail()
    assert quick.ok
    assert living(tmp_path) == {} or all(
        "sh -c text=" in command or "sleep" not in command for command in living(tmp_path).values()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", float("inf")),
        ("UNLIMITED", float("inf")),
        ("90", 5400),
        ("1:30", 90),
        ("12:00:00", 43200),
        ("2-0", 172800),
        ("1-2:3", 93780),
        ("1-2:3:4", 93784),
    ],
)
def test_walltime_text_gives_seconds(text, expected):
    assert walltime_s(text) == expected


def test_diverged_job_is_stopped(make, tmp_path, monkeypatch):
    monkeypatch.setattr("lofarpipe.executors.ssh.executor.LOG_LOOK_S", 0.2)
    say = "echo ' == Deconvolving (1) =='; echo 'Initial peak: 200.00 KJy'; exec sleep 60"
    (result,) = make("n1").run([job(tmp_path, 0, say, watch={"program": "wsclean"})])
    assert result.exit_code == -signal.SIGTERM
    assert "max_peak_jy" in result.reason()


def test_graphics_cards_are_distributed(make, tmp_path):
    executor = make("n1", gpus=2)
    meeting = f"touch {tmp_path}/up.$$; until [ $(ls {tmp_path} | grep -c up) = 2 ]; do sleep 0.1; done"
    show = f"echo $CUDA_VISIBLE_DEVICES; {meeting}"
    results = executor.run([job(tmp_path, number, show, gpus=1) for number in range(2)])
    assert sorted(result.tail()[0] for result in results) == ["0", "1"]
    with pytest.raises(PipelineError, match="needs 0 GB of memory and 3 CUDA devices, and the largest host"):
        executor.run([job(tmp_path, 0, gpus=3)])
    with pytest.raises(PipelineError, match="needs 9 GB of memory and 0 CUDA devices, and host n1 has"):
        executor.run([job(tmp_path, 0, memory_gb=9.0, host="n1", at_host=True)])


def test_missing_and_foreign_directories_fail_jobs(make, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    gone = job(tmp_path, 0, workdir=tmp_path / "gone")
    executor = make("n1")
    first, second = executor.run([gone, job(tmp_path, 1, tempdir=tmp_path / "kept")])
    assert (first.exit_code, second.exit_code) == (73, 73)
    assert first.reason() == f"working directory {tmp_path}/gone is not there on host n1"
    assert second.reason() == f"temporary directory {tmp_path}/kept cannot be made on host n1"
    assert (tmp_path / "kept" / "file").exists()


def test_unwritable_order_is_reported(make, tmp_path):
    executor = make("n1")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "s").touch()
    with pytest.raises(PipelineError, match="cannot be written: "):
        executor.run([job(tmp_path, 0)])


def test_unwritable_script_is_reported(make, tmp_path, monkeypatch):
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lofarpipe.executors.ssh.executor.guard_input", full)
    with pytest.raises(PipelineError, match=r"s/000: .*\.sh cannot be written: No space left on device"):
        make("n1").run([job(tmp_path, 0)])
    assert not list((tmp_path / "jobs" / "s").iterdir())


def test_missing_ssh_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PipelineError, match=r"\[ssh\]: hosts = n1: there is no ssh on PATH"):
        SshExecutor(SshOptions("n1"), tmp_path)


def test_results_of_killed_run_are_reused(make, tmp_path):
    executor = make("n1")
    stage = tmp_path / "out" / ".x.incomplete"
    staged = Staged(("sh", "-c", f"echo x >>{tmp_path}/count; touch {stage}/x.fits"), stage, tmp_path / "out")
    (tmp_path / "out").mkdir()

    class Killed(BaseException):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lofarpipe.executors.ssh.executor.finish_job", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):  # after the record, and before the outputs got their names
            executor.run([job(tmp_path, 0, staged=staged)])
    assert not (tmp_path / "out" / "x.fits").exists()
    (result,) = make("n1").run([job(tmp_path, 0, staged=staged)])
    assert result.outputs == (str(tmp_path / "out" / "x.fits"),)
    assert (tmp_path / "count").read_text() == "x\n"
    assert not list((tmp_path / "jobs").rglob("*.*"))


def test_next_run_awaits_job_of_killed_run(make, tmp_path):
    """It ends by itself; until then the same job does not begin."""
    executor = make("n1")
    script = f"echo begin >>{tmp_path}/times; sleep 1; echo end >>{tmp_path}/times; exit 1"
    began = threading.Event()
    thread = threading.Thread(target=lambda: executor.run([job(tmp_path, 0, script)], on_start=lambda _: began.set()))
    thread.start()
    assert began.wait(60)
    (order,) = find_orders(tmp_path / "jobs", job(tmp_path, 0))
    assert state_of(order) == "alive"
    second = make("n1")
    (result,) = second.run([job(tmp_path, 0, script)])
    thread.join(60)
    assert result.exit_code == 1
    lines = (tmp_path / "times").read_text().split()
    assert lines[-2:] == ["begin", "end"]
    assert "begin begin" not in " ".join(lines)
    assert "jobs of the run before this one are still ending; they are waited for" in second.notices


def test_withdrawn_order_does_not_start(make, tmp_path):
    executor = make("n1")
    executor.run([job(tmp_path, 0)])
    order = write_order(job(tmp_path, 1), "abc", tmp_path / "jobs" / "s" / "001.abc.json")
    order.script.write_text("attempt=abc\n")
    order.path.unlink()
    (host,) = executor.hosts
    host.send("run s/001.abc")
    time.sleep(1)
    assert not list((tmp_path / "jobs" / "s").glob("*.record"))
