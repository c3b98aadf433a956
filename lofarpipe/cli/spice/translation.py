"""Options of a command line, a YAML file or a Python caller as a parset on askap.parset."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lofarpipe.cli.spice.cluster import Cluster, expanded_folder
from lofarpipe.cli.spice.config import Config, OptionSetting
from lofarpipe.cli.spice.table import NONE, PIPELINE, operations, spice_options
from lofarpipe.errors import Finding, UsageError
from lofarpipe.pipeline.preflight import Translation
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Parset
from lofarpipe.support.parset_text import Entry

RECORDS = "spice.runs"  # folder below datadir, for the job directories
LONGEST_LABEL = 60  # characters of the name of a job directory before its digest
COMMAND_LINE = "command line"
FOLDERS = ("msdir", "datadir", "temp_dir_wsclean", "temp_dir_images")
CONTAINERS = ("hosted_wsclean", "local_wsclean")
#: The steps that run WSClean, to which the job settings of a cluster file apply.
IMAGE_STEPS = ("image_i", "image_polarisation")


@dataclass(frozen=True)
class ImagingRequest:
    """The request for one run of the imager.

    Attributes
    ----------
    program: spice_image or spice_process; the parset is called after it.
    settings: option -> value, of the options set.
    field: name of the run; "": the name of the sets' folder.
    """

    program: str
    settings: Mapping[str, OptionSetting]
    field: str = ""
    config: Config | None = None
    cluster: Cluster | None = None
    job_dir: str = ""
    notices: tuple[str, ...] = ()


def typed_settings(options: argparse.Namespace, prefix: str) -> dict[str, OptionSetting]:
    """Return the pipeline options set on a command line."""
    values = {name: getattr(options, f"{prefix}{name}", None) for name in spice_options()}
    return {name: OptionSetting(text, COMMAND_LINE) for name, text in values.items() if text is not None}


def merge_options(typed: Mapping[str, OptionSetting], config: Config | None) -> dict[str, OptionSetting]:
    """Merge the command line's options over a file's; one kind of WSClean replaces the other."""
    table = spice_options()
    below = {name: setting for name, setting in config.settings.items() if name in table} if config else {}
    if any(name in typed for name in CONTAINERS):
        below = {name: setting for name, setting in below.items() if name not in CONTAINERS}
    return {**below, **typed}


def spice_translation(request: ImagingRequest, options: argparse.Namespace) -> Translation:
    """Return the parset of a request; ``options`` learn the name of the run, and when it began.

    Raises
    ------
    UsageError
        If a name cannot be written into a parset.
    """
    settings = {name: _absolute_value(name, setting) for name, setting in request.settings.items()}
    job_directory = records_of_beams(request, settings)
    options.job_name = options.job_name or job_directory.name
    options.start_time = options.start_time or time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    parset = spice_parset(settings, request)
    sections = _sections(request.cluster)
    sections |= _layout(job_directory, Path(settings["datadir"].text), options.start_time, request.cluster)
    copies = {one.path.name: one.text for one in (request.cluster, request.config) if one is not None}
    warnings = [Finding(*_split(text), is_warning=True) for text in request.notices]
    path = job_directory / f"{request.program}.parset"
    return Translation(path, parset, sections, warnings=warnings, copies=copies)


def _split(text: str) -> tuple[str, str]:
    where, _, problem = text.partition(": ")
    return where, problem


def polarisations(options: argparse.Namespace) -> str:
    """Return the letters of the polarisations of a run."""
    typed = [value for key, _, value in (text.partition("=") for text in options.set) if key.strip() == "pols"]
    return str([options.translation.parset.get("! pols") or spice_options()["pols"].default, *typed][-1])


# ---- names


def _absolute_value(name: str, setting: OptionSetting) -> OptionSetting:
    """Return the value of an option; paths become absolute, unless they start with a variable of the job."""
    text = setting.text
    if name in FOLDERS and text.startswith("$"):  # as a definition it would be replaced on this machine
        return replace(setting, text=re.sub(r"\$(?:\{(\w+)\}|(\w+))", r"$(\1\2)", text))
    if name in FOLDERS and text != NONE:
        return replace(setting, text=os.path.abspath(text))  # noqa: PTH100 - trailing slashes and .. go
    if name == "local_wsclean" and text != NONE:
        return replace(setting, text=program_path(setting))
    return setting


def program_path(setting: OptionSetting) -> str:
    """Return the path of a container or program: from the current directory, the file's directory, or PATH."""
    beside = Path(setting.file).parent / setting.text
    existing_path = next((str(path) for path in (Path(setting.text), beside) if path.exists()), "")
    on_path = shutil.which(setting.text) if "/" not in setting.text else None
    return os.path.abspath(existing_path or on_path or setting.text)  # noqa: PTH100


