"""Recipe steps: prepared from maps, run as jobs, recorded in maps."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lofarpipe import __version__
from lofarpipe.config import Settings
from lofarpipe.engine.job_builder import JobBuilder, PlannedJob
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import JobResult, Resources
from lofarpipe.pipeline.control import Control, input_maps, is_true, resolved_control
from lofarpipe.pipeline.plugins import declared_outputs
from lofarpipe.pipeline.steps import Results, Step
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.container import step_executable
from lofarpipe.programs.find import NODESCRIPTS, PYTHON_PLUGIN
from lofarpipe.programs.identity import program_identity
from lofarpipe.state.fingerprints import replace_text, stamp
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import files_of, list_text


def _files(products: Iterable[DataProduct]) -> Iterator[str]:
    for product in products:
        yield from (name for name in files_of(product.file) if Path(name).is_absolute())


PRODUCTS = "products"  # key of the lists of files with control.list_products
SHORTEST_TIME = 8  # characters of a start time searched in texts; a shorter one is ambiguous


@dataclass(frozen=True)
class RecipePlan:
    """A recipe step ready to run: its jobs and the maps for their results."""

    step: Step
    name: str  # part of the names of outputs and mapfiles
    control: Control
    keywords: Mapping[str, str]
    inputs: DataMap  # the first input map; sets the number of jobs, hosts and names
    maps: Sequence[DataMap]  # all input maps
    outputs: DataMap
    output_mapfile: Path
    headers: DataMap | None  # FITS header keywords of each job's images
    saved: Mapping[Path, DataMap]  # maps written after the jobs
    suffix_outputs: Mapping[str, Path]  # key among the outputs -> mapfile
    jobs: Sequence[PlannedJob]
    mapfile_dir: Path
    lenient: bool
    identity: Mapping[str, object]  # a finished step with an equal identity is not run again
    builder: JobBuilder

    @property
    def error_tolerance(self) -> bool:
        """Whether the step continues without the products of failed jobs."""
        return self.control.flag("error_tolerance")

    @property
    def skips_failed(self) -> bool:
        """Whether the products of failed jobs stay skipped in the next run."""
        return self.error_tolerance and not self.control.flag("one_try")

    @property
    def repeatable(self) -> bool:
        """Whether changing an input twice is harmless."""
        return self.control.flag("repeatable")

    @property
    def warns_of_disk(self) -> bool:
        """Whether lack of disk space is only a warning."""
        return self.control.flag("warn_of_disk")

    @property
    def retries(self) -> int:
        """Maximum number of retries of a failed job."""
        return self.control.number("retries")

    def numbered(self, numbers: Mapping[int, int]) -> RecipePlan:
        """Return a copy with renumbered jobs; ``numbers`` is keyed by map index."""
        return replace(self, jobs=replace(self.builder, numbers=numbers).jobs())

    def job_identity(self, planned: PlannedJob) -> dict[str, object]:
        """Return the identity of a job; a finished job with an equal identity is not run again."""
        place = planned.place
        step = self.identity
        inputs = [data_map.data[place] for data_map in self.maps if place < len(data_map.data)]
        output = self.outputs.data[place]
        identity = {
            "program": step["program"],
            "executable": step["executable"],
            "environment": step["environment"],
            "arguments": planned.arguments,
            "inputs": [(product.host, product.file, product.skip) for product in inputs],
            "output": (output.host, output.file),
        }
        return without_start_time(identity, self.builder.settings)

    def outputs_of(self, planned: PlannedJob) -> list[str]:
        """Return the output paths of a job in the step's maps, except those that are also inputs."""
        maps = [self.outputs, *self.saved.values()]
        names = [name for data_map in maps for name in _files(data_map.data[planned.place : planned.place + 1])]
        return [name for name in dict.fromkeys(names) if name not in set(self._inputs(planned))]

    def changed_inputs(self, planned: PlannedJob) -> list[str]:
        """Return the inputs that a partial or repeated change by this job would damage.

        From a known program's arguments; for other programs from the control key ``inplace``.
        """
        control = self.control
        positionals, keywords = planned.arguments
        program = control.text("program")
        if not program:
            return list(self._inputs(planned)) if control.flag("inplace") else []
        workdir = planned.job.workdir
        paths = KNOWN_PROGRAMS[program].harmed_inputs(keywords, positionals, workdir)
        return [str(workdir / name) for path in paths for name in files_of(path)]

    def _inputs(self, planned: PlannedJob) -> Iterator[str]:
        for data_map in self.maps:
            yield from _files(data_map.data[planned.place : planned.place + 1])

    def failure_of(self, result: JobResult) -> str | None:
        """Return the reason of a failure, or None; from the exit code, and for known programs from the log."""
        program = self.control.text("program")
        if result.ok and not program:
            return None
        text = result.log.read_text(errors="replace") if program and result.log.is_file() else ""
        known_program = KNOWN_PROGRAMS[program] if program else None
        complaint = known_program.complaint(text) if known_program else None
        if result.ok:
            return f"{result.reason()}: {complaint}" if complaint and self.control.checking_program else None
        from lofarpipe.programs.logs import explained, hint_for

        explanation = complaint or (
            explained(known_program.name, text, known_program.messages) if known_program else hint_for(result.tail())
        )
        return f"{result.reason()}: {explanation}" if explanation else result.reason()

    def complete(self, planned: PlannedJob, result: JobResult) -> str | None:
        """Write the origin of a job's images into and beside them; return the problem, or None."""
        program = KNOWN_PROGRAMS.get(self.control.text("program"))
        if program is None:
            return None
        if missing := self._missing(planned):
            return missing
        from lofarpipe.engine.provenance import write_image_record, write_provenance

        if self.control.flag("record"):
            root = planned.job.workdir / self.outputs.data[planned.place].file
            write_image_record(root.with_name(f"{root.name}.{self.step.name}.log"), planned, result, program)
        if self.headers is None:
            return None
        products = result.outputs if planned.job.staged else self.known_products(planned)
        return write_provenance(products, planned, result, program, self.headers.data[planned.place].file)

    def _missing(self, planned: PlannedJob) -> str:
        """Return the problem if a successful imager wrote no image under the requested name; else None."""
        program = KNOWN_PROGRAMS[self.control.text("program")]
        output = program.output(planned.job.argv, planned.job.workdir) if self.control.flag("as_given") else None
        names = self.known_products(planned) if output and not planned.job.staged else []
        if output is None or not any(name.endswith(".fits") for name in names):
            return ""
        folder, root = os.path.split(planned.job.workdir / output.name)
        with contextlib.suppress(OSError):
            if any(name.startswith(f"{root}-") and name.endswith(".fits") for name in os.listdir(folder)):  # noqa: PTH208
                return ""
        return f"{program.name} ended well and wrote no image {folder}/{root}-*.fits; see its log"

    def retry_job(self, planned: PlannedJob, problem: str) -> PlannedJob | None:
        """Return the replacement that a known program proposes for a failed job, or None."""
        job, program = planned.job, KNOWN_PROGRAMS.get(self.control.checking_program)
        if program is None:
            return None
        limits = {key: float(job.watch.get(key, limit.default)) for key, limit in program.limits.items()}
        argv = program.retry_arguments(job.argv, problem, limits)
        if argv is None:
            return None
        staged = job.staged and replace(
            job.staged, argv=tuple(program.retry_arguments(job.staged.argv, problem, limits) or job.staged.argv)
        )
        return replace(planned, job=replace(job, argv=tuple(argv), staged=staged))

    def finish(
        self, results: Sequence[JobResult], failed: Mapping[str, str], goes_on: bool = False
    ) -> dict[str, object]:
        """Write the maps of a step after its jobs have ended, and return its outputs.

        Products of failed jobs are marked as skipped in every written map; in a lenient run in the output map
        alone. If all jobs failed, only the maps of failures are written, unless the run ``goes_on``.
        Source: doc/spec/lofarpipe.md, sections 6.4 and 8.2.
        """
        results_given = self._save_result_maps(results, failed)
        if failed and len(failed) == len(self.jobs) and not goes_on:
            return results_given
        outputs: dict[str, object] = {"mapfile": str(self.output_mapfile)}
        if self.suffix_outputs:
            outputs[self.output_mapfile.name] = str(self.output_mapfile)
        outputs |= {key: str(path) for key, path in self.suffix_outputs.items()}
        for planned in self.jobs:
            if planned.job.name in failed:
                for data_map in [self.outputs] if self.lenient else self.saved.values():
                    data_map.data[planned.place].skip = True
        for path, data_map in self.saved.items():
            data_map.save(str(path))
        return {**results_given, **outputs}

    def _save_result_maps(self, results: Sequence[JobResult], failed: Mapping[str, str]) -> dict[str, object]:
        """Write one map for each key returned by any job; return the maps and the ``break`` of the last job."""
        outputs: dict[str, object] = {}
        returned = [
            job_outputs(planned, result, failed) | self._listed_products(planned, result, failed)
            for planned, result in zip(self.jobs, results, strict=True)
        ]
        expected = {PRODUCTS} if self.control.flag("list_products") else set()
        if not self.jobs and self.control.text("nodescript") == PYTHON_PLUGIN:
            expected |= set(declared_outputs(self.builder.executable) or ()) - {"break"}  # maps without entries
        for key in sorted(expected.union(*returned)):
            path = self.mapfile_dir / f"{self.name}.{key}.mapfile"
            self._result_map(returned, key, failed).save(str(path))
            outputs[f"{key}.mapfile"] = str(path)
        breaks = [values["break"] for values in returned if "break" in values]
        return {**outputs, "break": is_true(breaks[-1])} if breaks else outputs

    def _listed_products(self, planned: PlannedJob, result: JobResult, failed: Mapping[str, str]) -> dict[str, str]:
        """Return the outputs of a known program's job, if the step requests them.

        Without staging these are the possible output files of the command that exist.
        """
        if not self.control.flag("list_products") or planned.job.name in failed:
            return {}
        products = result.outputs if planned.job.staged else filter(os.path.exists, self.known_products(planned))
        return {PRODUCTS: list_text(list(products))}

    def label_of(self, planned: PlannedJob) -> str:
        """Return the subject of a job for messages."""
        return planned.job.label

    def products_of(self, planned: PlannedJob) -> list[str]:
        """Return the possible output paths owned by a known program's job; none in a lenient run."""
        return [] if self.lenient else self.known_products(planned)

    def known_products(self, planned: PlannedJob) -> list[str]:
        """Return the absolute paths of possible outputs of a known program's job; none for other programs."""
        program = KNOWN_PROGRAMS.get(self.control.text("program"))
        paths = program.products(planned.job.argv, planned.job.workdir) if program else []
        staged = planned.job.staged
        if staged is None or not staged.renames:
            return paths
        parts = (path.rpartition("/") for path in paths)
        return [f"{folder}/{final}" for folder, _, name in parts if (final := staged.final_name(name))]

    def _result_map(self, returned: Sequence[Mapping[str, str]], key: str, failed: Mapping[str, str]) -> DataMap:
        """Return the map of a key: one entry for each job that returned it; of products, for each of the inputs."""
        entries = {
            planned.place: DataProduct(planned.job.host, values[key], planned.job.name in failed)
            for planned, values in zip(self.jobs, returned, strict=True)
            if key in values
        }
        if key != PRODUCTS or not self.control.flag("list_products"):
            return DataMap([*entries.values()])
        missing = (DataProduct(product.host, list_text([]), True) for product in self.inputs.data)
        return DataMap([entries.get(place, product) for place, product in enumerate(missing)])


