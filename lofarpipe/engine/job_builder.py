"""Build one job for each product of a recipe step: replace placeholders, format arguments.

Source: doc/spec/lofarpipe.md, section 4.5.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError, counted
from lofarpipe.executors.factory import method_of
from lofarpipe.jobs import Job, JobResult, Resources, Staged
from lofarpipe.pipeline.control import Control
from lofarpipe.pipeline.options import NONE
from lofarpipe.programs.argv import build_argv, substitute_tokens
from lofarpipe.programs.base import KNOWN_PROGRAMS, Program
from lofarpipe.programs.find import PYTHON_PLUGIN, is_own_program, job_environment
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import GB, Need, existing, free_bytes, room_text, size_text, trouble_in
from lofarpipe.support.patterns import lazy_pattern

LINES_OF_INTEREST = 30  # at the end of a log


@dataclass
class Disk:
    """Estimated disk use of jobs on one file system."""

    place: Path  # one of the directories on it
    lasting_bytes: float = 0.0
    temporary_bytes: list[float] = field(default_factory=list)  # one for each job
    contents: dict[str, None] = field(default_factory=dict)  # ordered set
    is_given: bool = True  # all sizes come from control.disk_gb

    def add(self, need: Need) -> None:
        """Count one need."""
        self.contents[need.content] = None
        self.is_given = self.is_given and need.is_given
        if need.is_temporary:
            self.temporary_bytes.append(need.size_bytes)
        else:
            self.lasting_bytes += need.size_bytes

    def total_bytes(self, at_once: int) -> float:
        """Return the peak use in bytes, with temporary files of the largest jobs that run at the same time."""
        return self.lasting_bytes + sum(sorted(self.temporary_bytes, reverse=True)[:at_once])

    def describe(self, size: str, remedy: str) -> str:
        """Return the size, its source, and the start of the remedy for a wrong one, as text."""
        if self.is_given:
            return f"take {size} by control.disk_gb; {remedy}; if that is too much, lower"
        return f"are estimated to take {size}; {remedy}; if the estimate is wrong, set"


def refuse_without_room(step: str, jobs: Sequence[PlannedJob], machine: Resources, is_local: bool = True) -> None:
    """Refuse a step whose jobs need more disk space than is free.

    Parameters
    ----------
    jobs: the jobs about to run.
    machine: resources of the machine that runs the jobs.
    is_local: whether it is this machine; temporary files on other machines are not checked.

    Raises
    ------
    PipelineError
        If a file system has less space than the estimate; with its path, both sizes and the remedy.
    """
    needs = [need for planned in jobs for need in planned.needs() if is_local or not need.is_temporary]
    at_once = jobs_at_once([planned.job.cores for planned in jobs], jobs[0].job.max_per_node, machine) if jobs else 0
    for disk in disks(needs).values():
        needed, free = disk.total_bytes(at_once), _free_or_none(disk.place)
        if free is not None and free < needed:
            room = "make room, or name another directory, and run again to resume here"
            raise PipelineError(
                f"step '{step}': {disk.place} has {size_text(free)} free, and {' and '.join(disk.contents)} of its "
                f"{counted(len(jobs), 'job')} {disk.describe(size_text(needed), room)} "
                "control.disk_gb to what a job takes"
            )


def jobs_at_once(cores: Sequence[int], max_per_node: int, machine: Resources) -> int:
    """Return the number of jobs that can run at the same time."""
    by_cores = machine.cores // max(1, min(cores, default=1))
    return max(1, min(len(cores), max_per_node or len(cores), by_cores))


def disks(needs: Iterable[Need]) -> Mapping[int, Disk]:
    """Return the file systems in use by device number; unreachable ones are left out."""
    disks_by_device: dict[int, Disk] = {}
    for need in needs:
        try:
            device = os.stat(existing(need.place)).st_dev  # noqa: PTH116 - one spelling for all that os is asked
        except OSError:  # the job itself will report it
            continue
        disks_by_device.setdefault(device, Disk(need.place)).add(need)
    return disks_by_device


def _free_or_none(place: Path) -> float | None:
    try:
        return free_bytes(place)
    except OSError:
        return None


def add_disk_estimate(reason: str, planned: PlannedJob, result: JobResult) -> str:
    """Return the reason of a failure; for a full disk with estimated use and free space."""
    trouble = trouble_in([*result.tail(LINES_OF_INTEREST), reason])
    if not trouble and " is full: " not in reason:
        return reason
    explained_reason = f"{reason}: {trouble}" if trouble and trouble not in reason else reason
    return "; ".join([explained_reason, *map(_estimate, planned.needs())])


def _estimate(need: Need) -> str:
    source = "control.disk_gb" if need.is_given else "estimated"
    return f"{source} for {need.content}: {size_text(need.size_bytes)} in {need.place} ({room_text(need.place)} now)"


LONGEST_NAME = 100  # characters of an output in the names of its stage and log; file systems allow 255
_ODD_LETTERS = lazy_pattern(r"[^\w.+-]+")
LONGEST_WORD = 128 * 1024 - 1  # bytes of one argument. Source: MAX_ARG_STRLEN of Linux, execve(2)
ROOM_FOR_VARIABLES = 128 * 1024  # bytes; arguments and environment share one limit
READABLE_WORD = 8 * 1024  # bytes of an argument in a command to be typed


@dataclass(frozen=True)
class PlannedJob:
    """A job with its arguments, notices, files and needs."""

    job: Job
    place: int  # index in the maps of the step
    arguments: tuple[list[str], dict[str, str]]  # before resources of the machine are added
    notices: tuple[str, ...]
    files: Mapping[Path, str]  # written before the job starts
    result: Path | None  # file for the script's dictionary
    needs: Callable[[], list[Need]] = list  # disk space; a call, because inputs are read for it
    outputs: Path | None = None  # prefix of outputs at a place chosen by the user
    subject: str = ""  # a known program's task, for messages


@dataclass(frozen=True)
class JobBuilder:
    """Builds the jobs of one step; nothing is written.

    Parameters
    ----------
    numbers: map index -> job number, which names the job and its files; default: the map index.
    entry: name of the step in the journal, as each iteration of a loop has its own logs; "": the name of the step.
    """

    step: str
    control: Control
    keywords: Mapping[str, str]
    executable: Path
    settings: Settings
    mapfiles: Sequence[str]
    tokens: Sequence[str]
    maps: Sequence[DataMap]
    outputs: DataMap
    machine: Resources
    numbers: Mapping[int, int] = field(default_factory=dict)
    entry: str = ""

    def jobs(self) -> list[PlannedJob]:
        """Return one job for each product skipped by neither the first input map nor the output map."""
        pairs = enumerate(zip(self.maps[0].data, self.outputs.data, strict=True))
        places = [place for place, (product, output) in pairs if not (product.skip or output.skip)]
        share = self._share(len(places))
        return [self._planned(place, share) for place in places]

    @property
    def max_per_node(self) -> int:
        """Maximum number of concurrent jobs of this step on one host; 0: no limit."""
        return self.control.number("max_per_node") or self.settings.max_per_node

    def _number(self, place: int) -> str:
        return f"{self.numbers.get(place, place):03d}"

    def _share(self, count: int) -> Resources:
        """Return the resources of each job: from the step's control keys, else an equal share of the machine.

        The machine is shared by as many jobs as fit with their requests.
        """
        cores, gpus = self._requested_share()
        memory_gb = self.control.memory_gb
        if not memory_gb and self._goes_to_queue:
            memory_gb = min(self.control.queue_memory_gb, self.machine.memory_gb)
        limits = [count, self.max_per_node or count, self.machine.cores // (cores or 1)]
        limits += [int(self.machine.memory_gb / memory_gb)] if memory_gb else []
        limits += [self.machine.gpus // gpus] if gpus else []
        at_once = max(1, min(limits))
        return Resources(
            cores or max(1, self.machine.cores // at_once), memory_gb or self.machine.memory_gb / at_once, gpus
        )

    @property
    def _goes_to_queue(self) -> bool:
        """Whether jobs go to a queue, where smaller requests start earlier."""
        return method_of(self.settings) == "slurm"

    def _requested_share(self) -> tuple[int, int]:
        """Return cores and graphics processors: from the step's control keys, else from the program's arguments."""
        cores, gpus = self.control.number("cores"), self.control.number("gpus")
        if not cores and self._goes_to_queue:
            cores = min(self.control.number("queue_cores"), self.machine.cores)
        if self.program is None or self.settings.lenient:
            return cores, gpus
        requested = self.program.requested_resources(self.executable, self.keywords, self.control.items("arguments"))
        return cores or requested[0], gpus or requested[1]

    @property
    def program(self) -> Program | None:
        """The known program of the step, if the parset lets it be used; else None."""
        return KNOWN_PROGRAMS[self.control.checking_program] if self.control.checking_program else None

    def _planned(self, place: int, share: Resources) -> PlannedJob:
        positionals, keywords = substitute_tokens(
            self.control.items("arguments"), dict(self.keywords), self._files(place)
        )
        arguments = (list(positionals), dict(keywords))
        notices: Sequence[str] = ()
        if self.program is not None:
            fit = self.program.allotted if self.control.flag("as_given") else self.program.complete
            keywords, positionals, notices = fit(self.executable, keywords, positionals, share)
        tempdir = self._tempdir(place, keywords, positionals)
        argv, files, result = self._argv(place, positionals, keywords)
        job, list_file = self._shorten_arguments(self._job(place, argv, share, tempdir))
        files |= list_file
        # None for unknown programs: the closure would take memory for very many jobs.
        is_known = self.program is not None or self.control.disk_gb
        needs = partial(self._needs, place, keywords, positionals) if is_known else list
        outputs = self._output_names(argv) if self.control.flag("as_given") else None
        subject = self.program.subject(argv) if self.program else ""
        return PlannedJob(job, place, arguments, tuple(notices), files, result, needs, outputs, subject)

    def _output_names(self, argv: Sequence[str]) -> Path | None:
        output = self.program and self.program.output(argv, self.settings.job_workdir)
        return self.settings.job_workdir / output.name if output else None

    def _needs(self, place: int, keywords: Mapping[str, str], positionals: Sequence[str]) -> list[Need]:
        """Return the disk space of a job: the step's control key, else the estimate of its program."""
        if self.control.disk_gb:
            output = self.settings.job_workdir / self.outputs.data[place].file
            return [Need(output.parent, self.control.disk_gb * GB, "the outputs", is_given=True)]
        if self.program is None or self.settings.lenient:
            return []
        return self.program.needs(keywords, positionals, self.settings.job_workdir)

    def _staged(self, place: int, argv: Sequence[str]) -> Staged | None:
        """Stage the output of a known program under a temporary name until it is complete; not in a lenient run."""
        if self.program is None or self.settings.lenient or self.control.flag("as_given"):
            return None
        output = self.program.output(argv, self.settings.job_workdir)
        if output is None:
            return None
        # Not with Path: a name that ends with a slash has an empty last part.
        directory, name = os.path.split(f"{self.settings.job_workdir / output.name}{'/' * output.name.endswith('/')}")
        # Two runs may write into one directory, but not the same output.
        hidden = f".{name[:LONGEST_NAME]}.{self.step}-{self._number(place)}.incomplete"
        stage, landing = Path(directory) / hidden, None
        # ssh hosts may have no Python to move the staged outputs.
        elsewhere = self.control.text("stage_dir") if method_of(self.settings) != "ssh" else NONE
        if elsewhere not in ("", NONE):
            stage, landing = self._unique_directory(elsewhere, place, "-outputs"), stage
        expected = "" if output.ending is None else f"{directory}/{name}{output.ending}"
        renamed = output.renamed(argv, f"{stage}/{name}")
        return Staged(renamed, stage, Path(directory), expected, self._renames(), landing)

    def _renames(self) -> tuple[tuple[str, str], ...]:
        pairs = (text.partition("=>") for text in self.control.items("rename"))
        return tuple((pattern.strip(), name.strip()) for pattern, _, name in pairs)

    def _unique_directory(self, folder: str, place: int, ending: str = "") -> Path:
        """Return a unique directory for a job; the parent may begin with a variable of the job's machine."""
        owner = hashlib.sha256(f"{self.settings.job_directory} {os.getpid()}".encode()).hexdigest()[:8]
        name = f"{self.settings.job_name}-{owner}-{self.step}-{self._number(place)}{ending}"
        return (Path(folder) if folder.startswith("$") else Path(folder).absolute()) / name

    def _watch(self) -> dict[str, str]:
        """Return the abort condition for a known program's log; None in a lenient run."""
        if self.program is None or self.settings.lenient:
            return {}
        limits = {key: str(self.control.values[key]) for key in self.program.limits if key in self.control.values}
        return {"program": self.control.text("program"), **limits}

    def _job(self, place: int, argv: Sequence[str], share: Resources, tempdir: Path | None) -> Job:
        product = self.maps[0].data[place]
        return Job(
            name=f"{self.step}/{self._number(place)}",
            argv=tuple(argv),
            workdir=self.settings.job_workdir,
            log=self.settings.job_directory / "logs" / (self.entry or self.step) / f"{self._log_name(place)}.log",
            cores=share.cores,
            memory_gb=share.memory_gb,
            gpus=share.gpus,
            env=self._environment(share),
            host=product.host,
            max_per_node=self.max_per_node,
            at_host=self.control.flag("on_data_host"),
            batch=self.control.batch,
            one_try=self.control.flag("one_try"),
            tempdir=tempdir,
            label=product.file,
            staged=self._staged(place, argv),
            watch=self._watch(),
        )

    def _log_name(self, place: int) -> str:
        """Return the number of a job, with the name of its output if the user chose it."""
        if not self.control.flag("as_given"):
            return self._number(place)
        output = self.settings.job_workdir / self.outputs.data[place].file
        workdir = self.settings.job_workdir
        name = str(output.relative_to(workdir) if output.is_relative_to(workdir) else output)
        return f"{self._number(place)}-{_ODD_LETTERS.sub('_', name).strip('_')[-LONGEST_NAME:]}"

    def _files(self, place: int) -> list[tuple[str, str]]:
        """Return (placeholder, file) for the inputs, then the output, at an index of the maps, skipped or not."""
        as_string = self.control.items("mapfiles_as_string")
        pairs = []
        if not self.control.flag("skip_infile"):
            for token, mapfile, data_map in zip(self.tokens, self.mapfiles, self.maps, strict=True):
                if mapfile not in as_string:
                    pairs.append((token, data_map.data[place].file))
                elif token != mapfile:
                    pairs.append((token, mapfile))
        if self.control.text("outputkey"):
            pairs.append((self.control.text("outputkey"), self.outputs.data[place].file))
        return pairs

    def _tempdir(self, place: int, keywords: dict[str, str], positionals: Sequence[str]) -> Path | None:
        """Give a known program a temporary directory of its own."""
        if self.program is None or not self.program.scratch_option:
            return None
        is_set = self.program.scratch_option in keywords
        if not is_set and (self.settings.lenient or f"-{self.program.scratch_option}" in positionals):
            return None
        # By default WSClean writes beside its input, and leaves files there when killed.
        scratch = keywords[self.program.scratch_option] if is_set else self.settings.job_workdir
        tempdir = self._unique_directory(str(scratch), place)
        keywords[self.program.scratch_option] = str(tempdir)
        return tempdir

    def _environment(self, share: Resources) -> dict[str, str]:
        threads = self.control.number("nthreads") or (0 if self.settings.lenient else share.cores)
        limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        is_ours = is_own_program(self.executable)
        environment = job_environment(is_ours, is_ours or self.control.text("nodescript") == PYTHON_PLUGIN)
        return {**environment, **limit, **self.control.environment}

    def _argv(
        self, place: int, positionals: list[str], keywords: dict[str, str]
    ) -> tuple[list[str], dict[Path, str], Path | None]:
        """Return argv, the files to write before the job, and the path of its result."""
        parset_file, files = self._parset_file(place, keywords)
        if self.control.text("nodescript") != PYTHON_PLUGIN:
            form = self.control.text("args_format")
            return build_argv(str(self.executable), positionals, keywords, form, parset_file), files, None
        if parset_file:
            positionals = [parset_file, *positionals]
        directory = self.settings.job_directory / "jobs" / self.step
        number = self._number(place)
        spec, result = directory / f"{number}.json", directory / f"{number}.result.json"
        call = {"script": str(self.executable), "args": positionals, "kwargs": keywords, "result": str(result)}
        files[spec] = json.dumps(call, indent=1)
        return [sys.executable, "-P", "-m", "lofarpipe.engine.script_job", str(spec)], files, result

    def _shorten_arguments(self, job: Job) -> tuple[Job, dict[Path, str]]:
        """Return a job with arguments of acceptable length: long lists of files move into a DP3 parset.

        Raises
        ------
        PipelineError
            If the arguments exceed the system's limit, and the program reads no such file.
        """
        longest = LONGEST_WORD if self.settings.lenient else READABLE_WORD
        long = [word for word in job.argv[1:] if len(os.fsencode(word)) > longest]
        reads_parset = self.program is not None and self.program.reads_parset
        if not (long and reads_parset and all("=" in word for word in job.argv[1:])):
            self._refuse_untypable(job)
            return job, {}
        path = self.settings.job_directory / "jobs" / f"{job.name}.parset"

        def shortened(argv: Sequence[str]) -> tuple[str, ...]:
            return (argv[0], str(path), *(word for word in argv[1:] if word not in long))

        staged = replace(job.staged, argv=shortened(job.staged.argv)) if job.staged else None
        return replace(job, argv=shortened(job.argv), staged=staged), {path: "".join(f"{word}\n" for word in long)}

    def _refuse_untypable(self, job: Job) -> None:
        sizes = [len(os.fsencode(word)) + 1 for word in job.argv]
        room = os.sysconf("SC_ARG_MAX") - ROOM_FOR_VARIABLES
        if max(sizes) <= LONGEST_WORD and sum(sizes) <= room:
            return
        raise PipelineError(
            f"step '{self.step}': the arguments of {job.name} have {sum(sizes)} bytes, the longest {max(sizes)}, and "
            f"this system takes {room} and {LONGEST_WORD}: {max(job.argv, key=len)[:60]}...; give the program a file: "
            "mapfiles_as_string hands it the map itself, parsetasfile = True its arguments as a parset"
        )

    def _parset_file(self, place: int, keywords: Mapping[str, str]) -> tuple[str | None, dict[Path, str]]:
        if not self.control.flag("parsetasfile"):
            return None, {}
        name = self.maps[0].data[place].file.rsplit("/", 1)[-1]
        path = self.settings.job_workdir / f"{name}.parset"
        return str(path), {path: "".join(f"{key}={keywords[key]}\n" for key in sorted(keywords))}
