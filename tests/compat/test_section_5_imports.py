"""Imports of third-party plugins and scripts, in engine and jobs (doc/spec/lofarpipe.md, sections 5.3 and 7.4)."""

import re

import pytest

IMPORTS = """\
import lofar.parameterset
import lofarpipe.support.data_map
from lofar.parameterset import parameterset
from lofar.parameterset._pyparameterset import PyParameterValue
from lofarpipe.support import clusterdesc
from lofarpipe.support import data_map as maps
from lofarpipe.support.clusterdesc import ClusterDesc
from lofarpipe.support.data_map import *
from lofarpipe.support.data_map import DataMap, DataProduct, MultiDataMap, MultiDataProduct
from lofarpipe.support.lofarexceptions import PipelineException
from lofarpipe.support.lofaringredient import FileField, StringField
from lofarpipe.support.lofarnode import LOFARnodeTCP
from lofarpipe.support.parset import Parset, patched_parset
from lofarpipe.support.pipelinelogging import CatchLog4CPlus, getSearchingLogger, log_time
from lofarpipe.support.utilities import catch_segfaults, create_directory
import pyrap.tables as pt
from pyrap.tables import table, taql
try:
    import lofar.parmdb as lp
except ImportError as err:
    why = str(err)
found = [pt.table is table, 'H5parm' in why, parameterset().size(), maps.DataMap is DataMap]
"""
STEPS = """
pipeline.steps = [x, s]
x.control.kind = plugin
x.control.type = p
s.control.type = pythonplugin
s.control.executable = @/my/scripts/r.py
s.control.mapfile_in = @/data/one
s.control.inputkey = in
s.argument.flags = [in]
"""


@pytest.mark.parametrize("first", ["", "print 'old'\n"])
def test_old_imports_work(site, monkeypatch, first):
    """Sections 5.3 and 7.4: of both Pythons, without anything of LOFAR and without PYTHONPATH."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    site.mapfile("one", "/d/a.MS")
    for path, name in ((site.plugin("p"), "p"), (site.script("r.py"), "r.py")):
        called = path.read_text().replace(f"record({name!r}, [args], kwargs)", f"record({name!r}, found, kwargs)")
        path.write_text(
            first + IMPORTS + called.replace(f"record({name!r}, args, kwargs)", f"record({name!r}, found, kwargs)")
        )
    assert site.run(STEPS) == 0
    assert site.args() == [[True, True, 0, True]] * 2


@pytest.mark.parametrize("module", ["lofar.stationresponse", "lofar.parmdb", "lofar.nothing"])
def test_missing_module_names_line(site, error, module):
    """Section 5.3: with the file, the line, and a remedy."""
    site.plugin("p", f"import {module}")
    assert site.run(STEPS.replace("[x, s]", "[x]")) == 1
    told = rf"PipelineStep_p\.py:9: the plugin failed: ModuleNotFoundError: [Nn]o module (named )?'{module}'"
    assert re.search(told, error())
