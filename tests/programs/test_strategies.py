"""Strategies of AOFlagger by name."""

from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.dp3 import find_strategy


def test_strategies_are_found_by_name(tmp_path):
    (tmp_path / "mine.lua").write_text("")
    assert find_strategy(str(tmp_path / "mine.lua")) == str(tmp_path / "mine.lua")
    assert Path(find_strategy("generic-default.lua")).is_file()
    with pytest.raises(PipelineError, match=r"strategy: there is no file .*none\.lua"):
        find_strategy(str(tmp_path / "none.lua"))
    with pytest.raises(PipelineError, match=r"has: .*lofar-default\.lua.*did you mean 'generic-default\.lua'"):
        find_strategy("generic-defalt.lua")
