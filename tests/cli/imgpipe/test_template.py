"""The template and the schema say what the reader of the file accepts."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lofarpipe.cli.imgpipe.settings import SECTIONS, read_imaging_settings
from lofarpipe.cli.imgpipe.template import schema, template


def test_template_is_read_without_a_finding(tmp_path: Path) -> None:
    (tmp_path / "img.toml").write_text(template())
    settings, findings = read_imaging_settings(tmp_path / "img.toml")
    assert findings == []
    assert settings.wsclean()["channels-out"].value == "all"


def test_template_without_its_comments_has_every_key(tmp_path: Path) -> None:
    text = template().replace("\n#", "\n").replace("base.toml", "none").removeprefix("#")
    text = "\n".join(line for line in text.splitlines() if not line.startswith((" ", "a list", "default_settings")))
    text = text.replace("max_time = 0", "max_time = 1")
    (tmp_path / "img.toml").write_text(text)
    assert read_imaging_settings(tmp_path / "img.toml")[1] == []
    tables = tomllib.loads(text)
    for section, keys in SECTIONS.items():
        assert {key.name for key in keys} <= set(tables[section])


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("", True),
        (template(), True),
        ("[worker]\nnodes = 'a'\nmax_time = 3\nforce = true\n[worker.resources.heavy]\ncpus = 2\n", True),
        ("[wsclean]\nsize = [1, 2]\nmultiscale = true\n", True),
        ("[wsclean.x]\na = 1\n", False),
        ("[worker]\nmax_concurrent = 0\n", False),
        ("[worker]\nnode = 'a'\n", False),
        ("[wclean]\n", False),
    ],
)
def test_schema_and_reader_agree(tmp_path: Path, text: str, is_right: bool) -> None:
    tables: dict[str, Any] = tomllib.loads(text)
    assert jsonschema.Draft202012Validator(json.loads(schema())).is_valid(tables) == is_right
    (tmp_path / "img.toml").write_text(text)
    assert (read_imaging_settings(tmp_path / "img.toml")[1] == []) == (is_right or "wsclean.x" in text)
