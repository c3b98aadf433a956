"""Jobs on ssh hosts without an installation: a shell script supervises them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lofarpipe.errors import CheckFailed, Finding

if TYPE_CHECKING:
    from lofarpipe.config import Settings
    from lofarpipe.jobs import Executor

SECTION = "ssh"
TAKES_OVER = True
OF_DASK = "method = ssh reads [ssh]; workers of Dask over ssh are method = dask, with launcher = ssh in [dask]"


def section_type() -> type:
    """Return the dataclass of the section."""
    from lofarpipe.executors.ssh.options import SshOptions

    return SshOptions


def make(settings: Settings) -> Executor:
    """Return an executor, not yet connected to any host."""
    from lofarpipe.executors.factory import orders_directory, own_keys, section_options
    from lofarpipe.executors.ssh.executor import SshExecutor
    from lofarpipe.executors.ssh.options import SshOptions

    try:
        options = section_options(SshOptions, settings, SECTION)
    except CheckFailed as err:
        if own_keys(settings, "dask").get("hosts") and not own_keys(settings, SECTION):
            raise CheckFailed([*err.findings, Finding(settings.where("remote", "method"), OF_DASK)]) from err
        raise
    return SshExecutor(options, orders_directory(settings))