def prepare(step: Step, results: Results, settings: Settings, machine: Resources, entry: str = "") -> RecipePlan:
    """Load the maps of a step, name its outputs and build its jobs; nothing is run or written.

    Parameters
    ----------
    entry: name of the step in the journal, if different.

    Raises
    ------
    PipelineError
        If a map cannot be loaded, maps do not fit together, or the program is not found.
    """
    control, keywords = resolved_control(step, results, settings.lenient)
    _check_runner(step, control, settings)
    mapfiles, tokens = input_maps(step, control)
    maps = [DataMap.load(mapfile) for mapfile in mapfiles]
    name = control.text("stepname") or step.name
    naming = OutputNaming(name, control, maps[0], mapfiles[0], settings)
    outputs, output_mapfile, saved = naming.outputs()
    _check_outputs_fit(step, mapfiles, maps, outputs, output_mapfile)
    if not control.flag("skip_infile"):
        _check_inputs_fit(step, control, mapfiles, tokens, maps)
    executable = _executable(step, control, settings)
    builder_inputs = (control, keywords, executable, settings, mapfiles, tokens, maps, outputs, machine)
    builder = JobBuilder(step.name, *builder_inputs, entry=entry)
    jobs = builder.jobs()
    suffixes = naming.suffix_maps()
    header_mapfile = control.text("header_mapfile")
    headers = DataMap.load(header_mapfile) if header_mapfile else None
    return RecipePlan(
        step=step,
        name=name,
        control=control,
        keywords=keywords,
        inputs=maps[0],
        maps=maps,
        outputs=outputs,
        output_mapfile=output_mapfile,
        headers=headers,
        saved={**saved, **dict(suffixes.values())},
        suffix_outputs={key: path for key, (path, _) in suffixes.items()},
        jobs=jobs,
        mapfile_dir=settings.mapfile_dir,
        lenient=settings.lenient,
        identity=without_start_time(_identity_of(step, control, builder, jobs, outputs), settings),
        builder=builder,
    )


