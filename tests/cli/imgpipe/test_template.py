"""The template and the schema agree with the reader of the file."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lofarpipe.cli.imgpipe.settings import SECTIONS, WSCLEAN_DEFAULTS, read_imaging_settings
from lofarpipe.cli.imgpipe.template import WSCLEAN_KEYS, schema, template

SCHEMA: dict[str, Any] = json.loads(schema())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_template_has_no_findings(tmp_path: Path) -> None:
    (tmp_path / "img.toml").write_text(template())
    settings, findings = read_imaging_settings(tmp_path / "img.toml")
    assert findings == []
    assert settings.wsclean()["channels-out"].value == "all"


KEYS = {
    "worker": {
        *("nodes", "max_concurrent", "env_file", "dry_run", "debug", "run_on_file_host", "run_on_file_host_pattern"),
        *("max_time", "slurm_options", "slurm_nodes", "resources"),
    },
    "data_handler": {"config_file", "data_level"},
    "wsclean": {"name", "out-dir", "channels-out", "pol", "weight", "data-column"},
}


def test_uncommented_template_has_every_key(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[\[\w])", "", template(), flags=re.MULTILINE)
    (tmp_path / "img.toml").write_text(text)
    (tmp_path / "base.toml").touch()
    assert read_imaging_settings(tmp_path / "img.toml")[1] == []
    tables = tomllib.loads(text)
    assert VALIDATOR.is_valid(tables)
    for section, keys in SECTIONS.items():
        assert {key.name for key in keys} <= set(tables[section])
        assert KEYS[section] <= set(tables[section])
    assert tables["worker"]["resources"] == {"heavy": {"cpus": 12, "mem": "40GB"}}
    for section, key in ((section, key) for section, keys in KEYS.items() for key in keys):
        assert key in SCHEMA["properties"][section]["properties"]
    assert {"numthreads", "use_state_file", "state_dir", "force"} <= set(SCHEMA["properties"]["worker"]["properties"])
    assert set(WSCLEAN_DEFAULTS) <= set(WSCLEAN_KEYS)


def test_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("", True),
        (template(), True),
        ("[worker]\nnodes = 'a'\nmax_time = 3\nforce = true\n[worker.resources.heavy]\ncpus = 2\n", True),
        ("[wsclean]\nsize = [1, 2]\nmultiscale = true\n", True),
        ("[wsclean]\nchannels-out = 'every 2'\n", True),
        ("[wsclean]\nchannels-out = false\n", True),
        ("[wsclean.x]\na = 1\n", False),
        ("[worker]\nmax_concurrent = 0\n", False),
        ("[worker]\nnode = 'a'\n", False),
        ("[wclean]\n", False),
    ],
)
def test_schema_and_reader_agree(tmp_path: Path, text: str, is_right: bool) -> None:
    tables: dict[str, Any] = tomllib.loads(text)
    assert VALIDATOR.is_valid(tables) == is_right
    (tmp_path / "img.toml").write_text(text)
    assert (read_imaging_settings(tmp_path / "img.toml")[1] == []) == (is_right or "wsclean.x" in text)


@pytest.mark.parametrize("value", ["all", "every 2", "every3", 4, "4", False])
def test_schema_accepts_output_channels(value: object) -> None:
    assert VALIDATOR.is_valid({"wsclean": {"channels-out": value}})


@pytest.mark.parametrize("value", ["every", "every 0", "some", 0, -3, True, [4]])
def test_schema_refuses_output_channels(value: object) -> None:
    assert not VALIDATOR.is_valid({"wsclean": {"channels-out": value}})
