"""``genericpipeline.py repeat run.json``: the same run again, in a job directory of its own, and the differences."""

from __future__ import annotations

import argparse
import configparser
import importlib.metadata
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lofarpipe.archive.checksums import describe_files
from lofarpipe.archive.compare import compare_products, is_repeated, report_lines
from lofarpipe.archive.record import FILE_NAME, SCHEMA_VERSION, read_run_record
from lofarpipe.archive.software import program_checksum, runner_facts, version_of
from lofarpipe.config import job_directory_of, share_directory
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.signals import raise_on_signals
from lofarpipe.programs.base import program_key, program_of
from lofarpipe.programs.find import find, job_environment
from lofarpipe.state.fingerprints import named_paths
from lofarpipe.support.config_file import reference_problem
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.usage import Reader
from lofarpipe.support.utilities import write_atomically

SHOWN = 5


def check_inputs(inputs: Sequence[Facts]) -> None:
    """Compare the inputs with their record; files of unchanged size and time are not read.

    Raises
    ------
    PipelineError
        If inputs are missing or changed; the message names the first ones.
    """
    entries = {entry["path"]: entry for entry in inputs}
    methods = {path: entry["checksum"]["method"] for path, entry in entries.items()}
    now = {entry["path"]: entry for entry in describe_files(entries, 0, entries, methods)}
    changes = {path: _change(entry, now.get(path)) for path, entry in entries.items()}
    if wrong := [f"{path} {change}" for path, change in changes.items() if change]:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise PipelineError(
            f"{len(wrong)} of {len(inputs)} inputs are not what they were: {'; '.join(wrong[:SHOWN])}{more}; "
            "put them back, or repeat with --anyway"
        )


def _change(recorded: Facts, now: Facts | None) -> str:
    """Return the change of an input; empty if it is the same."""
    if now is None:
        return "is not there"
    if now["bytes"] != recorded["bytes"]:
        return f"has {now['bytes']} bytes instead of {recorded['bytes']}"
    return "" if now["checksum"] == recorded["checksum"] else "has another content"


def changed_software(software: Facts) -> list[str]:
    """Return the changes of software since the recorded run, as sentences with both versions."""
    return [*_runner(software["runner"]), *_programs(software["programs"]), *_packages(software["packages"])]


def _runner(recorded: Facts) -> list[str]:
    now = runner_facts()
    if now["version"] != recorded["version"]:
        return [f"genericpipeline is {now['version']} now, and was {recorded['version']}"]
    if now["commit"] != recorded["commit"]:
        return [f"genericpipeline is of commit {now['commit']} now, and was of {recorded['commit']}"]
    if now["has_changes"] or recorded["has_changes"]:
        return ["genericpipeline has, or had, changes that are in no commit"]
    return []


def _programs(programs: Sequence[Facts]) -> list[str]:
    changes = []
    for program in programs:
        path = _path(program)
        if path is None:
            changes.append(f"{program['name']} was {program['path']}, which is not there")
        elif program["version"] is not None:
            now = version_of(path, program_key(program["name"]))
            if now != program["version"]:
                changes.append(f"{program['name']} is {now} now ({path}), and was {program['version']}")
        elif program.get("sha256") not in (None, program_checksum(path)):
            changes.append(f"{program['name']} ({path}) is not the file that it was")
    return changes


def _path(program: Facts) -> Path | None:
    """Return the current path of a program; known programs are looked up again, as in a run."""
    try:
        name = Path(program["path"]).name
        program_type = program_of(name)  # it may have another name on this machine
        return find(program_type.task.get("executable", name) if program_type else name)
    except PipelineError:
        return Path(program["path"]) if Path(program["path"]).is_file() else None


def _packages(packages: Sequence[Facts]) -> list[str]:
    changes = []
    for package in packages:
        try:
            now = importlib.metadata.version(package["name"])
        except importlib.metadata.PackageNotFoundError:
            now = "not installed"
        if now != package["version"]:
            changes.append(f"{package['name']} is {now} now, and was {package['version']}")
    return changes


Facts = dict[str, Any]

EXIT_DIFFERS = 1


