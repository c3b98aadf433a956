"""Translate the TOML file and the sets to a parset of two steps: list the groups, image them."""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lofarpipe.cli.imgpipe.groups import (
    OUT_DIR,
    Group,
    ImageJob,
    Translator,
    hosts_missing,
    make_groups,
    name_findings,
    pinned_host,
)
from lofarpipe.cli.imgpipe.observations import DataHandler, SetAt
from lofarpipe.cli.imgpipe.set_checks import SetChecks, read_frequencies
from lofarpipe.cli.imgpipe.settings import (
    RECORDS,
    WSCLEAN,
    ImgpipeSettings,
    is_assignment,
    read_imaging_settings,
    size_gb,
)
from lofarpipe.errors import CheckFailed, Finding, PipelineError, counted, findings_of
from lofarpipe.pipeline.preflight import Translation
from lofarpipe.programs.argv import wsclean as wsclean_words
from lofarpipe.support.config_file import parset_value
from lofarpipe.support.host_list import expand_hosts
from lofarpipe.support.parset import Parset
from lofarpipe.support.parset_text import Entry, escaped, unquote

IS_THERE = "is there"
LONGEST_NAME = 100  # characters of the name of a run
LONGEST_LABEL = 60  # characters of the name of a job directory before its digest
SHARED = "set out-dir to a directory that all hosts see, this one too"
LOCAL, SLURM, SSH = "local", "slurm", "ssh"
#: Words that stand for the files of a group in the arguments of the step.
WORD = "imgpipe_"
SETS, NAME, CHANNELS, SCRATCH, WORDS = (f"{WORD}{kind}" for kind in ("sets", "name", "channels", "scratch", "words"))
STEPS = f"""
pipeline.steps = [groups, image]
groups.control.kind = plugin
groups.control.type = imageGroups
groups.control.mapfile_dir = input.output.mapfile_dir
image.control.type = wsclean
image.control.mapfile_in = groups.output.sets.mapfile
image.control.mapfile_out = groups.output.names.mapfile
image.control.outputkey = {NAME}
image.control.as_given = True
image.control.one_try = True
image.control.list_products = True
image.control.byproducts = [psf, dirty, model, residual]
image.argument.name = {NAME}
"""


def imgpipe_translation(options: argparse.Namespace) -> Translation:
    """Return the parset of a command line, with findings and warnings.

    Raises
    ------
    CheckFailed, PipelineError
        If no parset can be made.
    """
    settings, findings = read_imaging_settings(options.config_file, list(filter(is_assignment, options.set)))
    options.set = [text for text in options.set if not is_assignment(text)]
    environment, variable_findings = job_variables(settings)
    sets, of_sets, warnings = find_sets(settings, options.sets)
    checks = SetChecks(settings, data_column(settings))
    wrong_sets = checks.problems([one.path for one in sets])
    sound = [one for one in sets if one.path not in wrong_sets]
    if options.skip_missing and sound:
        warnings += [f"{path}: {problem}; it is left out" for path, problem in wrong_sets.items()]
        options.is_incomplete, wrong_sets = bool(wrong_sets), {}
    findings += [*variable_findings, *of_sets, *(Finding(str(path), problem) for path, problem in wrong_sets.items())]
    groups, notices = make_groups(sound, options.combine, options.across)
    translator = Translator(settings, environment, Path.cwd(), read_frequencies)
    jobs = translator.jobs(groups)
    findings += [*translator.findings, *name_findings(jobs, settings)]
    image_findings, within = images_in_sets(settings, jobs)
    findings += [*unseen_findings(settings, checks.elsewhere, jobs), *place_findings(settings, jobs), *image_findings]
    if not jobs:
        raise CheckFailed(findings)
    options.dry_run = options.dry_run or settings["dry_run"] is True
    options.shows_commands = settings["debug"] is True
    own_sections = record_sections(options, settings, make_groups(sets, options.combine, options.across)[0])
    hosts, host_warnings = hosts_of(settings, jobs)
    warnings += [
        *within,
        *notices,
        *checks.warnings,
        *_old_options(options),
        *translator.notices,
        *host_warnings,
    ]
    history = configuration_history(settings, options.words) if settings["provenance"] is True else []
    parset = image_parset(settings, jobs, hosts, environment, history)
    warning_parts = (warning.partition(": ") for warning in warnings)
    notes = tuple(Finding(where, text, is_warning=True) for where, _, text in warning_parts)
    return Translation(
        options.config_file,
        parset,
        site_sections(settings) | own_sections,
        tuple(findings),
        notes,
        "image" if options.force else "",
    )


