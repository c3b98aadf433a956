"""The up-to-date check: reuse of steps and jobs done by earlier runs.

A step is up to date if, since it ended,

- its resolved keys, its program and the content of its input maps are the same (its *identity*),
- no file or table that it names has changed or disappeared, except by later steps of the pipeline, and
- the earlier steps that wrote these files are the same, and have not run again.

A step with maps of values as inputs runs again only if the values changed. The outputs of a step are found by comparing
the named files before and after it; prefixes of file names count too, so it does not matter how a program
names its outputs. When in doubt, the step runs again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.state.events import JobDone, StepDone
from lofarpipe.state.fingerprints import (
    SMALL_BYTES,
    fingerprint,
    is_same,
    named_paths,
    names_starting_with,
    snapshot,
    stamp,
    texts,
)
from lofarpipe.state.identity import (
    EXECUTABLE,
    Identity,
    Upgrades,
    has_identity,
    identity_program,
    mark_of,
    without_program,
)
from lofarpipe.state.journal import Stream
from lofarpipe.state.other_runs import OtherRuns
from lofarpipe.state.work import Work
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

NEVER_DONE = "it was not done before"
NOT_YET = -1  # serial number of a step yet to run
MAP_ENDINGS = ("mapfile", "datamap")


@dataclass(frozen=True)
class StepStart:
    """A running step."""

    entry: str  # name in the journal
    identity: Identity
    stamps: Mapping[str, str]  # fingerprints of the named paths
    kept_stamps: Mapping[str, str | None]  # fingerprints of outputs of jobs not run again
    program: Sequence[str] = ()  # program of such a job, if different


class FilesOnDisk:
    """The disk of a run: files are under their names. A dry run has an overlay instead."""

    def read_path(self, path: str) -> str:
        """Return the path for reading a file."""
        return path

    def write_path(self, path: str) -> str:
        """Return the path for writing a file."""
        return path


@dataclass
class Ledger:
    """Tracks a run step by step, in pipeline order, and checks finished work."""

    stream: Stream
    settings: Settings
    disk: FilesOnDisk = field(default_factory=FilesOnDisk)
    upgrades: Upgrades = field(default_factory=Upgrades)
    _writers: dict[str, dict[str, int]] = field(default_factory=dict)  # path -> step -> serial number, so far
    _makers: dict[str, dict[str, int]] = field(default_factory=dict)  # path -> job (or step) -> serial number, so far
    _restored: dict[str, str] = field(default_factory=dict)  # mapfile -> text
    _known_paths: list[str] = field(default_factory=list)  # paths of _writers; sorted on demand
    _is_ordered: bool = True

    def __post_init__(self) -> None:
        pattern = self.settings.sections.get("layout", {}).get("other_runs", "")
        self.others = OtherRuns(pattern, self.settings.job_directory)

    @property
    def work(self) -> Work:
        """The finished work."""
        return self.stream.state.work

    def stale(self, entry: str, identity: Identity, is_tolerant: bool = True) -> str:
        """Return the reason to run a step, or "" if its outputs are still valid.

        Parameters
        ----------
        is_tolerant: whether the step is valid despite failed jobs.
        """
        event = self.work.last_done(entry)
        if event is None:
            return NEVER_DONE
        if not has_identity(event, identity):
            now = _parts(identity)
            parts = [key for key in now if now[key] != event.parts.get(key)]
            return f"changed: {', '.join(parts) or 'what it is made of'}"
        if changed := self.upgrades.stale(event, identity):
            return changed
        if event.failed and not is_tolerant:
            return f"{event.failed} of {event.jobs} jobs failed"
        changed = next((change for _, change in self.changed_files(entry, event)), "")
        return changed or self._changed_dependency(entry, event, identity)

    def restore_step(self, entry: str) -> dict[str, object]:
        """Accept a step as done: restore its maps on disk, and return its outputs."""
        event = self.work.last_done(entry)
        for path, text in event.maps.items() if event else ():
            # Any other text was written by the user, and is respected.
            if text_of(self.disk.read_path(path)) in (None, self.work.maps[path], self._restored.get(path)):
                write_atomically(Path(self.disk.write_path(path)), text)
                self._restored[path] = text
        return self.accept_step(entry)

    def accept_step(self, entry: str) -> dict[str, object]:
        """Accept a step as done, and return its outputs; nothing is written."""
        event = self.work.last_done(entry)
        if event is None:
            return {}
        self._record_writers(entry, event.all_written, event.serial)
        return dict(event.outputs)

    def record_pending(self, entry: str, jobs: Mapping[str, Iterable[str]], paths: Iterable[str]) -> None:
        """Record jobs of a step as pending; for a step that never ran, also its outputs ``paths``.

        Parameters
        ----------
        jobs: pending job -> its outputs beyond those of earlier runs.
        """
        event = self.work.last_done(entry)
        self._record_writers(entry, set(paths if event is None else event.all_written), NOT_YET, jobs)
        for job, outputs in jobs.items():
            self._record_paths(self._makers, job, outputs, NOT_YET)

    def fingerprint_step(self, entry: str, identity: Identity, finished_jobs: Iterable[JobDone] = ()) -> StepStart:
        """Fingerprint the paths named by a step before it runs; the end events ``finished_jobs`` stay valid."""
        last, finished_jobs = self.work.written, list(finished_jobs)
        program = identity_program(identity)
        older = (list(event.program) for event in finished_jobs if event.program and list(event.program) != program)
        stamps = {path: last.get(path, mark) for event in finished_jobs for path, mark in event.written.items()}
        return StepStart(entry, identity, self._snapshot(self._names(identity)), stamps, next(older, program))

    def finish(
        self, start: StepStart, outputs: Mapping[str, object], jobs: int = 0, failed: int = 0, duration_s: float = 0.0
    ) -> None:
        """Record that a step is done, with ``outputs``."""
        maps = _maps(outputs)
        names = self._names(start.identity, outputs, maps)
        present_stamps = self._snapshot(names)
        former_stamps = {**{path: self.work.files.get(path) for path in present_stamps}, **start.stamps}
        changed = {
            path: present_stamps.get(path)
            for path in sorted(former_stamps)
            if present_stamps.get(path) != former_stamps[path]
        }
        by_jobs = {path for end in self.work.jobs_ended(start.entry) for path in end.written}
        by_jobs -= start.kept_stamps.keys()
        self.stream.emit(
            StepDone(
                start.entry,
                fingerprint=mark_of(start.identity),
                program=start.program,
                parts=_parts(start.identity),
                outputs=outputs,
                maps=maps,
                files={path: mark for path, mark in present_stamps.items() if path in names and path not in maps},
                written={**{path: present_stamps.get(path) for path in sorted(by_jobs)}, **changed},
                kept={path: mark for path, mark in start.kept_stamps.items() if path not in changed},
                depends=self._dependencies(start.entry, names, own_outputs(start.identity)),
                jobs=jobs,
                failed=failed,
                duration_s=duration_s,
            )
        )
        self.accept_step(start.entry)

    def changed_files(self, step: str, event: StepDone | JobDone) -> Iterator[tuple[str, str]]:
        """Yield (file, description) for each changed output of a step or of one of its jobs.

        Changes by later steps do not count.
        """
        work = self.work
        outputs = event.all_written if isinstance(event, StepDone) else event.written
        for path, mark in event.files.items():
            now = stamp(self.disk.read_path(path))
            by_a_step = path in work.written and is_same(now, work.written[path])
            if is_same(now, mark) or by_a_step or work.is_in_flux(path, now, besides=step):
                continue
            if now is not None and mark is not None and self.others.explains(path, mark, now):
                continue
            if now is not None:
                yield path, f"{path} changed"
            elif path not in outputs or self.is_below_workdir(path):
                yield path, f"{path} has disappeared"

    def _changed_dependency(self, entry: str, event: StepDone, identity: Identity) -> str:
        names = self._names(identity, event.outputs, event.maps)
        former, now = event.depends, self._dependencies(entry, names, own_outputs(identity))
        for step in [*now, *former]:
            if step not in now:
                return f"step '{step}', which wrote what it uses, does not come before it any more"
            if now[step] != former.get(step):
                return f"step '{step}' wrote what it uses, and did not run when this was done, or ran again"
        return ""

    def _record_writers(
        self, entry: str, outputs: Iterable[str], serial: int, pending_jobs: Container[str] = ()
    ) -> None:
        """Record the writers of paths; ``pending_jobs`` may still run."""
        paths = set(outputs)
        by_job: set[str] = set()
        for end in self.work.end_events(entry):
            by_job |= self._record_paths(
                self._makers, end.job, end.written, NOT_YET if end.job in pending_jobs else end.serial
            )
        self._record_paths(self._writers, entry, paths, serial)
        self._record_paths(self._makers, entry, paths - by_job, serial)

    def _record_paths(
        self, writers: dict[str, dict[str, int]], writer: str, paths: Iterable[str], serial: int
    ) -> set[str]:
        new_paths = set(paths)
        for path in new_paths:
            if path not in self._writers and path not in self._makers:
                self._known_paths.append(path)
                self._is_ordered = False
            writers.setdefault(path, {})[writer] = serial
        return new_paths

    def _dependencies(self, entry: str, names: Iterable[str], outputs: Container[str]) -> dict[str, int]:
        """Return the steps so far that wrote files of the names -> serial number of their last run.

        ``outputs`` are those of the step itself: files of other steps with such a prefix are not inputs.
        """
        writers: dict[str, int] = {}
        for name in names:
            for path in self._paths_of_name(name, name in outputs):
                writers |= self._writers.get(path, {})
        writers.pop(entry, None)
        return writers

    def makers(self, entry: str, name: str, is_output: bool = False) -> dict[str, int]:
        """Return the jobs of other steps so far that wrote the files of a name -> serial number.

        If the job is unknown, its step is returned.
        """
        serials: dict[str, int] = {}
        for path in self._paths_of_name(name, is_output):
            serials |= self._makers.get(path, {})
        return {maker: serial for maker, serial in serials.items() if maker.rpartition("/")[0] != entry != maker}

    def _paths_of_name(self, name: str, is_output: bool) -> Iterator[str]:
        """Yield the written paths of a name: the path itself, paths below it, or paths with it as prefix."""
        is_written = name in self._writers or name in self._makers
        if is_written:
            yield name
        is_there = os.path.exists(self.disk.read_path(name))  # noqa: PTH110 - called for very many names
        if not (is_there and self.is_common(name)):
            if not self._is_ordered:  # sorting is slow, so on demand
                self._known_paths.sort()
                self._is_ordered = True
            is_whole = is_there or is_written or is_output
            yield from names_starting_with(f"{name}/" if is_whole else name, self._known_paths)

    def is_common(self, directory: str) -> bool:
        """Whether a directory contains the whole run, so that naming it means no dependency."""
        return any(place.startswith(f"{directory}/") for place in self._common_places)

    @cached_property
    def _common_places(self) -> tuple[str, ...]:
        """The directories of a run, each with a slash at its end."""
        settings = self.settings
        ours = (settings.job_workdir, settings.job_directory, settings.mapfile_dir, settings.parset_dir)
        return tuple(f"{place}/" for place in (*ours, tempfile.gettempdir()))

    def is_below_workdir(self, path: str) -> bool:
        """Whether a path is below a directory of this run."""
        places = (self.settings.job_workdir, self.settings.job_directory)
        return any(path.startswith(f"{place}/") for place in places)

    def _names(
        self, identity: Identity, outputs: Mapping[str, object] | None = None, maps: Mapping[str, str] | None = None
    ) -> set[str]:
        """Return every path named in a step's keys, in its maps, and in maps named by its keys."""
        values = [value for key, value in without_program(identity).items() if key != "step"]
        names = named_paths([values, self.made_program(identity), outputs or {}], self.settings.job_workdir)
        names |= self.listed_in_maps(names, (maps or {}).values())
        return {name for name in names if not self.is_bookkeeping(name)}

    def listed_in_maps(self, names: Iterable[str], further: Iterable[str] = ()) -> set[str]:
        """Return the paths in maps among the names, and in ``further`` map texts."""
        maps = [text for name in names if name.endswith(MAP_ENDINGS) and (text := text_of(self.disk.read_path(name)))]
        return named_paths([*maps, *further], self.settings.job_workdir)

    def made_program(self, identity: Identity) -> list[str]:
        """Return the path of the program if a step of this run may have made it."""
        program = next(texts(identity.get(EXECUTABLE, ())), "")
        return [program] if self.is_below_workdir(program) else []

    def _snapshot(self, names: Iterable[str]) -> dict[str, str]:
        return {path: mark for path, mark in snapshot(names).items() if not self.is_bookkeeping(path)}

    def is_bookkeeping(self, path: str) -> bool:
        """Whether a file belongs to the runner, and changes with every step."""
        starts, log_file = self._bookkeeping
        return path.startswith(starts) or path == log_file

    @cached_property
    def _bookkeeping(self) -> tuple[tuple[str, ...], str]:
        """Prefixes of the runner's own files, and its log."""
        ours = ("commands.txt", "journal.", "jobs/", "logs/", "run.json", "report.html")
        return tuple(f"{self.settings.job_directory}/{name}" for name in ours), str(self.settings.log_file)


def own_outputs(identity: Identity) -> set[str]:
    """Return the paths written but not read by a step or a job."""
    outputs = [identity.get("outputs", ()), identity.get("output", ())]
    return set(texts(outputs)) - set(texts(identity.get("inputs", ())))


def _parts(identity: Identity) -> dict[str, str]:
    """Return a short fingerprint of each part of an identity, to name the changed part."""
    return {key: fingerprint(value)[:16] for key, value in without_program(identity).items()}


def _maps(outputs: Mapping[str, object]) -> dict[str, str]:
    """Return mapfile -> text for the maps among a step's outputs, except huge ones."""
    paths = [str(value) for key, value in outputs.items() if key.endswith("mapfile")]
    return {path: text for path in paths if (text := text_of(path)) is not None and len(text) <= SMALL_BYTES}


def text_of(path: str) -> str | None:
    """Return the text of a file; None if missing or unreadable."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):
        return None
