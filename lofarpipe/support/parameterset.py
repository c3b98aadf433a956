"""The names of ``lofar.parameterset``, for scripts that import it. Source: doc/spec/lofarpipe.md, section 5.3."""

from __future__ import annotations

from lofarpipe.support.parset import Parset, Value

__all__ = ["PyParameterSet", "PyParameterValue", "parameterset", "parametervalue"]
__path__: list[str] = []  # lofar.parameterset._pyparameterset, where the C++ classes were, is this module too

parameterset = PyParameterSet = Parset
parametervalue = PyParameterValue = Value
