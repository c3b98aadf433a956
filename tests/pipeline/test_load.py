"""Parset -> pipeline: endless or huge pipelines are reported and not built."""

import shutil
from pathlib import Path

import pytest

from lofarpipe.config import Overrides, load_settings, share_directory
from lofarpipe.errors import Finding, PipelineError
from lofarpipe.jobs import Resources
from lofarpipe.pipeline import load as pipeline_module
from lofarpipe.pipeline import steps
from lofarpipe.pipeline.load import check_pipeline, find_parset, load_pipeline
from lofarpipe.pipeline.preflight import Reading, survey
from lofarpipe.pipeline.steps import step_list
from lofarpipe.support.parset import Parset

STEP = "{0}.control.kind = plugin\n{0}.control.type = makeDirectory\n"
LOOP = "{0}.control.kind = loop\n{0}.control.loopcount = 1\n{0}.control.loopsteps = [{1}]\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = "[DEFAULT]\nruntime_directory = {0}\nworking_directory = {0}\nrecipe_directories = []\n"
    Path("pipeline.cfg").write_text(config.format(tmp_path))

    def loaded(text, with_settings=False):
        path = Path("run.parset")
        path.write_text(text)
        settings = load_settings(path, Overrides(config=Path("pipeline.cfg")))
        pipeline = load_pipeline(path, settings)
        return (pipeline, settings) if with_settings else pipeline

    return loaded


def findings(pipeline):
    return [str(finding) for finding in pipeline.findings]


def test_loops_of_loops_are_bounded(load, monkeypatch):
    monkeypatch.setattr(pipeline_module, "MOST_REPEATED_KEYS", 100)
    loops = "".join(LOOP.format(f"l{i}", f"l{i + 1}, l{i + 1}") for i in range(40))
    found = load(f"pipeline.steps = [l0]\n{loops}{STEP.format('l40')}")
    assert "steps that are listed again have more than 100 keys in all; list fewer" in findings(found)[0]
    assert len(findings(found)) < 200
    assert not load(f"pipeline.steps = [{'a, ' * 51}]\n{STEP.format('a')}").findings  # 51 times 2 keys


def test_depth_of_loops_is_bounded(load, monkeypatch):
    monkeypatch.setattr(pipeline_module, "DEEPEST", 2)
    two = f"pipeline.steps = [a]\n{LOOP.format('a', 'b')}{LOOP.format('b', 'c')}"
    assert not load(two + STEP.format("c")).findings
    (found,) = findings(load(two + LOOP.format("c", "d") + STEP.format("d")))
    assert found == "run.parset:8: c.control.kind: more than 2 steps within each other"


def test_recursive_sub_pipeline_is_refused(load):
    found = load("pipeline.steps = [a]\na.control.kind = pipeline\na.control.type = run.parset\n")
    (told,) = findings(found)
    assert "run.parset:3: a-a.control.type: the sub-pipeline " in told
    assert told.endswith("run.parset contains itself")


def test_used_sub_lists_are_bounded(monkeypatch):
    monkeypatch.setattr(steps, "MOST_SUBLISTS", 2)
    text = "pipeline.steps = [x, y]\npipeline.steps.x = [b, z]\npipeline.steps.y = [c]\npipeline.steps.w = [e]\n"
    assert step_list(Parset.parse(text), Path("x.parset")) == ["b", "z", "c"]
    with pytest.raises(PipelineError, match=r"^<text>:5: pipeline.steps.z: more than 2 sub-lists are used$"):
        step_list(Parset.parse(text + "pipeline.steps.z = [d]\n"), Path("x.parset"))


def test_references_follow_renamed_step(load):
    Path("sub.parset").write_text(
        "pipeline.steps = [s, my.step, gone]\n! v = 1\n"
        + "".join(STEP.format(name) for name in ("s", "my.step"))
        + "s.control.a = [s.output.s.mapfile, t.s.output.x, as.output.x]\ns.control.b = my.step.output.x\n"
        + "s.control.c = s{{ v }}\ns.control.d = s-s.output\n"
    )
    found = load("pipeline.steps = [p]\np.control.kind = pipeline\np.control.type = sub.parset\np.argument.v = 2\n")
    values = {key: found.parset[f"p-s.control.{key}"] for key in "abcd"}
    assert values == {
        "a": "[p-s.output.p-s.mapfile, t.p-s.output.x, as.output.x]",
        "b": "p-my.step.output.x",
        "c": "s2",
        "d": "s-s.output",
    }
    assert list(found.parset.definitions()) == ["v"]


@pytest.mark.parametrize("name", ["x" * 10_000, f"{'x' * 10_000}/y", "~nobody-of-that-name/y"])
@pytest.mark.parametrize(
    "key",
    [
        "a.control.type",
        "a.argument.parset",
        "a.use",
        "pipeline.base",
        "pipeline.check",
        "s.control.type",
        "r.control.executable",
    ],
)
def test_impossible_file_name_is_finding(load, key, name):
    kinds = "a.control.kind = plugin\ns.control.kind = pipeline\nr.control.type = executable_args\n"
    try:
        pipeline, settings = load(f"pipeline.steps = [a, s, r]\n{kinds}{key} = {name}\n", with_settings=True)
    except PipelineError as err:
        told = [str(err)]
    else:
        told = [str(finding) for finding in check_pipeline(pipeline, settings, Resources(1, 1.0, 0))]
    assert any(name in line for line in told) or key == "a.argument.parset"


