"""Behaviour of public parsets and plugins that the original engine supports."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from lofarpipe import cli

LISTED = """\
pipeline.steps = [list, {steps}]
list.control.kind = plugin
list.control.type = createMapfile
list.control.method = mapfile_from_folder
list.control.mapfile_dir = input.output.mapfile_dir
list.control.filename = list.mapfile
list.control.folder = @/data
list.control.pattern = *.MS
"""
SHOW = """\
show.control.type = executable_args
show.control.executable = @/bin/show
show.control.mapfile_in = list.output.mapfile
show.control.inputkey = ms
"""


# ---- plugins of the same name


COUNTING = "{{'mapfile': kwargs['mapfile_in'], 'count': '{}'}}"
JOINED = (
    LISTED.format(steps="join, show")
    + SHOW
    + """\
join.control.kind = plugin
join.control.type = compressMapfile
join.control.mapfile_in = list.output.mapfile
join.control.mapfile_dir = input.output.mapfile_dir
join.control.filename = join.mapfile
show.argument.flags = [join.output.count, ms]
"""
)


@pytest.fixture
def sets(site):
    for name in ("a.MS", "b.MS"):
        (site.here / "data" / name).mkdir()
    return site


def _own_plugin(site, directory, number):
    (site.here / directory).mkdir(parents=True, exist_ok=True)
    path = site.here / directory / "PipelineStep_compressMapfile.py"
    path.write_text(f"def plugin_main(args, **kwargs):\n    return {COUNTING.format(number)}\n")
    return path


@pytest.mark.parametrize("lenient", [True, False])
@pytest.mark.parametrize(
    "directories",
    [["own"], ["my/plugins", "own"], ["own", "plugins"], ["plugins"]],
    ids=["pluginpath", "the site's first", "beside the parset last", "beside the parset"],
)
def test_own_plugin_overrides_shipped_plugin(sets, capsys, directories, lenient):
    paths = [_own_plugin(sets, name, number) for number, name in enumerate(directories)]
    assert sets.run(f"{JOINED}pipeline.pluginpath = @/own\n", lenient=lenient) == 0
    assert [args[0] for args in sets.args("show")] == ["0"] * 2
    notice = f"p.parset:14: join.control.type: is {paths[0]}, not the shipped plugin of that name"
    assert sets.run(f"{JOINED}pipeline.pluginpath = @/own\n", "--check", lenient=lenient) == 0
    assert notice in capsys.readouterr().err


def test_identical_plugin_gives_no_notice(sets, capsys, repository):
    text = (repository / "plugins" / "PipelineStep_compressMapfile.py").read_text()
    (sets.here / "my" / "plugins" / "PipelineStep_compressMapfile.py").write_text(text)
    assert sets.run(JOINED.replace("join.output.count, ", ""), "--check", lenient=False) == 0
    assert capsys.readouterr().err == ""


def test_plugins_import_across_directories(sets):
    sets.plugin("helper").with_name("helper.py").write_text("NAME = 'helped'\n")
    (sets.here / "own").mkdir()
    source = "from helper import NAME\n\ndef plugin_main(args, **kwargs):\n    return {'name': NAME}\n"
    (sets.here / "own" / "PipelineStep_user.py").write_text(source)
    text = LISTED.format(steps="user, show") + SHOW + "pipeline.pluginpath = @/own\nuser.control.kind = plugin\n"
    assert sets.run(f"{text}user.control.type = user\nshow.argument.flags = [user.output.name]\n") == 0
    assert sets.args("show") == [["helped"]] * 2


def test_pipeline_module_precedes_directory(sets, monkeypatch):
    """``tools``, ``steps`` and others are directories of this repository, which may be on the search path."""
    (sets.here / "tools").mkdir()
    monkeypatch.syspath_prepend(str(sets.here))
    (sets.here / "my" / "plugins" / "tools.py").write_text("NAME = 'own'\n")
    sets.plugin("user", "from tools import NAME\n    return {'name': NAME}")
    text = LISTED.format(steps="user, show") + SHOW + "user.control.kind = plugin\nuser.control.type = user\n"
    assert sets.run(f"{text}show.argument.flags = [user.output.name]\n") == 0
    assert sets.args("show") == [["own"]] * 2


def test_own_ready_step_precedes_shipped_step(sets):
    (sets.here / "steps").mkdir()
    (sets.here / "steps" / "dp3_average.parset").write_text(
        SHOW.replace("show.", "").replace("@", str(sets.here)) + "argument.flags = [ms]\n"
    )
    (sets.here / "base.parset").write_text("! unused = 1  ## {integer} nothing\n")
    text = LISTED.format(steps="show") + "pipeline.base = base.parset\nshow.use = dp3_average\n"
    assert sets.run(text, lenient=False) == 0
    assert sorted(sets.args("show")) == [["@/data/a.MS"], ["@/data/b.MS"]]


# ---- arguments of known programs


TASKS = {
    "own": "recipe = executable_args\nexecutable = {program}\nargs_format = {format}\n{more}",
    "inherited": "executable = {program}\n",
}
ARGUMENTS = {
    "dp3": (
        "lofar",
        "outputkey = msout\n",
        "msin.orderms=True numthreads=3 steps=[avg] unused.key=1 ms={ms} msout={out}",
    ),
    "wsclean": ("wsclean", "", "-temp-dir /tmp -size 100 100 -gridder idg -reorder {ms}"),
}
KEYS = {
    "dp3": "argument.steps = [avg]\nargument.msin.orderms = True\nargument.unused.key = 1\nargument.numthreads = 3\n",
    "wsclean": "argument.flags = [-reorder, ms]\nargument.size = 100 100\nargument.gridder = idg\n"
    "argument.temp-dir = /tmp\n",
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("program", ARGUMENTS)
def test_lenient_run_keeps_arguments_unchecked(sets, program, task):
    """The stub records every call: a wrapper may have any effect when its version is requested."""
    form, more, expected = ARGUMENTS[program]
    text = TASKS[task].format(program=sets.here / "bin" / "show", format=form, more=more)
    with (sets.here / "tasks.cfg").open("a") as tasks:
        tasks.write(f"\n[{program}]\n{text}")
    step = "".join(f"run.{line}\n" for line in KEYS[program].splitlines())
    keys = f"run.control.type = {program}\nrun.control.mapfile_in = list.output.mapfile\nrun.control.inputkey = ms\n"
    assert sets.run(LISTED.format(steps="run") + keys + step) == 0
    names = [("@/data/a.MS", "@/work/p/a.run"), ("@/data/b.MS", "@/work/p/b.run")]
    assert sorted(" ".join(args) for args in sets.args()) == [expected.format(ms=ms, out=out) for ms, out in names]


def test_lenient_run_completes_steps_with_program(sets):
    with (sets.here / "tasks.cfg").open("a") as tasks:
        tasks.write(f"\n[mine]\nexecutable = {sets.here / 'bin' / 'show'}\nargs_format = lofar\n")
    keys = "run.control.type = mine\nrun.control.mapfile_in = list.output.mapfile\nrun.control.inputkey = msin\n"
    keys += "run.control.program = dp3\nrun.argument.steps = []\n"
    assert sets.run(LISTED.format(steps="run") + keys) == 0
    assert sum("checkparset=1" in args for args in sets.args()) == 2


def test_lenient_run_uses_site_task_alone(sets):
    """The original had no other one of that name; here a shipped one would add its args_format and outputkey."""
    with (sets.here / "tasks.cfg").open("a") as tasks:
        tasks.write(f"\n[dp3]\nrecipe = executable_args\nexecutable = {sets.here / 'bin' / 'show'}\n")
    keys = "run.control.type = dp3\nrun.control.mapfile_in = list.output.mapfile\nrun.control.inputkey = msin\n"
    assert sets.run(LISTED.format(steps="run") + keys + "run.argument.steps = []\n") == 0
    assert sorted(sets.args()) == [["--steps=[]", "--msin=@/data/a.MS"], ["--steps=[]", "--msin=@/data/b.MS"]]


# ---- errors raised inside a check


CHECKED = "\n\ndef plugin_check(args, **kwargs):\n    raise {error}\n"


@pytest.mark.parametrize("error", ["ValueError('odd')", "KeyError('odd')"])
def test_lenient_run_warns_of_check_error(sets, error):
    path = sets.plugin("odd", "return {'n': 1}")
    with path.open("a") as plugin:
        plugin.write(CHECKED.format(error=error))
    text = LISTED.format(steps="odd, show") + SHOW + "odd.control.kind = plugin\nodd.control.type = odd\n"
    assert sets.run(f"{text}show.argument.flags = [odd.output.n]\n") == 0
    assert sets.args("show") == [["1"], ["1"]]


# ---- signals


SIGNALLED = LISTED.format(steps="ask, show") + SHOW + "show.argument.flags = [ms]\nask.control.kind = plugin\n"


@pytest.mark.parametrize("caught", ["Exception", "BaseException", "(KeyboardInterrupt, SystemExit)"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_ends_run_despite_plugin(sets, name, caught):
    body = f"import signal\n    try:\n        signal.raise_signal(signal.{name})\n    except {caught}:\n        pass"
    sets.plugin("deaf", f"{body}\n    return {{}}")
    assert sets.run(f"{SIGNALLED}ask.control.type = deaf\n") == 128 + getattr(signal, name)
    assert len(sets.calls("deaf")) == 1
    assert sets.calls("show") == []


def test_signal_in_destructor_ends_run(sets, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    body = "import signal\n    class Last:\n        def __del__(self):\n            signal.raise_signal(signal.SIGTERM)"
    sets.plugin("deaf", f"{body}\n    del args, Last().__dict__\n    return {{}}")
    assert sets.run(f"{SIGNALLED}ask.control.type = deaf\n") == 128 + signal.SIGTERM
    assert sets.calls("show") == []


def test_signal_handlers_are_restored_after_plugin(sets):
    sets.plugin("deaf", "import signal\n    signal.signal(15, signal.SIG_IGN)\n    signal.pthread_sigmask(0, [1, 15])")
    sets.plugin("ask", "import signal\n    signal.raise_signal(signal.SIGTERM)")
    text = SIGNALLED.replace("ask, show", "deaf, ask, show")
    text += "deaf.control.kind = plugin\ndeaf.control.type = deaf\nask.control.type = ask\n"
    assert sets.run(text) == 128 + signal.SIGTERM
    assert sets.calls("show") == []


@pytest.mark.parametrize("error", ["GeneratorExit", "type('Odd', (BaseException,), {})"])
def test_odd_plugin_exception_is_one_line(sets, error, capsys):
    sets.plugin("odd", f"raise {error}('why')")
    assert sets.run(f"{SIGNALLED}ask.control.type = odd\n") == 1
    assert ": the plugin failed: " in capsys.readouterr().err.splitlines()[-1]


def test_signal_ends_dry_run(sets):
    path = sets.plugin(
        "deaf", "import signal\n    try:\n        signal.raise_signal(15)\n    except BaseException:\n        pass"
    )
    path.write_text(f"DRY_RUN_WRITES = ()\n{path.read_text()}")
    assert sets.run(f"{SIGNALLED}ask.control.type = deaf\n", "-n") == 128 + signal.SIGTERM


def test_forked_processes_have_default_handlers(sets):
    before = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")}
    body = f"""import os, signal
    usual = { ({name: str(handler) for name, handler in before.items()})!r}
    child = os.fork()
    if not child:
        os._exit(sum(str(signal.getsignal(getattr(signal, name))) != text for name, text in usual.items()))
    return {{'odd': os.waitpid(child, 0)[1]}}"""
    sets.plugin("forking", body)
    text = SIGNALLED.replace("[ms]", "[ask.output.odd]")
    assert sets.run(f"{text}ask.control.type = forking\n") == 0
    assert sets.args("show") == [["0"], ["0"]]


@pytest.mark.parametrize(
    ("leaves", "status"),
    [("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('no')", 1), ("raise ValueError('no')", 1), ("return {}", 0)],
)
def test_forked_process_does_not_continue_run(sets, leaves, status):
    body = f"""import os, sys
    child = os.fork()
    if not child:
        {leaves}
    return {{'status': os.waitpid(child, 0)[1] >> 8}}"""
    sets.plugin("forking", body)
    text = SIGNALLED.replace("[ms]", "[ask.output.status]")
    assert sets.run(f"{text}ask.control.type = forking\n") == 0
    assert sets.args("show") == [[str(status)]] * 2


def test_plugin_exit_ends_process(sets):
    sets.plugin("ending", "import sys\n    sys.exit(3)")
    with pytest.raises(SystemExit, match="3"):
        sets.run(f"{SIGNALLED}ask.control.type = ending\n")
    assert sets.calls("show") == []


# ---- differences from run to run


def test_start_time_change_repeats_nothing(sets):
    keys = "more.control.type = executable_args\nmore.control.executable = @/bin/show\n"
    keys += "more.control.mapfile_in = show.output.mapfile\nmore.control.inputkey = ms\nmore.argument.flags = [ms]\n"
    text = LISTED.format(steps="show, more") + SHOW + keys
    text += "show.argument.flags = [ms, input.output.start_time]\nshow.argument.log = input.output.log_file\n"
    for _ in range(2):
        for time in ("2020-01-01T00:00:00", "2020-01-01T00:00:01"):
            assert sets.run(text, "--start-time", time) == 0
    assert len(sets.calls()) == 4
    assert sets.run(text.replace("[ms, input", "[ms, -v, input"), "--start-time", time) == 0
    assert len(sets.calls()) == 6


def test_short_start_time_counts_as_argument(sets):
    text = LISTED.format(steps="show") + SHOW + "show.argument.flags = [ms, input.output.start_time]\n"
    for time in ("1", "2"):
        assert sets.run(text, "--start-time", time) == 0
    assert len(sets.calls()) == 4


@pytest.mark.parametrize(("seed", "is_same"), [(None, True), ("", True), ("random", False)])
def test_runs_have_fixed_hash_seed_by_default(sets, monkeypatch, seed, is_same):
    """Of plugins, of their child processes, and of scripts; no other start has this cost."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    if seed is not None:
        monkeypatch.setenv("PYTHONHASHSEED", seed)
    sets.plugin("asks", "return {'n': hash('a text')}")
    sets.script("told.py", "return {'n': hash('a text')}")
    text = LISTED.format(steps="ask, tell, show") + SHOW + "show.argument.n = tell.output.n.mapfile\n"
    text += "ask.control.kind = plugin\nask.control.type = asks\nshow.argument.flags = [ask.output.n]\n"
    text += "tell.control.type = pythonplugin\ntell.control.executable = @/my/scripts/told.py\n"
    text += "tell.control.mapfile_in = list.output.mapfile\ntell.control.inputkey = ms\n"
    (sets.here / "p.parset").write_text(text.replace("@", str(sets.here)))
    command = [sys.executable, "-m", "lofarpipe.cli", "p.parset", "-c", "pipeline.cfg", "-q", "--lenient"]
    for job in ("one", "two"):
        subprocess.run([*command, "-j", job], check=True, cwd=sets.here, capture_output=True)
    seen = {tuple(args[:2]) for args in sets.args("show")}
    assert (len(seen) == 1) is is_same
    assert len({args[0] == args[1].partition("=")[2] for args in seen}) == 1


def test_failed_restart_continues_run(monkeypatch):
    def refuse(program, argv):
        assert (program, argv[0]) == (sys.executable, sys.executable)
        starts.append(argv)
        raise OSError(errno.E2BIG, "Argument list too long")

    starts = []
    monkeypatch.setenv("PYTHONHASHSEED", "")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.setattr(os, "execv", refuse)
    cli.set_up_process(has_plugins=True)
    assert (len(starts), os.environ["PYTHONHASHSEED"]) == (1, "0")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3", "the user's"


@pytest.mark.parametrize(
    ("seed", "has_plugins", "program"), [("7", True, "python"), ("", False, "python"), ("", True, "")]
)
def test_process_starts_anew_for_plugins_alone(monkeypatch, seed, has_plugins, program):
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "executable", program)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it began anew"))
    cli.set_up_process(has_plugins=has_plugins)
    assert os.environ["PYTHONHASHSEED"] == (seed or "0"), "of children"