def _executable(step: Step, control: Control, settings: Settings) -> Path:
    try:
        return step_executable({key: str(value) for key, value in control.values.items()}, settings)
    except PipelineError as err:
        raise PipelineError(f"{step.where('control.executable')}: {err}") from err


def without_start_time(identity: dict[str, object], settings: Settings) -> dict[str, object]:
    """Return an identity without the start time of this run, which is no change."""
    is_a_time = len(settings.start_time) >= SHORTEST_TIME
    return replace_text(identity, settings.start_time, "{start_time}") if is_a_time else identity


def _identity_of(
    step: Step, control: Control, builder: JobBuilder, jobs: Sequence[PlannedJob], outputs: DataMap
) -> dict[str, object]:
    """Return the identity of a step; a finished step with an equal identity is not run again."""
    executable, program = builder.executable, control.checking_program
    is_script = control.text("nodescript") == PYTHON_PLUGIN  # own scripts only import the package
    return {
        "step": step.name,
        "program": program_identity(executable, program, is_script),
        "executable": [
            str(executable),
            stamp(str(executable)),
            KNOWN_PROGRAMS[program].version(executable) if program else "",
            __version__ if is_script else "",
        ],
        "arguments": [planned.arguments for planned in jobs],
        "environment": sorted(control.environment.items()),
        "inputs": [[(p.host, p.file, p.skip) for p in data_map.data] for data_map in builder.maps],
        "outputs": [(p.host, p.file) for p in outputs.data],
    }