def _old_options(options: argparse.Namespace) -> list[str]:
    """Return warnings of options without effect."""
    return [] if options.nodes_mpi is None else ["--nodes_mpi: has no effect; hosts are in [worker] nodes"]


def print_sets(options: argparse.Namespace) -> int:
    """Print the matching sets, and whether each exists; return the exit status."""
    settings, findings = read_imaging_settings(options.config_file, list(filter(is_assignment, options.set)))
    sets, of_sets, notices = find_sets(settings, options.sets)
    if findings or of_sets:
        raise CheckFailed([*findings, *of_sets])
    pattern = str(settings["run_on_file_host_pattern"])
    rows = [("observation", "window", "host", "set", "state")]
    problems = SetChecks(settings, data_column(settings)).problems([one.path for one in sets])
    for one in sets:
        host = pinned_host(Group((one.path,)), re.compile(pattern)) if pattern else None
        state = problems.get(one.path, IS_THERE)
        rows.append((one.obs_id or "", one.window or "", host or "", str(one.path), state))
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    print(*notices, sep="\n", end="\n" if notices else "")
    return int(any(row[-1] != IS_THERE for row in rows[1:]))


# ---- environment


def job_variables(settings: ImgpipeSettings) -> tuple[Mapping[str, str], list[Finding]]:
    """Return the environment of the jobs, after env_file as it is on this machine, and findings about that file."""
    text = str(settings["env_file"])
    if not text:
        return os.environ, []
    path = settings.file(text)
    if not path.is_file():
        if settings["nodes"] in ("localhost", SLURM):
            return os.environ, [Finding(settings.where("env_file"), f"is {text!r}, and there is no file {path}")]
        return os.environ, []  # it is looked for on the hosts
    script = '. "$0" >/dev/null 2>&1; env -0'
    shell = shutil.which("bash") or "/bin/sh"
    finished = subprocess.run([shell, "-c", script, str(path.absolute())], capture_output=True, check=False)
    pairs = (pair.partition("=") for pair in os.fsdecode(finished.stdout).split("\0") if "=" in pair)
    return {name: value for name, _, value in pairs}, []


# ---- sets


def find_sets(settings: ImgpipeSettings, arguments: Sequence[str]) -> tuple[list[SetAt], list[Finding], list[str]]:
    """Return the sets of the arguments, findings about these, and notices."""
    file = str(settings["config_file"])
    if not file:
        return [SetAt(Path(os.path.normpath(argument))) for argument in arguments], [], []
    try:
        handler = DataHandler(settings.file(file))
    except PipelineError as err:
        return [], findings_of(err), []
    sets, findings, empty = handler.find(arguments, str(settings["data_level"]))
    if not sets and not findings:
        findings = [Finding(argument, "no set of it is there") for argument in arguments]
    return sets, findings, [*handler.notices(), *empty]


def data_column(settings: ImgpipeSettings) -> str:
    """Return the column to image; "" if it is not text."""
    value = settings.wsclean()["data-column"].value
    return "" if isinstance(value, bool) else str(value)


# ---- places


def images_in_sets(settings: ImgpipeSettings, jobs: Sequence[ImageJob]) -> tuple[list[Finding], list[str]]:
    """Return findings for images inside a measurement set, and warnings if out-dir requests that.

    The default of out-dir and the tokens of the set request it, and scripts rely on that.
    """
    folders = {
        path: job.name.parent for job in jobs for path in job.group.sets if job.name.is_relative_to(path.absolute())
    }
    entry, where = settings.wsclean().get(OUT_DIR), settings.where(OUT_DIR, WSCLEAN)
    texts = [f"images go into {folder}, within the measurement set {path}" for path, folder in folders.items()]
    if entry is None or "$ms_" in str(entry.value):
        more = f" and {counted(len(texts) - 1, 'other')}" if len(texts) > 1 else ""
        return [], [f"{where}: {texts[0]}{more}; with out-dir they go elsewhere"] if texts else []
    return [Finding(where, f"{text}; set out-dir to another directory") for text in texts], []


