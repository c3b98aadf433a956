"""The imaging of spice_process: options from a YAML file, jobs on the cluster of a second YAML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.cli.spice.table import PROCESS_OPTIONS
from lofarpipe.cli.spice.words import PREFIX, SpiceFrontEnd, add_options, add_spellings
from lofarpipe.errors import UsageError

if TYPE_CHECKING:
    from lofarpipe.cli.spice.cluster import Cluster
    from lofarpipe.cli.spice.config import Config
    from lofarpipe.pipeline.preflight import Translation

ONLY = "--imager_only is needed, or 'imager_only: true' in the file: only imaging is built here"


def _file_setting(config: Config | None, name: str) -> str:
    setting = config.settings.get(name) if config else None
    return setting.text if setting else ""


def _cluster(typed: str | None, config: Config | None) -> Cluster | None:
    """Return the settings of the cluster file: the path as typed, else beside the YAML file naming it."""
    from lofarpipe.cli.spice.cluster import read_cluster

    name = typed or _file_setting(config, "imager_dask_config")
    if name in ("", "none"):
        return None
    path = Path(name)
    if not typed and config and not path.exists() and (beside := config.path.parent / path).exists():
        path = beside
    return read_cluster(path)


class SpiceProcess(SpiceFrontEnd):
    """The command line of spice_process."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of spice_process."""
        add_options(parser, PROCESS_OPTIONS, "name of the run; images are called after the field of their set")
        parser.add_argument("--config", dest="yaml", metavar="FILE", help="YAML file of these options")
        add_spellings(parser)

    def translate(self, options: argparse.Namespace) -> Translation:
        """Return the command line and the YAML file as a parset.

        Raises
        ------
        UsageError
            If the file is invalid, or requests more than imaging.
        """
        from lofarpipe.cli.spice.config import read_config
        from lofarpipe.cli.spice.translation import ImagingRequest, merge_options, spice_translation, typed_settings

        config = read_config(Path(options.yaml)) if options.yaml else None
        if (options.spice_imager_only or _file_setting(config, "imager_only")) != "True":
            raise UsageError(ONLY)
        cluster = _cluster(options.spice_imager_dask_config, config)
        request = ImagingRequest(
            "spice_process",
            merge_options(typed_settings(options, PREFIX), config),
            options.spice_field,
            config,
            cluster,
            options.job_dir or "",
            tuple(cluster.notices if cluster else ()),
        )
        return spice_translation(request, options)


FRONT_END = SpiceProcess()
