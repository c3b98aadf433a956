"""Groups of measurement sets, one WSClean call each, with image name, channels and host."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lofarpipe.cli.imgpipe.observations import SetAt
from lofarpipe.cli.imgpipe.settings import WSCLEAN, ImgpipeSettings, Setting, as_toml
from lofarpipe.cli.imgpipe.values import Environment, channels_out, expanded, option_words
from lofarpipe.errors import Finding, list_names
from lofarpipe.support.dataclass import dataclass

CHANNELS_OUT = "channels-out"
OUT_DIR = "out-dir"
NAME = "name"
DEFAULT_OUT_DIR = "$ms_in$/images"

#: Reads the channel frequencies of a set (Hz), one list for each spectral window.
Frequencies = Callable[[Path], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Group:
    """The sets of one WSClean call, in order, and their common observation and window, if any.

    Attributes
    ----------
    obs_ids: all observations.
    """

    sets: tuple[Path, ...]
    obs_id: str | None = None
    window: str | None = None
    obs_ids: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name in messages."""
        return str(self.sets[0]) if len(self.sets) == 1 else f"{self.sets[0]} ... {self.sets[-1]}"


@dataclass(frozen=True)
class ImageJob:
    """One WSClean call, a pure function of the settings and the group.

    Attributes
    ----------
    name: the beginning of the names of its images, absolute.
    options: option -> its words, without ``name``.
    """

    group: Group
    name: Path
    options: Mapping[str, Sequence[str]]


def make_groups(sets: Sequence[SetAt], combine: bool, across: bool) -> tuple[list[Group], list[str]]:
    """Return the groups in the order of their first sets, and notices of duplicate sets.

    Parameters
    ----------
    combine: the sets of one window and observation go together; without a data handler all do.
    across: with ``combine``, those of one window do, whatever their observations.

    See doc/pipelines/imgpipe.md, Groups.
    """
    members: dict[_Place, dict[str, SetAt]] = {}  # place of a group -> real path -> first mention
    times: Counter[tuple[_Place, str]] = Counter()
    for one in sets:
        place = ((one.window, None if across else one.obs_id),) if combine else ()
        path = os.path.realpath(one.path)
        members.setdefault(place, {}).setdefault(path, one)
        times[place, path] += 1
    notices = [
        f"{members[place][path].path}: is given {count} times, and used once"
        for (place, path), count in times.items()
        if count > 1
    ]
    groups = [tuple(few.values()) for few in members.values()]
    return [_group(few) for few in (groups if combine else [(one,) for few in groups for one in few])], notices


_Place = tuple[tuple[str | None, str | None], ...]  # window and observation that the sets of a group have in common


def _group(members: Sequence[SetAt]) -> Group:
    observations = tuple(dict.fromkeys(one.obs_id for one in members if one.obs_id))
    obs_id = observations[0] if len(observations) == 1 else None
    return Group(tuple(one.path for one in members), obs_id, members[0].window, observations)