def records_of_beams(request: ImagingRequest, settings: Mapping[str, OptionSetting]) -> Path:
    """Return the directory of a run's records, named after its sets, below the images.

    Repeating a command therefore resumes its run, and runs on other sets can go on at the same time.
    """
    if request.job_dir:
        return Path(request.job_dir).absolute()
    msdir = settings["msdir"].text
    pattern = settings.get("ms_glob_pattern", OptionSetting("", ""))
    identity = "\n".join((os.path.realpath(msdir), pattern.text, request.field))
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()
    label = re.sub(r"[^A-Za-z0-9_.+-]+", "_", request.field or Path(msdir).name).strip("._-")[:LONGEST_LABEL]
    return Path(settings["datadir"].text) / RECORDS / f"{label or 'run'}-{digest[:8]}"


# ---- the parset and the site


def spice_parset(settings: Mapping[str, OptionSetting], request: ImagingRequest) -> Parset:
    """Return the pipeline options set, and the keys of single operations.

    Raises
    ------
    UsageError
        If a value cannot be written into a parset.
    """
    cluster, all_settings = request.cluster, {**settings}
    if cluster:
        all_settings.setdefault("beams_at_once", cluster.beams_at_once)
    if cluster and cluster.scratch:
        all_settings.setdefault("temp_dir_wsclean", _absolute_value("temp_dir_wsclean", cluster.scratch))
    parset = Parset()
    parset.set("pipeline.base", PIPELINE)
    for name in [name for name in spice_options() if name in all_settings]:
        parset.set(
            f"! {name}", _parset_text(name, all_settings[name]), all_settings[name].file, all_settings[name].line
        )
    for step in IMAGE_STEPS if cluster else ():
        for key in ("cores", "memory_gb"):
            if setting := getattr(cluster, key):
                parset.set(f"{step}.control.{key}", setting.text, setting.file, setting.line)
    for step, step_settings in (request.config.of_operations if request.config else {}).items():
        for name, setting in step_settings.items():
            for key, value in operations()[step][name].items():
                text = parset.get(key) or value
                text = text.replace(f"{{{{ {name} }}}}", _parset_text(name, setting))
                parset.set(key, text, setting.file, setting.line)
    return parset


def _parset_text(name: str, setting: OptionSetting) -> str:
    """Return a value as the text of a parset, with quotes where it needs them."""
    text = setting.text
    if not re.search("[\"'#=]", text):
        return text
    quote = "'" if '"' in text else '"'
    if quote in text:
        raise UsageError(f"{setting.where}: {name} is {text}; it has both kinds of quotes, rename it")
    return f"{quote}{text}{quote}"


def _sections(cluster: Cluster | None) -> dict[str, dict[str, Entry]]:
    return {
        section: {key: Entry(key, one.text, one.file, one.line) for key, one in keys.items()}
        for section, keys in (cluster.sections if cluster else {}).items()
    }


def _layout(
    job_directory: Path, datadir: Path, start_time: str, cluster: Cluster | None
) -> dict[str, dict[str, Entry]]:
    """Return the directories for records, logs and work; none is the current directory.

    Jobs work in the folder of the images, so that a missing image is made again.
    """
    logs = job_directory / "logs" / start_time
    if cluster and cluster.log_directory:
        logs = expanded_folder(cluster.log_directory) / f"{job_directory.name}-{start_time}"
    layout = {"job_directory": job_directory, "job_workdir": datadir}
    logging = {"log_file": logs / "pipeline.log", "xml_stat_file": logs / "statistics.xml"}
    return {
        section: {key: Entry(key, str(path), COMMAND_LINE, 0) for key, path in paths.items()}
        for section, paths in (("layout", layout), ("logging", logging))
    }