def _check_runner(step: Step, control: Control, settings: Settings) -> None:
    """Refuse a step for another recipe or script interpreter than the runner's own."""
    recipe = settings.tasks.recipe(step.type)
    if recipe != "executable_args":
        problem = f"task type '{step.type}' needs the recipe '{recipe}', which does not exist here"
        raise PipelineError(f"{step.where('control.type')}: {problem}")
    nodescript = control.text("nodescript")
    if nodescript not in NODESCRIPTS:
        where = step.where("control.nodescript")
        raise PipelineError(f"{where} is '{nodescript}'; one of {', '.join(NODESCRIPTS)} is needed")


def _check_outputs_fit(
    step: Step, mapfiles: Sequence[str], maps: Sequence[DataMap], outputs: DataMap, output_mapfile: Path
) -> None:
    """Refuse an output map that does not match the first input map entry by entry."""
    first = maps[0]
    if [p.host for p in first.data] != [p.host for p in outputs.data]:
        raise PipelineError(
            f"step '{step.name}': validation of data mapfiles failed: {len(first.data)} entries in {mapfiles[0]},"
            f" {len(outputs.data)} in {output_mapfile}; lengths and hosts must agree entry by entry"
        )


def _check_inputs_fit(
    step: Step, control: Control, mapfiles: Sequence[str], tokens: Sequence[str], maps: Sequence[DataMap]
) -> None:
    """Refuse input maps without an entry for an unskipped product; extra entries are ignored."""
    first = maps[0]
    needed = max((place for place, product in enumerate(first.data, start=1) if not product.skip), default=0)
    for mapfile, token, other in zip(mapfiles, tokens, maps, strict=True):
        if len(other.data) < needed and mapfile not in control.items("mapfiles_as_string"):
            raise PipelineError(
                f"step '{step.name}': input maps differ in length: {len(first.data)} in {mapfiles[0]},"
                f" {len(other.data)} in {mapfile} (key {token}); one entry per product is needed"
            )