def place_findings(settings: ImgpipeSettings, jobs: Sequence[ImageJob]) -> list[Finding]:
    """Return findings for image directories that cannot be made or written."""
    problems = {}
    for folder in dict.fromkeys(job.name.parent for job in jobs):
        existing_path = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        if not existing_path.is_dir():
            problems[existing_path] = f"images would go into {folder}, and {existing_path} is no directory"
        elif not os.access(existing_path, os.W_OK | os.X_OK):
            problems[existing_path] = f"images would go into {folder}, and {existing_path} cannot be written"
    where = settings.where(OUT_DIR, WSCLEAN)
    return [Finding(where, f"{problem}; set out-dir to another directory") for problem in problems.values()]


def unseen_findings(
    settings: ImgpipeSettings, elsewhere: Mapping[Path, str], jobs: Sequence[ImageJob]
) -> list[Finding]:
    """Return findings for images inside a set on another host only."""
    where = settings.where(OUT_DIR, WSCLEAN)
    return [
        Finding(where, f"images would go into {path}, which only {host} has; {SHARED}")
        for path, host in elsewhere.items()
        if any(job.name.is_relative_to(path.absolute()) for job in jobs)
    ]


def record_sections(
    options: argparse.Namespace, settings: ImgpipeSettings, groups: Sequence[Group]
) -> dict[str, dict[str, Entry]]:
    """Return the sections of pipeline.cfg about the records of a run, and name the run in the options."""
    job_directory = options.job_directory = records_of_groups(options, groups)
    options.job_name = run_name(job_directory.name)
    options.start_time = options.start_time or time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    logs = job_directory / "logs" / options.start_time
    others = "" if options.force else f"{glob.escape(str(Path.cwd()))}/*{RECORDS}/*"
    layout = {"job_directory": job_directory, "job_workdir": Path.cwd(), "other_runs": others}
    logging = {"log_file": logs / "pipeline.log", "xml_stat_file": logs / "statistics.xml"}
    return place_settings(settings, layout=layout, logging=logging)


def records_of_groups(options: argparse.Namespace, groups: Sequence[Group]) -> Path:
    """Return the directory of a run's records, which depends on its sets only.

    Repeating a command therefore resumes its run, and runs on other sets can go on at the same time.
    """
    if options.job_dir:
        return Path(options.job_dir).absolute()
    identity = "\n".join(str(one.absolute()) for group in groups for one in (Path(), *group.sets))
    digest = hashlib.sha256(f"{options.config_file.resolve()}\n{identity}".encode(errors="surrogateescape")).hexdigest()
    label = run_name("_".join(Path(text).name for text in options.sets))[:LONGEST_LABEL]
    return Path(f"{options.config_file.stem}{RECORDS}").absolute() / f"{label}-{digest[:8]}"


