"""Field over base over ready step; the command line on top."""

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.compose import compose

BASE = """\
! cell = 0.002     ## {number > 0} pixel size
! names = []       ## {list} inputs
pipeline.steps = [average]
average.use = dp3_average
average.argument.timestep = 4
"""
READY = "control.type = dp3\nargument.timestep = 1\nargument.avg.type = average\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base.parset").write_text(BASE)
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "dp3_average.parset").write_text(READY)
    return tmp_path


def _compose(folder, text, *assignments):
    path = folder / "field.parset"
    path.write_text(text)
    return compose(path, assignments, [folder / "share"], [])


def test_later_layer_overrides_earlier_layer(folder):
    parset = _compose(folder, "pipeline.base = base.parset\n! cell = 0.004\n").parset
    assert parset["! cell"] == "0.004"
    assert parset["average.argument.timestep"] == "4"
    assert parset["average.argument.avg.type"] == "average"
    assert parset["average.control.type"] == "dp3"


def test_command_line_overrides_all_files(folder):
    parset = _compose(
        folder, "pipeline.base = base.parset\n! cell = 0.004\n", "cell=0.008", "average.argument.timestep = 2"
    ).parset
    assert parset["! cell"] == "0.008"
    assert parset["average.argument.timestep"] == "2"
    assert parset.entry("! cell").file == "command line"


def test_every_key_keeps_its_source(folder):
    parset = _compose(folder, "pipeline.base = base.parset\n! cell = 0.004\n").parset
    assert (parset.entry("! cell").file, parset.entry("! cell").line) == (str(folder / "field.parset"), 2)
    assert parset.entry("average.argument.avg.type").file.endswith("steps/dp3_average.parset")


def test_base_provides_meaning(folder):
    documented = _compose(folder, "pipeline.base = base.parset\n! cell = 1 ## mine\n").documented
    assert documented["cell"].comment.strip() == "{number > 0} pixel size"


def test_spelling_of_definition_does_not_matter(folder):
    parset = _compose(folder, "pipeline.base = base.parset\n!cell=0.004\npipeline.replace.names=[a]\n").parset
    assert {name: entry.value for name, entry in parset.definitions().items()} == {"cell": "0.004", "names": "[a]"}


def test_misspelt_option_names_nearest(folder):
    findings = _compose(folder, "pipeline.base = base.parset\n! cel = 0.004\n", "nams=[b]").findings
    assert [str(finding) for finding in findings] == [
        f"{folder}/field.parset:2: no option is called 'cel'; did you mean 'cell'?",
        "command line: --set nams=[b]: no option is called 'nams'; did you mean 'names'?",
    ]


def test_used_new_definition_is_accepted(folder):
    text = "pipeline.base = base.parset\n! where = /data\n! names = [{{ where }}/a.MS]\n"
    assert _compose(folder, text).findings == []


def test_assignment_without_equals_is_found(folder):
    findings = _compose(folder, "pipeline.base = base.parset\n", "cell").findings
    assert (
        str(findings[0])
        == "command line: --set cell: key=value is needed: cell=VALUE; without blanks around =, or in quotes"
    )


def test_unknown_ready_step_is_found(folder):
    findings = _compose(folder, "pipeline.base = base.parset\naverage.use = dp3_averge\n").findings
    assert "there is no ready step 'dp3_averge'; did you mean 'dp3_average'?" in str(findings[0])


def test_missing_base_names_line(folder):
    with pytest.raises(PipelineError, match=r"field\.parset:1: pipeline\.base: nobody\.parset: no such base parset"):
        _compose(folder, "pipeline.base = nobody.parset\n")


def test_circular_base_is_refused(folder):
    (folder / "base.parset").write_text("pipeline.base = field.parset\n")
    with pytest.raises(PipelineError, match="cannot form a circle"):
        _compose(folder, "pipeline.base = base.parset\n")


def test_shipped_base_is_found(folder):
    (folder / "share").mkdir()
    (folder / "share" / "shipped.parset").write_text("! x = 1 ## text\n")
    assert _compose(folder, "pipeline.base = shipped.parset\n").parset["! x"] == "1"


def test_overridden_definition_may_use_new_definition(folder):
    parset = _compose(folder, "pipeline.base = base.parset\n! where = /data\n! names = [{{ where }}/a.MS]\n").parset
    assert parset.substituted()["! names"] == "[/data/a.MS]"


def test_second_equals_sign_is_finding(folder):
    findings = _compose(folder, "pipeline.base = base.parset\naverage.argument.x = a=b\n").findings
    assert [finding.where for finding in findings] == [f"{folder}/field.parset:2"]