@dataclass(frozen=True)
class OutputNaming:
    """The names of a step's outputs. Source: doc/spec/lofarpipe.md, section 6.3."""

    name: str
    control: Control
    first: DataMap
    first_mapfile: str
    settings: Settings

    def outputs(self) -> tuple[DataMap, Path, dict[Path, DataMap]]:
        """Return the output map, its path, and the maps to write after the jobs."""
        mapfile, several = self.control.text("mapfile_out"), self.control.items("mapfiles_out")
        if mapfile:
            return self._aligned(mapfile), Path(mapfile), {}
        if several:
            maps = {Path(path): self._aligned(path) for path in several}
            return maps[Path(several[0])], Path(several[0]), maps
        if self.control.flag("inplace"):
            outputs = DataMap([DataProduct(p.host, p.file, p.skip) for p in self.first.data])
            others = self.control.items("mapfiles_in") if self.settings.lenient else []
            path = Path((others or [self.first_mapfile])[0])
            return outputs, path, {path: outputs}
        outputs = self._default_map(self.control.text("output_ending"))
        path = self.settings.mapfile_dir / f"{self.name}.mapfile"
        return outputs, path, {path: outputs}

    def _aligned(self, path: str) -> DataMap:
        """Load an existing map, and skip its entries that the first input map skips."""
        outputs = DataMap.load(path)
        for product, source in zip(outputs.data, self.first.data, strict=False):
            product.skip = product.skip or source.skip
        return outputs

    def suffix_maps(self) -> dict[str, tuple[Path, DataMap]]:
        """Return output key -> (mapfile, map) for each output suffix."""
        maps = {}
        for suffix in self.control.items("outputsuffixes"):
            path = self.settings.mapfile_dir / f"{self.name}{suffix}.mapfile"
            maps[path.name] = (path, self._default_map(suffix))
        return maps

    def _default_map(self, suffix: str) -> DataMap:
        workdir = self.settings.job_workdir
        files = [output_file(workdir, p.file, self.name, suffix) for p in self.first.data]
        return DataMap([DataProduct(p.host, file, p.skip) for p, file in zip(self.first.data, files, strict=True)])


def output_file(workdir: Path, infile: str, name: str, suffix: str = "") -> str:
    """Return the default output name: ``<workdir>/<base>.<name><suffix>``.

    ``base`` is the text after the last slash of the input, without its last extension; for a list of files, of the
    last file. Source: doc/spec/lofarpipe.md, section 6.3.
    """
    base = os.path.splitext(infile.rsplit("/", 1)[-1])[0]  # noqa: PTH122 - the text need not be a path
    return f"{workdir}/{base}.{name}{suffix}"


def job_outputs(planned: PlannedJob, result: JobResult, failed: Mapping[str, str]) -> dict[str, str]:
    """Return the outputs of one job: the results of its script, and its usage."""
    script = planned.result is not None
    stats = f'<resource_usage cpu_s="{result.cpu_s:.3f}" max_rss_mb="{result.max_rss_mb:.1f}" />'
    values = {
        # Programs ran below a script of the original runner, which ended with 1 when they failed in any way.
        "returncode": str(result.exit_code if script else int(planned.job.name in failed)),
        "job_duration": f"{result.duration_s:.3f}",
        "monitor_stats": stats,
    }
    if planned.job.name in failed:
        return values
    if planned.result is None:
        values["ok"] = "True"
    elif planned.result.is_file():  # absent if the script called sys.exit(0)
        values |= {**json.loads(planned.result.read_text(encoding="utf-8")), "ok": "True"}
    return values