def test_option_without_mark_names_right_form(load):
    found = findings(load(f"! niter = 3  ## {{integer}} n\nniter = 5\npipeline.steps = [a]\n{STEP.format('a')}"))
    assert found == ["run.parset:2: niter: there is no step 'niter'; to set this option, write ! niter = 5"]
    (found,) = findings(load(f"niter = 5\npipeline.steps = [a]\n{STEP.format('a')}"))
    assert found == "run.parset:1: niter: there is no step 'niter'"


def test_repeated_option_is_warning(load):
    pipeline = load(f"! niter = 3  ## {{integer}} n\n! niter = 5\npipeline.steps = [a]\n{STEP.format('a')}")
    assert findings(pipeline) == []
    assert [str(warning) for warning in pipeline.warnings] == [
        "run.parset:2: ! niter is set again, to another value than in line 1; the last one counts"
    ]


def test_parset_without_steps_names_remedy(load):
    with pytest.raises(PipelineError, match=r"^run.parset: No pipeline steps defined: .* add pipeline.steps = \["):
        load("x = 1\n")


def test_bad_option_hides_its_unknown_step(load):
    text = "! more = yes  ## {True|False} more\npipeline.steps = [a, s_{{ more }}, b]\n" + STEP.format("a")
    assert [one.partition(": ")[2] for one in findings(load(text))] == [
        "more is 'yes'; one of True, False is needed",
        "pipeline.steps: there is no step 'b'",
    ]


CLEAN = """\
pipeline.steps = [clean]
clean.control.type = wsclean
clean.control.mapfile_in = x.mapfile
clean.control.inputkey = ms
clean.argument.flags = [ms]
clean.argument.name = x
clean.argument.size = 100 100
"""


@pytest.mark.parametrize(("option", "value"), [("keep", "some"), ("optional_failures", "maybe"), ("imager", "casa")])
def test_bad_option_hides_keys_made_of_it(option, value):
    path = share_directory() / "image.parset"
    pipeline = load_pipeline(path, load_settings(path, Overrides()), [f"{option}={value}"])
    assert [str(one).partition(";")[0] for one in pipeline.findings] == [f"command line: {option} is '{value}'"]


def test_unknown_part_of_step_hints_at_argument(load):
    pipeline = load("pipeline.steps = [a]\na.control.kind = plugin\na.niter = 5\na.contrl.type = x\n")
    assert [text for text in findings(pipeline) if "no part" in text] == [
        "run.parset:3: a.niter: a step has no part 'niter'; an argument of its program is a.argument.niter",
        "run.parset:4: a.contrl.type: a step has no part 'contrl'; did you mean 'control'?",
    ]


def test_misspelt_key_of_pipeline_is_warning(load):
    pipeline = load("pipeline.steps = [a]\npipeline.stpes = [b]\npipeline.ours = 1\na.control.kind = plugin\n")
    warnings = [one.what for one in pipeline.warnings if one.what.startswith("pipeline.")]
    assert warnings == ["pipeline.stpes: has no effect; did you mean 'steps'?"]


def test_undefined_variable_is_reported_once(load):
    needs_wsclean()
    pipeline, settings = load(CLEAN + "clean.argument.scale = {{ cell }}\n", with_settings=True)
    (found,) = check_pipeline(pipeline, settings, Resources(2, 8.0))
    assert "'{{ cell }}' is not defined" in found.what


def test_option_check_is_reported_once(load):
    needs_wsclean()
    Path("plugins").mkdir()
    Path("plugins/PipelineCheck_uv.py").write_text("def check(options, site):\n    return ['longest: is too short']\n")
    uv = "! longest = 10  ## {number} longest\nclean.argument.minuv-l = 80\nclean.argument.maxuv-l = {{ longest }}\n"
    pipeline, settings = load(CLEAN + uv + "pipeline.check = [uv]\n", with_settings=True)
    assert [str(one) for one in check_pipeline(pipeline, settings, Resources(2, 8.0))] == ["longest: is too short"]


def test_pipeline_check_can_warn(load):
    Path("plugins").mkdir()
    warnings = "['WARNING: longest: may be short', 'WARNING: beware']"
    Path("plugins/PipelineCheck_uv.py").write_text(f"def check(options, site):\n    return {warnings}\n")
    parset = "! longest = 10  ## {number} longest\npipeline.steps = []\npipeline.check = [uv]\n"
    pipeline, settings = load(parset, with_settings=True)
    found = check_pipeline(pipeline, settings, Resources(2, 8.0))
    assert found == [Finding("longest", "may be short", True), Finding("uv", "beware", True)]
    looked = survey(Reading(settings, pipeline, ()))
    looked.close()
    assert looked.findings == ()
    assert [str(one) for one in looked.warnings] == ["longest: may be short", "uv: beware"]


def needs_wsclean():
    if shutil.which("wsclean") is None:
        pytest.skip("no WSClean is installed")


@pytest.mark.parametrize("name", ["image", "meerkat", "ata", "askap"])
@pytest.mark.parametrize("fused", ["True", "False"])
def test_written_sets_end_in_ms(tmp_path, monkeypatch, name, fused):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("run.parset"), Overrides())
    words = [f"fuse_average_concat={fused}"] if name == "image" else []
    pipeline = load_pipeline(find_parset(f"{name}.parset"), settings, words)
    writers = [step for step in pipeline.steps if "dp3" in (step.control.get("program"), step.type)]
    assert writers or name != "image"
    for step in writers:
        assert step.control.get("output_ending") == ".ms" or "mapfile_out" in step.control
