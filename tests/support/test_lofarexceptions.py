import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.support import lofarexceptions


@pytest.mark.parametrize(
    "name",
    ["PipelineException", "PipelineRecipeFailed", "PipelineQuit", "ClusterError", "ExecutableMissing", "DataMapError"],
)
def test_historical_exceptions_share_base(name):
    error = getattr(lofarexceptions, name)
    assert issubclass(error, lofarexceptions.PipelineException)
    assert issubclass(error, PipelineError)
    assert str(error("what")) == "what"
