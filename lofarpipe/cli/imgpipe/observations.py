"""The data handler: measurement sets by patterns of observations and spectral windows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lofarpipe.cli.imgpipe.settings import as_toml
from lofarpipe.errors import Finding, PipelineError, nearest
from lofarpipe.support.config_file import TomlFile
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.host_list import expand_hosts
from lofarpipe.support.patterns import lazy_pattern

SUBBANDS = lazy_pattern(r"l1", re.IGNORECASE)  # name prefix of levels with one set per subband
ALL_WINDOWS = "*"


@dataclass(frozen=True)
class SetAt:
    """One measurement set to image, with its observation and window.

    Attributes
    ----------
    path: as it was written, or as the data handler names it.
    obs_id, window: observation and spectral window; None for sets given by path.
    """

    path: Path
    obs_id: str | None = None
    window: str | None = None


@dataclass(frozen=True)
class Level:
    """One level of the data: the location of its sets, and its parent level."""

    name: str
    path: str
    input: str | None = None
    has_subbands: bool = False
    is_lst: bool = False


@dataclass(frozen=True)
class ObservationHosts:
    """One observation: the host of each window, or for one in time chunks its hosts and its parents."""

    obs_id: str
    hosts: tuple[str, ...]
    parents: tuple[str, ...] = ()

    @property
    def is_chunked(self) -> bool:
        """Whether its windows are in time chunks."""
        return bool(self.parents)


class DataHandler:
    """The observations, windows and levels of one TOML file.

    Raises
    ------
    PipelineError
        If the file cannot be read, or lacks a section.

    See doc/pipelines/imgpipe.md, Data handler.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        tables = TomlFile(path).document
        self._tables = {name: self._table(tables, name) for name in ("obs_ids", "spectral_windows")}
        for name in ("n2_obs_ids", "n2_group"):
            self._tables[name] = self._table(tables, name, is_needed=False)
        self.windows, self.composites = self._read_windows()
        self.observations = self._read_observations()
        self.levels = self._read_levels(tables)

    def _table(self, tables: Mapping[str, object], name: str, is_needed: bool = True) -> dict[str, object]:
        table = tables.get(name, None if is_needed else {})
        if not isinstance(table, dict):
            problem = "there is no section" if table is None else f"{name} is {as_toml(table)}, not the section"
            raise PipelineError(f"{self.path}: {problem} [{name}], which a data handler needs")
        return table

    def _read_windows(self) -> tuple[dict[str, range], dict[str, tuple[str, ...]]]:
        """Return window -> its subbands, and composite window -> its members."""
        windows: dict[str, range] = {}
        composites: dict[str, tuple[str, ...]] = {}
        for name, value in self._tables["spectral_windows"].items():
            if _is_list(value, int) and len(value) == 2 and value[0] <= value[1]:  # type: ignore[arg-type,index]
                windows[name] = range(value[0], value[1] + 1)  # type: ignore[index]
            elif _is_list(value, str):
                composites[name] = tuple(value)  # type: ignore[arg-type]
            else:
                raise PipelineError(
                    f"{self.path}: spectral_windows.{name} is {as_toml(value)}; the first and the last subband, such "
                    "as [202, 204], or a list of windows is needed"
                )
        for name, members in composites.items():
            if missing := [member for member in members if member not in windows]:
                raise PipelineError(
                    f"{self.path}: spectral_windows.{name}: '{missing[0]}' is no window{nearest(missing[0], windows)}"
                )
        return windows, composites

    def _read_observations(self) -> dict[str, ObservationHosts]:
        observations = {}
        for obs_id, hosts in self._tables["obs_ids"].items():
            if not _is_list(hosts, str):
                raise PipelineError(f"{self.path}: obs_ids.{obs_id} is {as_toml(hosts)}; a list of hosts is needed")
            if len(hosts) < len(self.windows):  # type: ignore[arg-type]
                raise PipelineError(
                    f"{self.path}: obs_ids.{obs_id} has {len(hosts)} hosts, and there are "  # type: ignore[arg-type]
                    f"{len(self.windows)} windows: {', '.join(self.windows)}; one host for each is needed"
                )
            observations[obs_id] = ObservationHosts(obs_id, tuple(hosts))  # type: ignore[arg-type]
        for obs_id, table in self._tables["n2_obs_ids"].items():
            observations[obs_id] = self._read_chunked(obs_id, table)
        return observations

    def _read_chunked(self, obs_id: str, table: object) -> ObservationHosts:
        where = f"{self.path}: n2_obs_ids.{obs_id}"
        entries = table if isinstance(table, dict) else {}
        nodes, parents = entries.get("nodes"), entries.get("n1_obs_ids")
        hosts = list(expand_hosts(nodes)) if isinstance(nodes, str) else nodes
        if not _is_list(hosts, str) or not hosts or not _is_list(parents, str) or not parents:
            raise PipelineError(f"{where} needs nodes (a list of hosts) and n1_obs_ids (a list of observations)")
        return ObservationHosts(obs_id, tuple(hosts), tuple(parents))

    def _read_levels(self, tables: Mapping[str, object]) -> dict[str, Level]:
        newer, older = tables.get("data_levels"), tables.get("data_level_path")
        if newer is not None and older is not None:
            raise PipelineError(f"{self.path}: has [data_levels] and [data_level_path], its older form; remove one")
        if newer is None and older is None:
            raise PipelineError(f"{self.path}: there is no section [data_levels.NAME], which a data handler needs")
        if older is not None:
            lst = set(self._table(tables, "lst_binning", is_needed=False))
            paths = self._table(tables, "data_level_path")
            tables_of = {name: {"path": path, **({"lst": {}} if name in lst else {})} for name, path in paths.items()}
        else:
            tables_of = self._table(tables, "data_levels")  # type: ignore[assignment]
        for name, table in tables_of.items():
            if not isinstance(table, dict) or not isinstance(table.get("path"), str):
                raise PipelineError(f"{self.path}: data_levels.{name} needs path, where its sets are")
        return {name: self._level(name, tables_of) for name in tables_of}

    def _level(self, name: str, tables: Mapping[str, Mapping[str, object]]) -> Level:
        table = tables[name]
        made_from = table.get("input")
        subbands = table.get("subbands", bool(SUBBANDS.match(name)))
        return Level(
            name=name,
            path=str(table["path"]),
            input=str(made_from) if made_from else None,
            has_subbands=bool(subbands) and not made_from,
            is_lst=self._is_lst(name, tables, ()),
        )

    def _is_lst(self, name: str, tables: Mapping[str, Mapping[str, object]], below: tuple[str, ...]) -> bool:
        """Whether a level, or the parent that its sets map to one by one, is binned in sidereal time."""
        table = tables.get(name, {})
        if name in below:
            raise PipelineError(f"{self.path}: data_levels.{name}: these are made from each other in a circle")
        if "lst" in table:
            return True
        made_from = table.get("input")
        return bool(made_from) and "split" not in table and self._is_lst(str(made_from), tables, (*below, name))

    def notices(self) -> list[str]:
        """Return notices about the file."""
        window_count = len(self.windows)
        more = [one for one in self.observations.values() if not one.is_chunked and len(one.hosts) > window_count]
        return [
            f"{self.path}: obs_ids.{one.obs_id} has {len(one.hosts)} hosts for {window_count} windows; "
            "the last are not used"
            for one in more
        ]

    def find(self, arguments: Sequence[str], level: str) -> tuple[list[SetAt], list[Finding], list[str]]:
        """Return the sets that arguments stand for, findings about the arguments, and windows without sets.

        Each argument is ``PATTERN[,PATTERN...][:WINDOWPATTERN]``; the order is arguments, windows, observations.
        """
        if level not in self.levels:
            level_names = ", ".join(self.levels)
            problem = (
                f"data_level {level!r}: there is no such level; there are {level_names}{nearest(level, self.levels)}"
            )
            return [], [Finding(str(self.path), problem)], []
        sets_found: list[SetAt] = []
        findings: list[Finding] = []
        empty = []
        for argument in arguments:
            try:
                for window, observation in list(self._selected(argument)):
                    sets = self._sets(self.levels[level], observation, window)
                    sets_found += [SetAt(path, observation.obs_id, window) for path in sets]
                    empty += [] if sets else [f"{observation.obs_id}, {window}: there is no set of level {level}"]
            except ValueError as err:
                findings.append(Finding(argument, str(err)))
        return sets_found, findings, empty

    def _selected(self, argument: str) -> Iterator[tuple[str, ObservationHosts]]:
        """Yield the (window, observation) pairs of one argument."""
        patterns, *windows = argument.split(":")
        if len(windows) > 1:
            raise ValueError("has more than one colon; PATTERN[,PATTERN...][:WINDOWPATTERN] is needed")
        names = [self._matching(pattern.strip(), argument) for pattern in patterns.split(",")]
        observations = [self.observations[name] for name in dict.fromkeys(name for few in names for name in few)]
        window_names = [*self._tables["spectral_windows"]] if windows else [*self.windows]
        pattern = windows[0] if windows else ALL_WINDOWS
        matching = [name for name in window_names if fnmatchcase(name, pattern)]
        if not matching:
            raise ValueError(f"no spectral window matches '{pattern}'; there are {', '.join(window_names)}")
        for window in matching:
            for observation in observations:
                yield window, observation

    def _matching(self, pattern: str, argument: str) -> list[str]:
        matching = [name for name in self.observations if fnmatchcase(name, pattern)]
        if matching:
            return matching
        if pattern in self._tables["n2_group"]:
            members = self._tables["n2_group"][pattern]
            names = ",".join(members) if _is_list(members, str) else members  # type: ignore[arg-type]
            raise ValueError(f"'{pattern}' is a group of observations; give its members: {names}")
        if "/" in pattern or Path(argument).exists():
            raise ValueError(
                "is the path of a set, and data_handler.config_file is set, so that patterns of observations are "
                "expected; remove config_file, or give a pattern"
            )
        raise ValueError(f"no observation matches '{pattern}'{nearest(pattern, self.observations)}")

    # ---- the sets of an observation and a window

    def _sets(self, level: Level, observation: ObservationHosts, window: str) -> list[Path]:
        if window in self.composites:
            has_own = observation.is_chunked and not level.has_subbands
            chunk_sets = self._chunks(level, observation, window) if has_own else []
            return chunk_sets or [
                path for member in self.composites[window] for path in self._sets(level, observation, member)
            ]
        if level.has_subbands:
            parents = observation.parents if observation.is_chunked else (observation.obs_id,)
            return [path for parent in parents for path in self._subband_sets(level, parent, window)]
        if observation.is_chunked or level.is_lst:
            return self._chunks(level, observation, window)
        return [self._directory(level, observation, self._host(observation, window)) / f"{window}.MS"]

    def _subband_sets(self, level: Level, obs_id: str, window: str) -> list[Path]:
        if obs_id not in self.observations:
            raise ValueError(
                f"its parent '{obs_id}' is no observation of {self.path}{nearest(obs_id, self.observations)}"
            )
        observation = self.observations[obs_id]
        directory = self._directory(level, observation, self._host(observation, window))
        return [directory / f"SB{number}.MS" for number in self.windows[window]]

    def _host(self, observation: ObservationHosts, window: str) -> str:
        return observation.hosts[[*self.windows].index(window)]

    def _chunks(self, level: Level, observation: ObservationHosts, window: str) -> list[Path]:
        """Return the time chunks of a window in the order of their numbers, whatever host they are on."""
        hosts = observation.hosts if observation.is_chunked else (self._host(observation, window),)
        directories = dict.fromkeys(self._directory(level, observation, host) for host in hosts)
        kinds = "(?:LST|T)" if level.is_lst else "T"
        chunk = re.compile(rf"{re.escape(window)}_{kinds}(?P<number>\d{{3}})\.MS")
        numbered = [
            (int(match["number"]), path)
            for directory in directories
            for path in (sorted(directory.iterdir()) if directory.is_dir() else [])
            if (match := chunk.fullmatch(path.name))
        ]
        return [path for _, path in sorted(numbered, key=lambda one: one[0])]

    def _directory(self, level: Level, observation: ObservationHosts, host: str) -> Path:
        obs_id = observation.obs_id
        text = level.path
        if "%OBS_ID%" not in text and "%N1_OBS_ID%" not in text:
            text = f"{text}/{obs_id}"
        values = {
            "%YEAR%": obs_id[:4],
            "%MONTH%": obs_id[4:6],
            "%OBS_ID%": obs_id,
            "%N1_OBS_ID%": observation.parents[0] if observation.is_chunked else obs_id,
            "%NODE%": host,
        }
        for name, value in values.items():
            text = text.replace(name, value)
        return Path(text).expanduser()


def _is_list(value: object, kind: type) -> bool:
    """Whether a value is a list of one kind."""
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)
