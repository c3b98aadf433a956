"""Plugins and scripts (doc/spec/lofarpipe.md, sections 7.1 to 7.4)."""

import pytest

SCRIPT = """
pipeline.steps = [s]
s.control.type = pythonplugin
s.control.executable = @/my/scripts/r.py
s.control.mapfile_in = @/data/one
s.control.inputkey = in
s.argument.flags = [in]
"""


@pytest.fixture(autouse=True)
def _map(site):
    site.mapfile("one", "/d/a.MS")


def test_plugin_gets_arguments(site):
    """Section 7.1: text, references resolved, dotted names, byte order; the environment is a dictionary."""
    site.plugin("p")
    text = """
pipeline.steps = [x]
x.control.kind = plugin
x.control.type = p
x.control.plotP.minmax = [0, 1]
x.control.flag = True
x.control.Upper = input.output.job_name
x.control.environment = {A: b, C: d:e}
x.argument.key = input.output.job_name
x.argument.flags = [f]
"""
    assert site.run(text) == 0
    (call,) = site.calls()
    assert call["args"] == [[]]
    assert call["cwd"] == str(site.here)
    assert list(call["kwargs"]) == ["Upper", "environment", "flag", "plotP.minmax", "parset"]
    assert call["kwargs"]["environment"] == {"A": "b", "C": "d"}  # as in 4.3, cut at the second colon
    assert call["kwargs"]["plotP.minmax"] == "[0, 1]"
    assert call["kwargs"]["parset"] == str(site.here / "run/p/parsets/x.parset")
    assert site.parset("x") == "key=p\n"


@pytest.mark.parametrize("body", ["return None", "return 0", "return 1", "return ['a']", "return {}"])
def test_plugin_may_return_anything(site, body):
    """Section 7.1: any value but a dictionary gives no outputs."""
    site.plugin("p", body)
    assert site.run("pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = p\n") == 0


def test_plugin_dictionary_becomes_outputs(site):
    """Section 7.1: values of any type are text on use."""
    site.plugin("p", "return {'number': 1, 'list': ['a', 1], 'yes': True}")
    site.plugin("q")
    text = "pipeline.steps = [x, y]\nx.control.kind = plugin\nx.control.type = p\ny.control.kind = plugin\n"
    assert site.run(text + "y.control.type = q\ny.control.k = x.output.number x.output.list x.output.yes\n") == 0
    assert site.calls("q")[0]["kwargs"] == {"k": "1 ['a', 1] True"}


def test_recipe_directories_precede_plugin_path(site):
    """Section 7.1: then in pipeline.pluginpath, relative to where the run was started; the first hit wins."""
    site.plugin("p")
    (site.here / "more").mkdir()
    for name in ("p", "q"):
        text = (site.plugin(name)).read_text().replace(f"record('{name}'", f"record('more {name}'")
        (site.here / "more" / f"PipelineStep_{name}.py").write_text(text)
    (site.here / "my/plugins/PipelineStep_q.py").unlink()
    text = "pipeline.steps = [x, y]\npipeline.pluginpath = more\nx.control.kind = plugin\nx.control.type = p\n"
    assert site.run(text + "y.control.kind = plugin\ny.control.type = q\n") == 0
    assert [call["name"] for call in site.calls()] == ["p", "more q"]


def test_script_gets_arguments(site):
    """Section 7.2: text by position and name; args_format has no effect; it runs in the working directory."""
    site.script("r.py")
    lines = "s.argument.rmsbox = (60,20)\ns.argument.a.b-c = None\ns.control.args_format = wsclean\n"
    assert site.run(SCRIPT + lines) == 0
    (call,) = site.calls()
    assert call["args"] == ["/d/a.MS"]
    assert call["kwargs"] == {"rmsbox": "(60,20)", "a.b-c": "None"}
    assert call["cwd"] == str(site.here / "work/p")


def test_script_accepts_parset_as_file(site):
    """Section 7.2: the file comes first, and the keywords are passed as well."""
    site.script("r.py")
    assert site.run(SCRIPT + "s.control.parsetasfile = True\ns.argument.k = 1\n") == 0
    (call,) = site.calls()
    assert call["args"] == [str(site.here / "work/p/a.MS.parset"), "/d/a.MS"]
    assert call["kwargs"] == {"k": "1"}


@pytest.mark.parametrize("body", ["return {'k': 1}", "return 0", "return None", "return ()", "return {}", "return ''"])
def test_valid_return_value_is_success(site, body):
    """Section 7.3 (12, group 7)."""
    site.script("r.py", body)
    assert site.run(SCRIPT) == 0
    assert site.map("s.ok") == [("True", False)]
    assert site.map("s.k") == ([("1", False)] if "k" in body else None)


@pytest.mark.parametrize("body", ["return 1", "return -1", "return ['a']", "return 'text'", "raise ValueError('x')"])
def test_invalid_return_value_is_failure(site, body):
    """Section 7.3 (12, group 7): among them ``return 1``."""
    site.script("r.py", body)
    assert site.run(SCRIPT) == 1
    assert site.map("s.ok") is None
    assert site.map("s.returncode") == [("1", True)]


@pytest.mark.parametrize(("body", "status"), [("import sys; sys.exit(0)", 0), ("import sys; sys.exit(3)", 1)])
def test_exit_status_decides_success(site, body, status):
    """Section 7.3 (12, group 7): 0 is fine but gives no results, anything else is a failure."""
    site.script("r.py", body)
    assert site.run(SCRIPT) == status
    assert site.map("s.ok") is None
    assert site.map("s.returncode") == [("3" if status else "0", bool(status))]


def test_mapfile_key_is_nested_output(site):
    """Section 7.3: it is ``<step>.output.mapfile.mapfile``."""
    site.script("r.py", "return {'mapfile': '/m/x'}")
    text = SCRIPT.replace("[s]", "[s, t]") + "t.control.type = executable_args\nt.control.executable = @/bin/show\n"
    assert site.run(text + "t.argument.flags = [s.output.mapfile.mapfile]\n") == 0
    assert site.args("show") == [["/m/x"]]


def test_python_2_plugin_may_subclass_map(site):
    """Sections 7.4 and 5.2 (12, group 12): tabs, print statements, xrange; ``@DataMap.data.setter`` in a subclass."""
    (site.here / "my/plugins/PipelineStep_old.py").write_text(
        "from lofarpipe.support.data_map import DataMap, DataProduct\n"
        "class Group(DataMap):\n"
        "    @DataMap.data.setter\n"
        "    def data(self, data):\n"
        "        self._set_data(data, dtype=DataProduct)\n"
        "def plugin_main(args, **kwargs):\n"
        "\tprint 'old', kwargs.keys()[0]\n"
        "        group = Group([])\n"
        "\tfor i in xrange(2):\n"
        "\t\tgroup.append(DataProduct('localhost', '/d/%d' % i, False))\n"
        "\tgroup.save(kwargs['name'])\n"
        "\treturn {'mapfile': kwargs['name']}\n"
    )
    text = """
pipeline.steps = [x, s]
x.control.kind = plugin
x.control.type = old
x.control.name = @/data/made
s.control.type = executable_args
s.control.executable = @/bin/show
s.argument.flags = [x.output.mapfile]
"""
    assert site.run(text) == 0
    assert sorted(site.args("show")) == [["/d/0"], ["/d/1"]]
