"""Command line, names and configuration (doc/spec/lofarpipe.md, sections 1 and 2)."""

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


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--lenient", "-h"], 1),
        (["-h"], 0),
        (["--no-such-option"], 2),
        ([], 1),
        (["-j", "name"], 1),
        (["absent.parset"], 1),
        (["p.parset", "-c", "absent.cfg"], 1),
        (["p.parset", "-t", "[absent.cfg]", "-c", "pipeline.cfg"], 1),
    ],
)
def test_wrong_usage_sets_exit_status(site, arguments, status):
    """Section 1.2."""
    (site.here / "p.parset").write_text(SHOW.replace("@", str(site.here)))
    try:
        found = main(arguments)
    except SystemExit as end:
        found = end.code
    assert found == status


@pytest.mark.parametrize(("program", "status", "line"), [("show", 0, "Results:"), ("fail", 1, "No results")])
def test_run_ends_with_status_line(site, capfd, program, status, line):
    """Section 1.2: only where the runner behaves as the original."""
    (site.here / "bin" / "fail").write_text("#!/bin/sh\nexit 3\n")
    (site.here / "bin" / "fail").chmod(0o755)
    parset = SHOW.replace("/bin/show", f"/bin/{program}")
    assert site.run(parset) == site.run(parset, lenient=False) == status
    command = ["p.parset", "-c", "pipeline.cfg"]
    assert main(command) == main([*command, "-q", "--lenient"]) == status
    assert line not in capfd.readouterr().out.splitlines()
    assert main([*command, "--lenient"]) == status
    assert capfd.readouterr().out.splitlines()[-1] == line


def test_bad_task_interpolation_names_its_step(site, error):
    """Section 2.5: an error of the step that uses it, with its place."""
    (site.here / "tasks.cfg").write_text("[odd]\nrecipe = %(nobody)s\n")
    parset = "pipeline.steps = [s]\ns.control.type = odd\ns.control.cmdline.a = x\n"
    assert site.run(parset, "-t", f"[{site.here}/tasks.cfg]", lenient=False) == 1
    assert "p.parset:2: s.control.type: task type 'odd': recipe refers to %(nobody)s, which is not set" in error()


def test_parset_without_steps_is_refused(site, error):
    """Section 1.2."""
    assert site.run("s.control.type = executable_args\n") == 1
    assert "No pipeline steps defined" in error()


@pytest.mark.parametrize("alias", ["input", "p", "genericpipeline"])
def test_input_aliases_work_without_job_name(site, alias):
    """Section 1.3: the name of the job is the parset's, without its extension."""
    assert site.run(f"{SHOW}s.argument.a = {alias}.output.job_name\n", lenient=False) == 0
    assert site.args()[0][0] == "--a=p"


@pytest.mark.parametrize("alias", ["input", "p", "other", "genericpipeline"])
def test_input_aliases_work_with_job_name(site, alias):
    """Section 1.3: all names work; with the original neither the job's nor the parset's did."""
    assert site.run(f"{SHOW}s.argument.a = {alias}.output.job_name\n", "-j", "other", lenient=False) == 0
    assert site.args()[0][0] == "--a=other"
    assert site.calls()[0]["cwd"] == str(site.here / "work/other")
    assert (site.here / "run/other/mapfiles/s.mapfile").is_file()


def test_step_name_overrides_alias(site):
    """Section 1.3: the step wins, ``input`` stays."""
    site.plugin("give", "return {'k': 'step'}")
    text = SHOW.replace("[s]", "[p, s]") + "p.control.kind = plugin\np.control.type = give\n"
    assert site.run(f"{text}s.argument.a = p.output.k/input.output.job_name\n") == 0
    assert site.args("show")[0][0] == "--a=step/p"


def test_jobs_inherit_environment(site, monkeypatch):
    """Section 1.4: local jobs inherit everything."""
    monkeypatch.setenv("HO_INHERITED", "yes")
    assert site.run(f"{SHOW}s.argument.flags = [in]\n") == 0
    assert site.calls()[0]["env"]["HO_INHERITED"] == "yes"