class Translator:
    """Builds one WSClean call per group, and collects findings about the settings.

    Parameters
    ----------
    environment: of the jobs, for ``$NAME`` and ``~``.
    directory: where imgpipe was started.
    frequencies: reads the channels of a set; called for values of channels-out that need them.
    """

    def __init__(
        self, settings: ImgpipeSettings, environment: Environment, directory: Path, frequencies: Frequencies
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._directory = directory
        self._frequencies = frequencies
        self.findings: list[Finding] = []
        self.notices: list[str] = []
        self._entries = settings.wsclean()
        self._common = self._common_options()

    def _common_options(self) -> dict[str, list[str]]:
        """Return the options common to all groups."""
        options: dict[str, list[str]] = {}
        for key, entry in self._entries.items():
            if key in (NAME, OUT_DIR, CHANNELS_OUT):
                continue
            try:
                words = option_words(key, entry.value, self._environment, self._directory)
            except ValueError as err:
                self.findings.append(Finding(entry.where, str(err)))
                continue
            if words is not None:
                options[key] = words
        return options

    def jobs(self, groups: Sequence[Group]) -> list[ImageJob]:
        """Return the calls of all groups; findings are in ``findings``."""
        image_jobs = []
        for group in groups:
            try:
                name = self._name(group)
                channels = self._channels_out(group)
            except _WrongValue as err:
                self.findings.append(err.finding)
                continue
            image_jobs.append(ImageJob(group, name, self._common | channels))
        self.findings = list(dict.fromkeys(self.findings))
        return image_jobs

    # ---- names

    def _name(self, group: Group) -> Path:
        """Return the beginning of the images' names."""
        last = group.sets[-1]
        tokens: dict[str, str | None] = {
            "ms_in": str(last),
            "ms_basename": last.name,
            "obs_id": group.obs_id,
            "sw": group.window,
        }
        tokens["name"] = name = self._text(NAME, self._entries[NAME], tokens)
        entry = self._entries.get(
            OUT_DIR, Setting(DEFAULT_OUT_DIR, str(self._settings.path), 0, f"{WSCLEAN}.{OUT_DIR}")
        )
        out_dir = self._text(OUT_DIR, entry, tokens)
        return Path(os.path.normpath(self._directory / out_dir / name))

    def _text(self, key: str, entry: Setting, tokens: Mapping[str, str | None]) -> str:
        if not isinstance(entry.value, str) or not (entry.value.strip() or key == OUT_DIR):
            raise _WrongValue(entry, f"is {as_toml(entry.value)}; {key} must be a text")
        try:
            return expanded(entry.value, self._environment, tokens)
        except ValueError as err:
            raise _WrongValue(entry, str(err)) from err

    # ---- channels

    def _channels_out(self, group: Group) -> dict[str, list[str]]:
        entry = self._entries.get(CHANNELS_OUT)
        if entry is None or entry.value is False:
            return {}
        try:
            selected = [self._selected(path) for path in group.sets]
            unique = sorted(set().union(*selected))
            in_range = self._range(unique)
            count, notice = channels_out(entry.value, len(in_range))
        except ValueError as err:
            raise _WrongValue(entry, str(err), group) from err
        empty = [
            str(path)
            for path, set_channels in zip(group.sets, selected, strict=True)
            if not set_channels & set(in_range)
        ]
        if empty and count > 1:
            raise _WrongValue(entry, f"the options select no channel of {list_names(empty)}; leave it out", group)
        self.notices += [f"{entry.where}: {notice}"] if notice else []
        return {CHANNELS_OUT: [str(count)]}

    def _selected(self, path: Path) -> set[float]:
        """Return the frequencies of a set, Hz, of the spectral windows that ``spws`` selects."""
        windows = self._frequencies(path)
        text = ",".join(self._common.get("spws", ()))
        if not text or text == "all":
            return {frequency for window in windows for frequency in window}
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            raise ValueError(f"spws is '{text}'; numbers joined by commas are needed") from None
        return {frequency for number in numbers if 0 <= number < len(windows) for frequency in windows[number]}

    def _range(self, frequencies: Sequence[float]) -> Sequence[float]:
        words = self._common.get("channel-range")
        if not words:
            return frequencies
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            raise ValueError(f"channel-range is '{' '.join(words)}'; two numbers are needed, the end exclusive")
        return frequencies[int(words[0]) : int(words[1])]


class _WrongValue(Exception):  # noqa: N818 - of an entry
    def __init__(self, entry: Setting, problem: str, group: Group | None = None) -> None:
        self.finding = Finding(entry.where, f"{problem} ({group.label})" if group else problem)
        super().__init__(problem)


def name_findings(jobs: Sequence[ImageJob], settings: ImgpipeSettings) -> list[Finding]:
    """Return findings for jobs with the same image names, with a token to distinguish them."""
    of_name: dict[Path, list[ImageJob]] = {}
    for job in jobs:
        of_name.setdefault(job.name, []).append(job)
    where = settings.where(OUT_DIR, "wsclean")
    return [
        Finding(
            where, f"{name} would be the images of {list_names(job.group.label for job in few)}{_distinct_token(few)}"
        )
        for name, few in of_name.items()
        if len(few) > 1
    ]


def _distinct_token(jobs: Sequence[ImageJob]) -> str:
    """Return a token with different values in the jobs, if any."""
    values: Mapping[str, Iterable[object]] = {
        "$obs_id$": [job.group.obs_id for job in jobs],
        "$sw$": [job.group.window for job in jobs],
        "$ms_basename$": [job.group.sets[-1].name for job in jobs],
        "$ms_in$": [job.group.sets[-1] for job in jobs],
    }
    token = next((name for name, of_jobs in values.items() if len(set(of_jobs)) == len(jobs)), None)
    return f"; put {token} into out-dir" if token else "; make their names different with tokens in out-dir"


def pinned_host(group: Group, pattern: re.Pattern[str]) -> str | None:
    """Return the host of most sets of a group, the first of equals; None if no path contains a host."""
    hosts = [match[1] for path in group.sets if (match := pattern.search(str(path)))]
    return Counter(hosts).most_common(1)[0][0] if hosts else None


def hosts_missing(hosts: Iterable[str | None], host_names: Sequence[str]) -> Iterator[str]:
    """Yield each host in a path that is not a host of the run."""
    yield from dict.fromkeys(host for host in hosts if host is not None and host not in host_names)
