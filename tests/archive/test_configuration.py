"""The configuration, value by value, with the place that set it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.archive.inputs import configuration_facts, lines_of
from lofarpipe.config import Overrides, checksum_limit_bytes, load_settings
from lofarpipe.errors import PipelineError

CFG = """\
# the site
[DEFAULT]
runtime_directory = {here}
working_directory: %(runtime_directory)s

[remote]
method = local
Cores = 4
"""


def settings_of(here: Path, text: str, **overrides: object):
    (here / "site.cfg").write_text(text.replace("{here}", str(here)))
    return load_settings(here / "field.parset", Overrides(config=str(here / "site.cfg"), **overrides))


def by_key(facts: dict) -> dict[str, tuple[str, str]]:
    return {f"{one['section']}.{one['key']}": (one["value"], one["source"]) for one in facts["values"]}


def test_values_have_file_and_line(tmp_path: Path) -> None:
    facts = configuration_facts(settings_of(tmp_path, CFG), {})
    file = f"{tmp_path}/site.cfg"
    found = by_key(facts)
    assert facts["file"] == file
    assert facts["text"] == CFG.replace("{here}", str(tmp_path))
    assert found["DEFAULT.runtime_directory"] == (str(tmp_path), f"{file}:3")
    assert found["DEFAULT.working_directory"] == (str(tmp_path), f"{file}:4")
    assert found["remote.cores"] == ("4", f"{file}:8")


def test_missing_keys_have_built_in_values(tmp_path: Path) -> None:
    found = by_key(configuration_facts(settings_of(tmp_path, CFG), {}))
    assert found["remote.max_per_node"] == ("0", "built in")
    assert found["report.checksum_limit_gb"] == ("1.0", "built in")
    assert "remote.cores" in found


def test_command_line_is_a_source(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    settings = settings_of(tmp_path, CFG, runtime_directory=str(other))
    found = by_key(configuration_facts(settings, {"runtime_directory": str(other)}))
    assert found["DEFAULT.runtime_directory"] == (str(other), "command line")


def test_command_line_is_source_of_missing_keys(tmp_path: Path) -> None:
    text = CFG.replace("Cores = 4\n", "")
    facts = configuration_facts(settings_of(tmp_path, text, cores=2), {"cores": "2", "task_file": "[]"})
    assert by_key(facts)["remote.cores"] == ("2", "command line")
    text += "[DEFAULT]\ntask_files = []\n"
    facts = configuration_facts(settings_of(tmp_path, text), {"task_file": "[]"})
    assert by_key(facts)["DEFAULT.task_files"] == ("[]", "command line")


def test_key_lines_are_found() -> None:
    text = "[a]\nx = 1\n  continued = no\n; y = 2\n# z = 3\ny: [1=2]\n[b]\nx = 1\nx = 2\n"
    assert lines_of(text) == {("a", "x"): 2, ("a", "y"): 6, ("b", "x"): 9}


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("2.5", 2_500_000_000), ("1e-6", 1000)])
def test_checksum_limit_converts_to_bytes(tmp_path: Path, text: str, limit: int) -> None:
    assert checksum_limit_bytes(settings_of(tmp_path, f"{CFG}[report]\nchecksum_limit_gb = {text}\n")) == limit


def test_checksum_limit_has_a_default(tmp_path: Path) -> None:
    assert checksum_limit_bytes(settings_of(tmp_path, CFG)) == 1_000_000_000


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf", ""])
def test_invalid_checksum_limit_is_refused(tmp_path: Path, text: str) -> None:
    settings = settings_of(tmp_path, f"{CFG}[report]\nchecksum_limit_gb = {text}\n")
    with pytest.raises(PipelineError, match=rf"site.cfg:\d+: \[report\] checksum_limit_gb is '{text}'; a number of GB"):
        checksum_limit_bytes(settings)