def main(arguments: Sequence[str]) -> int:
    """Run the sub-command; return 0 if every product is the same, 1 if the run failed or something differs.

    Raises
    ------
    PipelineError
        If the record cannot be read or repeated, or an input has changed.
    """
    options = _parser().parse_args(arguments)
    record = load_record(job_directory_of(options.record, options.config))
    plan = plan_repeat(record, options)
    if not options.anyway:
        check_inputs(record["inputs"])
    for warning in changed_software(record["software"]):
        print(f"warning: {warning}", file=sys.stderr)
    status = _run(plan)
    if status:
        return status
    compared = compare_products(record, load_record(plan.job_directory / FILE_NAME))
    print(*report_lines(compared), sep="\n")
    return 0 if is_repeated(compared, options.exactly) else EXIT_DIFFERS


def _parser() -> argparse.ArgumentParser:
    parser = Reader(
        prog="genericpipeline.py repeat", description="Repeats the run of a run.json, and reports differences."
    )
    parser.add_argument("record", help="run.json, the job directory that holds it, or the parset of the run")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration with which the parset was run")
    parser.add_argument("-j", "--job-name", metavar="NAME", help="name of the run; default: <job>-repeat")
    parser.add_argument("-r", "--runtime-directory", metavar="DIR", help="default: that of the first run")
    parser.add_argument("-w", "--working-directory", metavar="DIR", help="default: that of the first run")
    parser.add_argument("-s", "--set", metavar="KEY=VALUE", action="append", default=[], help="option to change")
    parser.add_argument("--anyway", action="store_true", help="run even if inputs have changed")
    parser.add_argument("--exactly", action="store_true", help="report rounding differences, too")
    volume = parser.add_mutually_exclusive_group()
    for flag, name in (("-q", "--quiet"), ("-v", "--verbose"), ("-d", "--debug")):
        volume.add_argument(flag, name, action="store_true", help="as for a run")
    return parser


def load_record(path: Path) -> Facts:
    """Return the record in a file, or in a job directory.

    Raises
    ------
    PipelineError
        If it is missing, or not a record of this version.
    """
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise PipelineError(f"{path}: no such record; name the run.json of a job directory")
    record = read_run_record(path, None)
    if not isinstance(record, dict) or "parset" not in record or "run" not in record:
        raise PipelineError(f"{path}: not a record of a run; name the run.json of a job directory")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise PipelineError(
            f"{path}: schema version {record.get('schema_version')}; this version reads {SCHEMA_VERSION} only"
        )
    return record


@dataclass(frozen=True)
class RepeatPlan:
    """The run to repeat."""

    argv: list[str]
    directory: Path  # where
    job_directory: Path


def plan_repeat(record: Facts, options: argparse.Namespace) -> RepeatPlan:
    """Write parset and configuration of the repetition below its job directory, and return the command.

    Raises
    ------
    PipelineError
        If the parset is incomplete, the job directory is the first run's, or products would be overwritten.
    """
    if lost := record["parset"]["lost"]:
        raise PipelineError(f"this run cannot be repeated: its record has not the values of {', '.join(lost)}")
    _refuse_delivered(record, options.set)
    run = record["run"]
    name = options.job_name or f"{run['job']}-repeat"
    runtime = str(Path(options.runtime_directory or _first(record, "runtime_directory")).absolute())
    working = str(Path(options.working_directory or _first(record, "working_directory")).absolute())
    config = repeated_config(record)
    job_directory = _job_directory(config, name, runtime, working)
    if str(job_directory) == run["job_directory"] or str(Path(working, name)) == run["working_directory"]:
        raise PipelineError(f"{job_directory}: that is the run to repeat; give another job name with -j")
    parset, config_file = _write(job_directory / "repeat", record, config)
    directory = Path(record["command"]["directory"])
    sites = ["-c", str(config_file), "-j", name, "-r", runtime, "-w", working]
    words = [str(parset), *sites, *_lasting_options(record), *(f"--set={text}" for text in options.set)]
    words += [f"--{name}" for name in ("quiet", "verbose", "debug") if getattr(options, name)]
    argv = [sys.executable, "-P", "-m", "lofarpipe.cli", *words]
    return RepeatPlan(argv, directory if directory.is_dir() else Path.cwd(), job_directory)


