"""Options of the command line, and sources of the configuration (doc/spec/lofarpipe.md, sections 1 and 2)."""

import pytest

from lofarpipe.cli import main

SHOW = """
pipeline.steps = [s]
s.control.type = executable_args
s.control.executable = @/bin/show
s.control.mapfile_in = @/data/one
s.control.inputkey = in
"""


@pytest.fixture(autouse=True)
def _map(site):
    site.mapfile("one", "/d/a.MS")


def _shown(site):
    return [arg.partition("=")[2] for arg in site.args("show")[0]]


def test_command_line_sets_directories(site):
    """Section 1.1: -r and -w also enter the interpolation of the configuration."""
    for name in ("r", "w"):
        (site.here / name).mkdir()
    text = f"{SHOW}s.argument.a = input.output.job_directory input.output.runtime_directory\n"
    assert site.run(text, "-r", f"{site.here}/r", "-w", f"{site.here}/w") == 0
    assert _shown(site)[0] == "@/r/p @/r"
    assert site.calls()[0]["cwd"] == str(site.here / "w/p")
    assert (site.here / "r/p/mapfiles/s.mapfile").is_file()


@pytest.mark.parametrize("option", ["-r", "-w"])
def test_directories_must_exist(site, error, option):
    """Sections 1.1 and 2.2."""
    assert site.run(SHOW, option, f"{site.here}/nowhere") == 1
    assert "nowhere" in error()


@pytest.mark.parametrize("key", ["runtime_directory", "working_directory"])
def test_configured_directories_must_exist(site, error, key):
    """Section 2.2."""
    config = site.here / "pipeline.cfg"
    config.write_text(config.read_text().replace(f"{key} = ", f"{key} = /nowhere"))
    assert site.run(SHOW) == 1
    assert "/nowhere" in error()


@pytest.mark.parametrize("arguments", [["-v"], ["-d"], ["--loglevel", "ERROR"], ["--args", "x"]])
def test_abbreviated_options_may_precede_parset(site, arguments):
    """Section 1.1: options stand anywhere; any unambiguous abbreviation is accepted."""
    (site.here / "p.parset").write_text(SHOW.replace("@", str(site.here)))
    command = [*arguments, "--lenient", "--conf", "pipeline.cfg", "p.parset", "--runtime", str(site.here)]
    assert main(command) == 0
    assert (site.here / "p/mapfiles/s.mapfile").is_file()


def test_lenient_run_ignores_extra_words(site, error):
    """Section 1.1: the first word is the parset, in lenient runs; a strict run refuses the others."""
    assert site.run(SHOW, "more", "words") == 0
    assert len(site.calls()) == 1
    assert "words" not in error()
    with pytest.raises(SystemExit) as end:
        site.run(SHOW, "more", "words", lenient=False)
    assert end.value.code == 2
    assert "more words" in error()


@pytest.mark.parametrize("value", ["", "True", "False"])
def test_dry_run_accepts_value(site, value):
    """Section 1.1: it took one, and here it has an effect."""
    arguments = ["-n", value] if value else ["-n"]
    assert site.run(f"{SHOW}s.argument.flags = [in]\n", *arguments) == 0
    assert len(site.calls()) == (1 if value == "False" else 0)


def test_configuration_below_home_is_found(site):
    """Section 2.1: ``~/.pipeline.cfg`` if there is no -c."""
    (site.here / "pipeline.cfg").rename(site.here / ".pipeline.cfg")
    (site.here / "p.parset").write_text(SHOW.replace("@", str(site.here)))
    assert main(["p.parset", "-q", "--lenient"]) == 0
    assert site.map("s") == [("@/work/p/a.s", False)]


def test_configuration_notation_is_flexible(site):
    """Section 2.1: names in any case, ``:`` as well as ``=``, comments, ``%%``, three variables that are there."""
    with (site.here / "pipeline.cfg").open("a") as config:
        config.write("# a\n; b\n[Mine]\nUpper: 5%%\nall = %(job_name)s|%(cwd)s|%(start_time)s\n")
    text = f"{SHOW}s.argument.a = input.output.upper\ns.argument.b = Mine.output.all\n"
    assert site.run(text, "--start-time", "2020-01-02T03:04:05") == 0
    assert _shown(site)[:2] == ["5%", "p|@|2020-01-02T03:04:05"]


def test_later_task_files_override_earlier_ones(site):
    """Section 2.2: option by option."""
    (site.here / "more.cfg").write_text("[executable_args]\nargs_format = lofar\n")
    config = site.here / "pipeline.cfg"
    config.write_text(config.read_text().replace("/tasks.cfg]", f"/tasks.cfg, {site.here}/more.cfg]"))
    assert site.run(f"{SHOW}s.argument.a = 1\n") == 0
    assert site.args("show") == [["a=1", "in=/d/a.MS"]]
    assert site.calls()[0]["env"]["OMP_NUM_THREADS"] == "8"


def test_step_name_overrides_section(site):
    """Section 2.3: outputs of the step replace those of the section."""
    text = f"{SHOW.replace('[s]', '[s, remote, t]')}{SHOW.replace('s.control', 'remote.control')}"
    text = text.replace("pipeline.steps = [s]\n", "")
    text += "".join(f"t.control.{line.partition('control.')[2]}\n" for line in SHOW.splitlines() if "control" in line)
    text += "s.argument.a = remote.output.method\nt.argument.a = remote.output.mapfile\nremote.argument.flags = [in]\n"
    text = text.replace("t.argument.a =", "t.argument.mapfile =")
    assert site.run(text) == 0
    assert site.args("show")[0][0] == "--a=local"
    assert site.args("show")[2][0] == "--mapfile=@/run/p/mapfiles/remote.mapfile"
