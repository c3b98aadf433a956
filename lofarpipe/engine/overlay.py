"""Files that a dry run writes: in a directory of its own, and found there by the names that a run would give them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lofarpipe.errors import PipelineError
from lofarpipe.state.fingerprints import named_files, texts
from lofarpipe.state.uptodate import FilesOnDisk


@dataclass
class Awaited:
    """The paths that such jobs name, and their steps.

    Parameters
    ----------
    workdir: where the jobs run; what they do not name is most likely written there.
    """

    workdir: Path
    _steps: dict[str, str] = field(default_factory=dict)  # path -> step

    def add(self, step: str, paths: Iterable[str]) -> None:
        """Keep the paths that the jobs of a step name."""
        self._steps |= dict.fromkeys(paths, step)

    def has_any(self, paths: Iterable[str]) -> bool:
        """Whether one of the paths may be written."""
        return not self._steps.keys().isdisjoint(paths)

    def writer(self, folder: str) -> str:
        """Return a step whose jobs may yet write something new into a directory; "" if there is none.

        A file that is there, and is named, is taken for an input: it does not change what there is to be found.
        """
        if self._steps and _is_below(folder, str(self.workdir)):
            return next(iter(self._steps.values()))
        for path, step in self._steps.items():
            if _is_below(folder, path) or (_is_below(path, folder) and not os.path.lexists(path)):
                return step
        return ""


def named_by_job(thing: object, workdir: Path) -> list[str]:
    """Return the paths that the texts of a job name; of a text that is a file, no piece counts: it may have blanks."""
    names: list[str] = []
    for text in texts(thing):
        is_file = text.startswith("/") and os.path.lexists(text)
        names += [text] if is_file else sorted(named_files(text, workdir))
    return names


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


Thing = TypeVar("Thing")

ENDS = r"\s,\[\]'\"="  # what stands around a name in a text with several
NAMES_WITHIN = {"filename", "newname", "outmapname"}  # arguments of plugins: names in a directory that they are given
PLACEHOLDER = re.compile(r"<[\w+-]+:[^<>:/]+:\d+>")


def placeholder(step: str, key: str, place: int) -> str:
    """Return what stands for a value that a job gives when it runs; without dots and slashes it stays in a name."""
    return f"<{step}:{key}:{place:03d}>"


class Shadow(FilesOnDisk):
    """The file ``<root>/a/b`` stands for ``/a/b``; what is not there is looked for under its own name.

    Parameters
    ----------
    root: an empty directory; its name must be in no other text.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._names: set[str] = set()  # of the files that are there, as a run has them
        self._uncertain: set[str] = set()  # those with placeholders in them
        self._marks: dict[str, tuple[int, int]] = {}
        self._folders: set[str] = set()
        self._named = re.compile("(?!)")

    def found(self, path: str) -> str:
        """Return where to read a file."""
        return f"{self._root}{path}" if path in self._names else path

    def made(self, path: str) -> str:
        """Return where to write a file, which from now on is found there."""
        name = self.back(_absolute(path))
        self._add(name)
        return self._there(name)

    def places(self, writes: Iterable[str], given: Mapping[str, object]) -> dict[str, str]:
        """Return what to give to a plugin for the arguments that say where it writes: directories, or files.

        Raises
        ------
        PipelineError
            If a name that goes with them leads somewhere else.
        """
        for key in NAMES_WITHIN & given.keys():
            path = Path(str(given[key]))
            if path.is_absolute() or ".." in path.parts:
                raise PipelineError(f"{key} is {path}, and a dry run writes below the directory that is given alone")
        return {key: self.place(key, str(given[key])) for key in writes if given.get(key)}

    def place(self, argument: str, path: str) -> str:
        """Return where an argument of a plugin may lead to that names a directory, or a file that it writes."""
        name = self.back(_absolute(path))
        there = self._there(name)
        if argument.endswith("_dir"):
            Path(there).mkdir(exist_ok=True)
        elif name not in self._names and Path(name).is_file():  # it is changed in place
            shutil.copyfile(name, there)
            self._add(name)
        return there

    def into(self, text: str) -> str:
        """Return a text in which the names of files say where they are."""
        if "/" not in text or not self._names:
            return text
        if _absolute(text) in self._names:
            return f"{self._root}{_absolute(text)}"
        return self._named.sub(lambda match: self.found(match[0]), text)

    def back(self, thing: Thing) -> Thing:
        """Return a thing in the texts of which files have the names that a run gives them."""
        return _without(thing, self._root)

    def settle(self) -> None:
        """Look for what was written: in these files, too, names are those that a run gives."""
        for path in self._files():
            status = path.stat()
            if self._marks.get(str(path)) == (status.st_mtime_ns, status.st_size):
                continue
            content, root = path.read_bytes(), self._root.encode()
            if root in content:
                content = content.replace(root, b"")
                path.write_bytes(content)
            status = path.stat()
            self._marks[str(path)] = (status.st_mtime_ns, status.st_size)
            name = str(path).removeprefix(self._root)
            self._add(name)
            is_uncertain = PLACEHOLDER.search(content.decode(errors="replace")) is not None
            (self._uncertain.add if is_uncertain else self._uncertain.discard)(name)

    def uncertain(self, text: str) -> list[str]:
        """Return the names in a text that ``into`` has given of files with placeholders in them."""
        return [name for name in sorted(self._uncertain) if _is_in(f"{self._root}{name}", text)]

    def has_folder(self, path: str) -> bool:
        """Whether files of a directory are here, and others may not be."""
        return _absolute(path) in self._folders

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self._root):
            yield from (Path(folder, name) for name in names)

    def _there(self, name: str) -> str:
        there = f"{self._root}{name}"
        Path(there).parent.mkdir(parents=True, exist_ok=True)
        return there

    def _add(self, name: str) -> None:
        self._names.add(name)
        folder = name.rpartition("/")[0]
        if folder not in self._folders:
            self._folders.add(folder)
            folders = "|".join(map(re.escape, sorted(self._folders, key=len, reverse=True)))
            self._named = re.compile(rf"(?<![^{ENDS}:])(?:{folders})/[^{ENDS}]+")


def _absolute(path: str) -> str:
    plain = "//" not in path and "/." not in path and path.startswith("/") and not path.endswith("/")
    return path if plain else os.path.normpath(Path(path).absolute())


def _is_in(name: str, text: str) -> bool:
    return name == text or re.search(rf"{re.escape(name)}(?![^{ENDS}])", text) is not None


def _without(thing: Thing, root: str) -> Thing:
    """Return a thing with ``root`` taken out of every text in it."""
    if isinstance(thing, str):
        return thing.replace(root, "")  # type: ignore[return-value]
    if isinstance(thing, Path):
        return Path(str(thing).replace(root, ""))  # type: ignore[return-value]
    if isinstance(thing, Mapping):
        return {_without(key, root): _without(value, root) for key, value in thing.items()}  # type: ignore[return-value]
    if isinstance(thing, list | tuple):
        return type(thing)(_without(item, root) for item in thing)
    return thing