def run_name(text: str) -> str:
    """Return a run name without special characters."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).strip("._+-")[:LONGEST_NAME] or "images"


def hosts_of(settings: ImgpipeSettings, jobs: Sequence[ImageJob]) -> tuple[list[str], list[str]]:
    """Return the host of each job, "" for any, and warnings of unknown hosts."""
    if settings["run_on_file_host"] is not True or settings["nodes"] == SLURM:
        return [""] * len(jobs), []
    pattern = re.compile(str(settings["run_on_file_host_pattern"]))
    pinned_hosts = [pinned_host(job.group, pattern) for job in jobs]
    host_names = expand_hosts(str(settings["nodes"]))
    local_name = os.uname().nodename.partition(".")[0]
    local_names = [local_name] if {"localhost", local_name} & set(host_names) else []
    where = settings.where("run_on_file_host_pattern")
    warnings = [
        f"{where}: names the host {host} in a path, and nodes has no such host; any host is taken"
        for host in hosts_missing(pinned_hosts, [*host_names, *local_names])
    ]
    return [host if host in (*host_names, *local_names) else "" for host in map(str, pinned_hosts)], warnings


def site_sections(settings: ImgpipeSettings) -> dict[str, dict[str, Entry]]:
    """Return the sections of pipeline.cfg that [worker] decides."""
    nodes = str(settings["nodes"])
    method = LOCAL if nodes == "localhost" else nodes if nodes == SLURM else SSH
    limit, env_file = settings["max_time"], str(settings["env_file"])
    if method == LOCAL and (limit or env_file):
        method = SSH  # it reaches this machine without ssh, and has both
    # A job that began is not repeated: it may have written into the set.
    remote = {"method": method, "max_per_node": settings["max_concurrent"], "lost_retries": "0"}
    sections: dict[str, dict[str, Any]] = {"remote": remote}
    is_of_home = not env_file or env_file.startswith("~/")
    file = env_file if is_of_home else str(settings.file(env_file).absolute())
    if method == SSH:
        sections[SSH] = {"hosts": nodes, "environment": "host", "env_file": file, "walltime": clock(limit)}
    if method == SLURM:
        del remote["max_per_node"]  # which would ask for parts of nodes
        options = shlex.split(str(settings["slurm_options"] or ""))
        home, path = ("~/", file[2:]) if file.startswith("~/") else ("", file)
        sections[SLURM] = {
            "walltime": clock(limit),
            "extra": options or os.environ.get("LIBPIPE_SLURM_OPTIONS", "").split(),
            "max_submitted": queue_limit(settings),
            "prologue": f". {home}{shlex.quote(path)}" if file else "",
        }
    return place_settings(settings, **sections)


def queue_limit(settings: ImgpipeSettings) -> int:
    """Return how many jobs are in the queue at a time: max_concurrent for each of slurm_nodes."""
    number, nodes = (int(str(settings[key])) for key in ("max_concurrent", "slurm_nodes"))
    return number * max(1, nodes)


PLACES = {"method": "nodes", "max_per_node": "max_concurrent", "hosts": "nodes", "walltime": "max_time"}
PLACES |= {"max_submitted": "max_concurrent", "extra": "slurm_options", "prologue": "env_file"}


def place_settings(settings: ImgpipeSettings, **sections: Mapping[str, Any]) -> dict[str, dict[str, Entry]]:
    """Return the non-empty sections, with the positions of their values in the file."""
    return {
        section: {key: _entry(settings, key, PLACES.get(key, key), value) for key, value in keys.items() if value}
        for section, keys in sections.items()
    }


def _entry(settings: ImgpipeSettings, key: str, of_file: str, value: object) -> Entry:
    setting = settings.entries.get("worker", {}).get(of_file)
    place = (str(settings.path), 0) if setting is None else (setting.file, setting.line)
    return Entry(key, parset_value(value if isinstance(value, list) else str(value)), *place)


def clock(seconds: object) -> str:
    """Return a time limit in whole seconds, as queues require; "" for none."""
    if not isinstance(seconds, (int, float)):
        return ""
    duration_s = max(1, round(seconds))
    return f"{duration_s // 86400}-{duration_s // 3600 % 24:02d}:{duration_s // 60 % 60:02d}:{duration_s % 60:02d}"


# ---- the parset


def image_parset(
    settings: ImgpipeSettings,
    jobs: Sequence[ImageJob],
    hosts: Sequence[str],
    environment: Mapping[str, str],
    history: Sequence[str] = (),
) -> Parset:
    """Return the imaging steps: word options as keys, the others as a list of words.

    Parameters
    ----------
    history: lines for the FITS headers of all images; none: the headers are left alone.
    """
    parset = Parset.parse(STEPS, "imgpipe")
    entries = settings.wsclean()
    options = dict(jobs[0].options) if jobs else {}
    counts = [" ".join(job.options.get("channels-out", ())) for job in jobs]
    lists: dict[str, list[str]] = {
        "hosts": [host or "localhost" for host in hosts],
        "sets": [_list(str(path.absolute()) for path in job.group.sets) for job in jobs],
        "names": [escaped(str(job.name)) for job in jobs],
    }
    if any(counts):
        lists["channels"] = counts
        parset.set("image.argument.channels-out", CHANNELS)
    if history:
        lists["headers"] = [header_entries(job.group, history) for job in jobs]
        parset.set("image.control.header_mapfile", "groups.output.headers.mapfile")
    if "temp-dir" not in options:
        lists["scratch"] = [escaped(scratch(job)) for job in jobs]
        parset.set("image.argument.temp-dir", SCRATCH)
    odd: list[str] = []
    for key, words in options.items():
        if key == "channels-out":
            continue
        text = keyword(key, list(words))
        if text is None:
            odd += [f"-{key}", *words]
        else:
            parset.set(f"image.argument.{key}", text, entries[key].file, entries[key].line)
    if odd:
        lists["words"] = [_list(odd)] * len(jobs)
    for key, values in lists.items():
        parset.set(f"groups.control.{key}", f"[{', '.join(values)}]")
    inputs = [key for key in lists if key not in ("hosts", "names", "headers")]
    parset.set("image.control.mapfiles_in", parset_value([f"groups.output.{key}.mapfile" for key in inputs[1:]]))
    parset.set("image.control.inputkeys", parset_value([f"{WORD}{key}" for key in inputs]))
    parset.set("image.argument.flags", parset_value([*([WORDS] if odd else []), SETS]))
    parset.set("image.control.executable", program(settings, environment))
    for key, value in (resources(settings) | ({"on_data_host": True} if any(hosts) else {})).items():
        parset.set(f"image.control.{key}", str(value))
    return parset


def resources(settings: ImgpipeSettings) -> dict[str, object]:
    """Return the resources that jobs of a queue request; elsewhere they share the machine."""
    category = settings.resources()
    requests = {"cores": category["cpus"], "memory_gb": size_gb(str(category["mem"]))}
    return requests if settings["nodes"] == SLURM else {}


def configuration_history(settings: ImgpipeSettings, words: Sequence[str]) -> list[str]:
    """Return the lines of HISTORY about the command line and the files of a configuration, with their checksums."""
    files = [
        f"configuration: {path.absolute()}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in settings.files
    ]
    return [f"started by: {shlex.join(['imgpipe', *words])}", *files]


def header_entries(group: Group, history: Sequence[str]) -> str:
    """Return the entries of a group's images for their FITS headers, as the text of a list."""
    pairs = [("OBS_ID", "+".join(group.obs_ids)), ("SPW", group.window or ""), *(("HISTORY", line) for line in history)]
    return _list(f"{key}={quote(value, safe='/:=+ ')}" for key, value in pairs if value)


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(escaped, texts))}]"


def keyword(key: str, words: list[str]) -> str | None:
    """Return the parset value that expands to an option's words again; None if impossible."""
    if not words:
        return "True"
    text = " ".join(words)
    for quoted in (text, f'"{text}"', f"'{text}'"):
        if any(mark in text for mark in "\n\r#{}$"):
            break
        try:
            parsed = Parset.parse(f"a={quoted}\n", "").entry("a").value
            if wsclean_words([], {key: unquote(parsed)}) == [f"-{key}", *words]:
                return quoted
        except (PipelineError, ValueError, KeyError):
            continue
    return None


def scratch(job: ImageJob) -> str:
    """Return where WSClean's temporary files go: beside the first set, as it does itself, else beside the images."""
    beside = job.group.sets[0].absolute().parent
    return str(beside if os.access(beside, os.W_OK) else job.name.parent)


def program(settings: ImgpipeSettings, environment: Mapping[str, str]) -> str:
    """Return the WSClean program: from the file, else from the PATH of the jobs."""
    name = str(settings[WSCLEAN] or WSCLEAN)
    if "/" in name:
        return str(settings.file(name).absolute())
    return shutil.which(name, path=environment.get("PATH", os.defpath)) or name
