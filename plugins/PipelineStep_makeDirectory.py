"""A directory for results."""

from pathlib import Path

from lofarpipe.errors import PipelineError

OUTPUTS = ()


def plugin_main(args, directory, **kwargs):
    """Create a directory and its parents, unless it exists; no outputs.

    Parameters
    ----------
    directory : str
        The directory; a relative name starts where the pipeline was started.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except FileExistsError as err:
        raise PipelineError(f"{directory}: exists, but is no directory; remove it, or give another name") from err
    except OSError as err:
        raise PipelineError(f"{directory}: cannot be made: {err.strerror}") from err
    return {}
