"""doc/clusters.md against the program: its examples are read without a finding, and every key is on the page."""

import dataclasses
from pathlib import Path

import pytest

from doc_pages import REPOSITORY, Block, blocks, code_words, table
from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.errors import Finding
from lofarpipe.executors.dask.cluster import DaskOptions
from lofarpipe.executors.factory import REMOTE_KEYS, method_of, methods, own_keys
from lofarpipe.executors.slurm.client import SlurmOptions
from lofarpipe.executors.ssh.options import SshOptions
from lofarpipe.support.config_file import read_section, read_text, unknown_keys

PAGE = REPOSITORY / "doc" / "clusters.md"
CONFIGS = [block for block in blocks(PAGE) if block.kind == "config"]
SECTIONS = {"slurm": SlurmOptions, "dask": DaskOptions, "ssh": SshOptions}


def settings_of(text: str, here: Path) -> Settings:
    """Return the settings of a configuration of the page, its directories below ``here``."""
    for place in ("/data/runs", "/project/lofar/runs"):
        text = text.replace(place, str(here))
    (here / "pipeline.cfg").write_text(text)
    return load_settings(here / "image.parset", Overrides(config=str(here / "pipeline.cfg")))


def findings(settings: Settings) -> list[Finding]:
    """Return the findings in the sections that the method reads."""
    path = settings.config_file
    found = unknown_keys(path, "remote", own_keys(settings, "remote"), REMOTE_KEYS)
    for name, kind in SECTIONS.items():
        keys = own_keys(settings, name)
        if keys:
            found += read_section(kind, path, name, keys)[1]
    return found


@pytest.mark.parametrize("block", CONFIGS, ids=lambda block: block.name)
def test_examples_pass_the_check(block: Block, tmp_path: Path) -> None:
    settings = settings_of(block.text, tmp_path)
    assert method_of(settings) in methods()
    assert settings.job_directory == tmp_path / "image"
    assert findings(settings) == []


def test_every_method_has_an_example(tmp_path: Path) -> None:
    assert {method_of(settings_of(block.text, tmp_path)) for block in CONFIGS} == set(methods())


def test_misspelt_keys_are_found(tmp_path: Path) -> None:
    text = next(block.text for block in CONFIGS if "array_limit" in block.text)
    assert len(findings(settings_of(text.replace("array_limit", "array_limt"), tmp_path))) == 1
    assert len(findings(settings_of(text.replace("lost_retries", "lost_retry"), tmp_path))) == 1


def defaults_on_page(heading: str) -> dict[str, str]:
    return {word: row[1].strip("`") for row in table(PAGE, heading) for word in code_words(row[0])}


def test_page_lists_every_remote_key() -> None:
    assert sorted(defaults_on_page("| key | default |")) == sorted(REMOTE_KEYS)


@pytest.mark.parametrize("name", SECTIONS)
def test_page_lists_every_section_default(name: str) -> None:
    fields = {item.name: item for item in dataclasses.fields(SECTIONS[name])}
    shown = defaults_on_page(f"| key of `[{name}]` |")
    assert sorted(shown) == sorted(fields)
    for key, text in shown.items():
        default = fields[key].default
        if default in ("", (), dataclasses.MISSING):
            assert text == ""
        else:
            assert read_text(text, str(fields[key].type)) == default, key
