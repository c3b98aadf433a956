"""What an earlier run did that need not be done again.

A step is taken as done if, since it ended,

- its resolved keys, its program and the content of its input maps are the same (its *identity*),
- no file or table that it names has changed or disappeared, but for what later steps of the pipeline did to it, and
- the steps before it that wrote what it names are the same ones, and have not run again.

A step whose inputs are maps of values runs again only if these values changed. What a step wrote is found by comparing
what it names before and after; names that are the start of file names count, so that it does not matter how a program
names its outputs. When in doubt, the step runs again.
"""

from __future__ import annotations

import os
import tempfile
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.history import Event, History, fingerprint
from lofarpipe.stamps import SMALL_BYTES, is_same, named_paths, snapshot, stamp, starting_with
from lofarpipe.support.utilities import write_atomically

Identity = Mapping[str, object]

NEVER_DONE = "it was not done before"
NOT_YET = -1  # the serial number of a step that is to run
MAP_ENDINGS = ("mapfile", "datamap")


@dataclass(frozen=True)
class Began:
    """A step that runs."""

    entry: str  # its name in the journal
    identity: Identity
    before: Mapping[str, str]  # stamps of what it names


@dataclass
class Ledger:
    """Follows a run step by step, in the order of the pipeline, and knows what is done."""

    history: History
    settings: Settings
    _writers: dict[str, dict[str, int]] = field(default_factory=dict)  # path -> step -> serial number, so far
    _restored: dict[str, str] = field(default_factory=dict)  # mapfile -> text
    _written: list[str] = field(default_factory=list)  # the paths, ordered

    def stale(self, entry: str, identity: Identity) -> str:
        """Return why a step has to run, or "" if what it did is still good."""
        event = self.history.last_done(entry)
        if event is None:
            return NEVER_DONE
        if event.get("fingerprint") != fingerprint(identity):
            before, now = event.get("parts") or {}, _parts(identity)
            changed = [key for key in now if now[key] != before.get(key)]
            return f"changed: {', '.join(changed) or 'what it is made of'}"
        return self._changed_file(event) or self._changed_dependency(entry, event, identity)

    def take(self, entry: str) -> dict[str, object]:
        """Take a step as done: return its outputs, with its maps on disk as it left them."""
        event = self.history.last_done(entry) or {}
        for path, text in (event.get("maps") or {}).items():
            # Any other text was put there by somebody, who shall be heard.
            if _text(path) in (None, self.history.maps[path], self._restored.get(path)):
                write_atomically(Path(path), text)
                self._restored[path] = text
        return self.recall(entry)

    def recall(self, entry: str) -> dict[str, object]:
        """Take a step as done, and return its outputs; nothing is written."""
        event = self.history.last_done(entry) or {}
        self._note(entry, event)
        return dict(event.get("outputs") or {})

    def suppose(self, entry: str) -> dict[str, object] | None:
        """Suppose that a step will run, and return the outputs of the last time; None if there was none."""
        event = self.history.last_done(entry)
        if event is None:
            return None
        self._note(entry, {**event, "serial": NOT_YET})
        return dict(event.get("outputs") or {})

    def begin(self, entry: str, identity: Identity, **facts: object) -> Began:
        """Record that a step runs, with further facts."""
        names = self._names(identity)
        self.history.record("step_started", step=entry, **facts, names=sorted(names))
        return Began(entry, identity, self._snapshot(names))

    def finish(self, began: Began, outputs: Mapping[str, object], **facts: object) -> None:
        """Record that a step is done, with ``outputs`` and further facts."""
        maps = _maps(outputs)
        names = self._names(began.identity, outputs, maps)
        after = self._snapshot(names)
        before = {**{path: self.history.files.get(path) for path in after}, **began.before}
        self.history.record(
            "step_done",
            step=began.entry,
            fingerprint=fingerprint(began.identity),
            parts=_parts(began.identity),
            outputs=outputs,
            maps=maps,
            files={path: mark for path, mark in after.items() if path in names and path not in maps},
            written={path: after.get(path) for path in sorted(before) if after.get(path) != before[path]},
            depends=self._dependencies(began.entry, names),
            **facts,
        )
        self._note(began.entry, self.history.last_done(began.entry) or {})

    def _changed_file(self, event: Event) -> str:
        written = event.get("written") or {}
        for path, mark in (event.get("files") or {}).items():
            now = stamp(path)
            by_a_step = path in self.history.written and is_same(now, self.history.written[path])
            if is_same(now, mark) or by_a_step or path in self.history.in_flux:
                continue
            if now is not None:
                return f"{path} changed"
            if path not in written or self._is_below_workdir(path):
                return f"{path} has disappeared"
        return ""

    def _changed_dependency(self, entry: str, event: Event, identity: Identity) -> str:
        names = self._names(identity, event.get("outputs") or {}, event.get("maps") or {})
        before, now = event.get("depends") or {}, self._dependencies(entry, names)
        for step in [*now, *before]:
            if step not in now:
                return f"step '{step}', which wrote what it uses, does not come before it any more"
            if now[step] != before.get(step):
                return f"step '{step}' wrote what it uses, and did not run when this was done, or ran again"
        return ""

    def _note(self, entry: str, event: Event) -> None:
        for path in event.get("written") or {}:
            if path not in self._writers:
                insort(self._written, path)
            self._writers.setdefault(path, {})[entry] = int(event["serial"])

    def _dependencies(self, entry: str, names: Iterable[str]) -> dict[str, int]:
        """Return the steps so far that wrote something that is named, with the serial number of their last run."""
        found: dict[str, int] = {}
        for name in names:
            for path in self._meant(name):
                found |= self._writers[path]
        found.pop(entry, None)
        return found

    def _meant(self, name: str) -> Iterator[str]:
        """Yield the written paths that a name stands for: the path, what is in it, or what begins with it."""
        if name in self._writers:
            yield name
        is_there = os.path.exists(name)  # noqa: PTH110 - of very many names
        if not (is_there and self._is_common(name)):
            yield from starting_with(f"{name}/" if is_there or name in self._writers else name, self._written)

    def _is_common(self, directory: str) -> bool:
        """Whether everything of a run is below a directory, so that naming it says nothing."""
        settings = self.settings
        ours = (settings.job_workdir, settings.job_directory, settings.mapfile_dir, settings.parset_dir)
        places = [*map(str, ours), tempfile.gettempdir()]
        return any(place == directory or place.startswith(f"{directory}/") for place in places)

    def _is_below_workdir(self, path: str) -> bool:
        places = (self.settings.job_workdir, self.settings.job_directory)
        return any(path.startswith(f"{place}/") for place in places)

    def _names(
        self, identity: Identity, outputs: Mapping[str, object] | None = None, maps: Mapping[str, str] | None = None
    ) -> set[str]:
        """Return every path that a step names in its keys, its maps, and the maps that its keys name."""
        said = [value for key, value in identity.items() if key != "step"]
        names = named_paths([said, outputs or {}], self.settings.job_workdir)
        texts = [text for name in names if name.endswith(MAP_ENDINGS) and (text := _text(name))]
        listed = named_paths([*texts, *(maps or {}).values()], self.settings.job_workdir)
        return {name for name in names | listed if not self._is_bookkeeping(name)}

    def _snapshot(self, names: Iterable[str]) -> dict[str, str]:
        return {path: mark for path, mark in snapshot(names).items() if not self._is_bookkeeping(path)}

    def _is_bookkeeping(self, path: str) -> bool:
        """Whether a file is the runner's own, and changes with every step."""
        here = f"{self.settings.job_directory}/"
        ours = ("commands.txt", "journal.", "jobs/", "logs/")
        return path.startswith(tuple(here + name for name in ours)) or path == str(self.settings.log_file)


def _parts(identity: Identity) -> dict[str, str]:
    """Return a short mark of each part of an identity: it tells which part changed."""
    return {key: fingerprint(value)[:16] for key, value in identity.items()}


def _maps(outputs: Mapping[str, object]) -> dict[str, str]:
    """Return the texts of the maps among the outputs of a step, but for huge ones."""
    paths = [str(value) for key, value in outputs.items() if key.endswith("mapfile")]
    return {path: text for path in paths if (text := _text(path)) is not None and len(text) <= SMALL_BYTES}


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):
        return None