def _first(record: Facts, key: str) -> str:
    """Return a directory of the configuration as it was for the first run."""
    values = {one["key"]: one["value"] for one in record["configuration"]["values"] if one["section"] == "DEFAULT"}
    if key in values:
        return str(Path(record["command"]["directory"], values[key]))
    where = "job_directory" if key == "runtime_directory" else "working_directory"
    return str(Path(record["run"][where]).parent)


def _lasting_options(record: Facts) -> list[str]:
    """Return the options of the first command line that apply to repetitions."""
    overrides = record["command"]["overrides"]
    flags = ["--lenient"] if "lenient" in overrides else []
    names = ("task_file", "cores", "memory_gb")
    return flags + [f"--{name.replace('_', '-')}={overrides[name]}" for name in names if name in overrides]


def _refuse_delivered(record: Facts, assignments: Sequence[str]) -> None:
    """Refuse to overwrite deliveries of the first run outside of its directories, unless they go elsewhere now."""
    run = record["run"]
    ours = tuple(f"{run[key]}/" for key in ("job_directory", "working_directory"))
    inputs = {entry["path"] for entry in record["inputs"]}
    outside = {entry["path"] for entry in record["products"] if not entry["path"].startswith(ours)} - inputs
    changed = {text.partition("=")[0].strip() for text in assignments}
    directory = Path(record["command"]["directory"])
    for option in record["options"]:
        deliveries = named_paths(option["value"], directory) & outside
        if option["name"] in changed:
            outside -= deliveries
        elif deliveries:
            raise PipelineError(
                f"{sorted(deliveries)[0]}: the first run delivered it, and a repetition would overwrite it; "
                f"give other names with -s {option['name']}=..."
            )


def repeated_config(record: Facts) -> str:
    """Return the configuration of the first run, with its current directory, and with the plugins beside its parset."""
    directory = record["command"]["directory"].replace("%", "%%")
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(record["configuration"]["text"].replace("%(cwd)s", directory))
    beside = dict.fromkeys(str(Path(entry["path"]).parent) for entry in record["parset"]["files"])
    shipped = str(share_directory())
    more = [path for path in beside if path != shipped and Path(path, "plugins").is_dir()]
    directory_list = parser.defaults().get("recipe_directories", "").strip("[] ")
    everything = [*([directory_list] if directory_list else []), *(path.replace("%", "%%") for path in more)]
    parser["DEFAULT"]["recipe_directories"] = f"[{', '.join(everything)}]"
    output = io.StringIO()
    parser.write(output)
    return output.getvalue()


def _job_directory(config: str, name: str, runtime: str, working: str) -> Path:
    defaults = {"job_name": name, "start_time": "", "share": str(share_directory()).replace("%", "%%")}
    parser = configparser.ConfigParser(defaults=defaults, strict=False)
    parser.read_string(config)
    parser["DEFAULT"]["runtime_directory"] = runtime.replace("%", "%%")
    parser["DEFAULT"]["working_directory"] = working.replace("%", "%%")
    try:
        return Path(parser.get("layout", "job_directory", fallback=str(Path(runtime, name)))).absolute()
    except configparser.Error as err:
        raise PipelineError(f"the configuration of the first run cannot be used: {reference_problem(err)}") from err


def _write(folder: Path, record: Facts, config: str) -> tuple[Path, Path]:
    """Write parset and configuration; the parset keeps its name, for steps may refer to it."""
    parset, config_file = folder / Path(record["parset"]["path"]).name, folder / "pipeline.cfg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(parset, record["parset"]["text"])
        write_atomically(config_file, config)
    except OSError as err:
        raise PipelineError(f"{folder}: cannot be written: {err.strerror}; choose another place with -r") from err
    return parset, config_file


def _run(plan: RepeatPlan) -> int:
    """Run the command in the first run's directory; signals that end this process end it too.

    Raises
    ------
    Interrupted
        After SIGTERM or SIGHUP; the run has ended then.
    """
    environment = {**os.environ, **job_environment(is_ours=False)}
    with raise_on_signals():
        process = subprocess.Popen(plan.argv, cwd=plan.directory, env=environment)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