def test_input_provides_configuration_values(site):
    """Section 2.3: every option of every section, the later section wins; sections are pseudo steps."""
    with (site.here / "pipeline.cfg").open("a") as config:
        config.write("[deploy]\nmethod = later\nengine_ppath = %(runtime_directory)s/engine\n")
    keys = [
        "input.output.parset",
        "input.output.parset_dir",
        "input.output.mapfile_dir",
        "input.output.method",
        "remote.output.method",
        "deploy.output.engine_ppath",
        "layout.output.working_directory",
    ]
    # An argument not called mapfile would make the directory an input map: its key has the word in it.
    names = ["a", "b", "c_mapfile", "d", "e", "f", "g"]
    lines = "".join(f"s.argument.{name} = {key}\n" for name, key in zip(names, keys, strict=True))
    assert site.run(SHOW + lines, lenient=False) == 0
    assert [arg.partition("=")[2] for arg in site.args()[0][:7]] == [
        "@/p.parset",
        "@/run/p/parsets",
        "@/run/p/mapfiles",
        "later",
        "local",
        "@/run/engine",
        "@/work",
    ]


def test_configuration_lists_are_trimmed(site):
    """Section 2.2, fix: blanks after commas in recipe_directories."""
    config = site.here / "pipeline.cfg"
    config.write_text(config.read_text().replace("/my]", "/none,  " + str(site.here) + "/my ]"))
    site.plugin("p")
    assert site.run("pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = p\n") == 0
    assert len(site.calls("p")) == 1


def test_parset_overrides_task_and_default(site):
    """Section 2.5: parset over derived over task over default; an argument block erases the task's lists."""
    with (site.here / "tasks.cfg").open("a") as tasks:
        tasks.write(
            f"\n[mine]\nrecipe = executable_args\nexecutable = {site.here}/bin/show\narguments = [one,two]\n"
            "skip_infile = True\nargs_format = lofar\nnthreads = 5\nworking_directory = /nowhere\n"
        )
    block = "{0}.control.type = mine\n{0}.control.mapfile_in = @/data/one\n"
    text = "pipeline.steps = [a, b, c, d]\n" + "".join(block.format(name) for name in "abcd")
    text += "b.control.arguments = [mine]\nb.argument.x = 1\nc.argument.x = 1\nc.control.args_format = gnu\n"
    text += "d.control.skip_infile = False\nd.control.inputkey = in\nd.argument.flags = [in]\nd.argument.x = 1\n"
    assert site.run(text) == 0
    assert site.args() == [["one", "two"], ["mine", "x=1"], ["--x=1"], ["/d/a.MS", "x=1"]]
    assert {call["env"]["OMP_NUM_THREADS"] for call in site.calls()} == {"5"}


def test_old_task_files_are_merged(site):
    """Section 2.5: a repeated section is merged; a failing interpolation matters only on use."""
    with (site.here / "tasks.cfg").open("a") as tasks:
        tasks.write("\n[executable_args]\nargs_format = lofar\n[unused]\nrecipe = x\nexecutable = %(nowhere)s\n")
    assert site.run(f"{SHOW}s.argument.a = 1\n") == 0
    assert site.args() == [["a=1", "in=/d/a.MS"]]


def test_unknown_task_names_nearest(site, error):
    """Section 2.5."""
    assert site.run(SHOW.replace("executable_args", "executabel_args")) == 1
    assert "did you mean 'executable_args'?" in error()


def test_command_line_task_files_replace_configured_files(site):
    """Section 1.1: ``-t``."""
    (site.here / "other.cfg").write_text("[special]\nrecipe = executable_args\nargs_format = lofar\n")
    text = SHOW.replace("= executable_args", "= special") + "s.argument.a = 1\n"
    assert site.run(text) == 1
    assert site.run(text, "-t", f"[{site.here}/other.cfg]") == 0
    assert site.args() == [["a=1", "in=/d/a.MS"]]
