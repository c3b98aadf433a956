"""Jobs that cannot come to anything, seen in what DP3 and WSClean write while they run.

WSClean does not stop when its deconvolution diverges, not even when its residual image is NaN: it goes on to its last
iteration, and ends with exit code 0. DP3 ends with 0 when none of its solutions converged. Each rule below was seen
with WSClean 3.1 or DP3 6.6.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.jobs import Job
from lofarpipe.programs.progress import COUNT, DECONVOLVING, FLUX, OUR_NOTE, flux_jy, peak_in
from lofarpipe.support.plain_text import flux_text

MAX_RISE = 2.0
# Cas A and Cyg A have 2e4 to 4e4 Jy at the lowest frequencies of LOFAR; what is beyond is no source of a field.
MAX_PEAK_JY = 1e5
DIVERGED = "the deconvolution diverged"
BAD_DATA = (
    "the data are not in Jy, or some have values that no source has: calibrate or flag them, or correct data_column"
)
RISING_ITERATIONS = 2  # one rise happens in good deconvolutions: a new mask, another scale

_NOISE = re.compile(rf"^Estimated standard deviation of background noise: {FLUX}", re.I)
_LOCAL_NOISE = "Lowest RMS in image:"
_MAX_ITER = re.compile(rf"^  max iter: +({COUNT})\b")
_ITERATIONS_TAKEN = re.compile(r"^Iterations taken: \[([0-9, ]+)\]")
_CONVERGED = re.compile(rf"^ *Converged: ({COUNT}), stalled: ({COUNT}), non converged: ({COUNT}), failed: ({COUNT})\b")


@dataclass(frozen=True)
class Thresholds:
    """When a job is given up; 0 for never.

    Attributes
    ----------
    max_rise: factor by which the peak of the residual may rise over two major iterations, or over the first peak.
    max_peak_jy: the highest peak of a residual image, Jy.
    min_converged: share of the solutions of DP3 that has to converge, 0..1.
    max_stalled: share of the solutions of GainCal at which the job is given up, where so many stalled or failed, 0..1.
    """

    max_rise: float = MAX_RISE
    max_peak_jy: float = MAX_PEAK_JY
    min_converged: float = 0.0
    max_stalled: float = 1.0


def read_thresholds(texts: Mapping[str, str]) -> Thresholds:
    """Return the thresholds that are named in ``texts``, and the defaults for the others.

    Raises
    ------
    ValueError
        If one is no number.
    """
    names = (threshold.name for threshold in fields(Thresholds))
    return Thresholds(**{name: float(texts[name]) for name in names if name in texts})


class Detector:
    """Reads what a program writes, and says when there is no hope.

    Parameters
    ----------
    program: wsclean or dp3; any other never is hopeless.
    thresholds: texts of numbers, as in ``Job.watch``; see ``Thresholds``.

    Raises
    ------
    ValueError
        If a threshold is no number.
    """

    def __init__(self, program: str, thresholds: Mapping[str, str]) -> None:
        limits = read_thresholds(thresholds)
        readers: dict[str, Callable[[str], str | None]] = {
            "wsclean": _Cleaning(limits).read,
            "dp3": _Solving(limits).read,
        }
        self._read = readers.get(program)

    def feed(self, lines: Iterable[str]) -> str | None:
        """Take in complete lines; return what was seen if the job should be ended, else None."""
        if self._read is None:
            return None
        seen = (self._read(line.rstrip("\r\n")) for line in lines if not line.startswith(OUR_NOTE))
        return next((text for text in seen if text), None)


@dataclass
class _Cleaning:
    """One deconvolution of WSClean: peak and noise of the residual image at the start of each major iteration.

    Where the mask follows the local noise, the peak is the most significant pixel and not the highest, and need not
    become lower; with parallel deconvolution only the peaks of some sub-images are named, behind a blank; and IUWT
    names none. There the noise tells.
    """

    limits: Thresholds
    major: int = 0
    peaks: dict[int, float] = field(default_factory=dict)  # major iteration -> |peak|, Jy
    noises: dict[int, float] = field(default_factory=dict)  # major iteration -> noise, Jy
    noise_tells: bool = False
    is_dirty: bool = (
        False  # from the beginning of the first iteration to its first peak, which is that of the dirty image
    )

    def read(self, line: str) -> str | None:
        """Return what is hopeless in a line."""
        if found := DECONVOLVING.match(line):
            self._begin(int(found[1]))
            return None
        if found := _NOISE.match(line):
            return self._noise(flux_jy(found[1], found[2]))
        is_of_part = line.startswith(" ")
        peak = peak_in(line[is_of_part:])
        if line.startswith(_LOCAL_NOISE) or (is_of_part and peak is not None):
            self.noise_tells = True
        return None if peak is None else self._peak(abs(peak))

    def _begin(self, major: int) -> None:
        if major <= self.major:  # the next channel, polarization or time
            self.peaks.clear()
            self.noises.clear()
        self.is_dirty = major == 1
        self.major = major

    def _noise(self, noise_jy: float) -> str | None:
        if not math.isfinite(noise_jy) or (noise_jy == 0 and self.major == 1):
            return f"the noise of the residual image is {noise_jy:g} Jy{self._when()}"  # the log says what that means
        if self.is_dirty and self._is_beyond(noise_jy):
            return self._dirty("noise", noise_jy)
        self.noises.setdefault(self.major, noise_jy)
        return self._rise("noise", self.noises) if self.noise_tells or not self.peaks else None

    def _is_beyond(self, flux_jy: float) -> bool:
        return bool(self.limits.max_peak_jy) and flux_jy > self.limits.max_peak_jy

    def _dirty(self, what: str, flux_jy: float) -> str:
        limit = f"beyond max_peak_jy = {self.limits.max_peak_jy:g} Jy"
        return f"the {what} of the dirty image is {flux_text(flux_jy)}, {limit}: {BAD_DATA}"

    def _peak(self, peak_jy: float) -> str | None:
        is_dirty, self.is_dirty = self.is_dirty, False
        if is_dirty and self._is_beyond(peak_jy):
            return self._dirty("peak", peak_jy)
        if not math.isfinite(peak_jy):
            return f"the peak of the residual image is {peak_jy} Jy{self._when()}: {DIVERGED}; lower mgain"
        if self._is_beyond(peak_jy):
            limit = f"beyond max_peak_jy = {self.limits.max_peak_jy:g} Jy; lower mgain, or allow more"
            return f"the peak of the residual image is {flux_text(peak_jy)}{self._when()}, {limit}"
        if self.major in self.peaks or self.noise_tells:
            return None
        self.peaks[self.major] = peak_jy
        return self._rise("peak", self.peaks)

    def _rise(self, what: str, values: Mapping[int, float]) -> str | None:
        """Return how a value rose, if over two major iterations, or beyond that of the dirty image."""
        majors, numbers = list(values), list(values.values())
        starts = [0] if numbers else []
        last = numbers[-1 - RISING_ITERATIONS :]
        if len(last) > RISING_ITERATIONS and last == sorted(set(last)):
            starts.append(len(numbers) - len(last))
        risen = [start for start in starts if numbers[-1] > self.limits.max_rise * numbers[start]]
        if not risen or not self.limits.max_rise:
            return None
        first = risen[-1]
        return (
            f"the {what} of the residual image rose from {flux_text(numbers[first])} to {flux_text(numbers[-1])} over "
            f"major iterations {majors[first]} to {majors[-1]}, by more than max_rise = {self.limits.max_rise:g}; "
            "lower mgain, or allow more"
        )

    def _when(self) -> str:
        return f" in major iteration {self.major}" if self.major else ""


@dataclass
class _Solving:
    """The solutions of DP3, of which it tells at its end."""

    limits: Thresholds
    max_iterations: list[int] = field(default_factory=list)  # of the steps that solve, in their order

    def read(self, line: str) -> str | None:
        """Return what is hopeless in a line."""
        if found := _MAX_ITER.match(line):
            self.max_iterations.append(int(found[1]))
            return None
        if found := _CONVERGED.match(line):
            return self._counted(*map(int, found.groups()))
        found = _ITERATIONS_TAKEN.match(line)
        if found is None or not self.max_iterations:
            return None
        # DDECal takes one more than the largest number where it does not converge.
        limit = self.max_iterations.pop(0)
        taken = [int(number) for number in re.findall(COUNT, found[1])]
        return self._too_few(sum(number <= limit for number in taken), len(taken))

    def _counted(self, converged: int, stalled: int, not_converged: int, failed: int) -> str | None:
        if self.max_iterations:
            self.max_iterations.pop(0)
        total = converged + stalled + not_converged + failed
        if total and 0 < self.limits.max_stalled <= (stalled + failed) / total:
            return (
                f"of {total} solutions of DP3 {stalled} stalled and {failed} failed: max_stalled = "
                f"{self.limits.max_stalled:g} of them; look at the visibilities and the model"
            )
        return self._too_few(converged, total)

    def _too_few(self, converged: int, total: int) -> str | None:
        if not total or converged / total >= self.limits.min_converged:
            return None
        return (
            f"{converged} of {total} solutions of DP3 converged, less than min_converged = "
            f"{self.limits.min_converged:g} of them; use more data for each, or accept fewer"
        )


if TYPE_CHECKING:
    from lofarpipe.programs.log_watch import Detector


CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16  # of a line without an end, such as the dots of DP3, only the end is kept


class Lookout:
    """Reads what was appended to a log since the last look.

    Parameters
    ----------
    log: the file; it need not be there yet.
    detector: what the lines are given to.
    """

    def __init__(self, log: Path, detector: Detector) -> None:
        self._log = log
        self._detector = detector
        self._offset = 0
        self._unfinished = b""

    @classmethod
    def of(cls, job: Job) -> Lookout | None:
        """Return the lookout that a job asks for with ``watch``; None if it asks for none."""
        if not job.watch:
            return None
        from lofarpipe.programs.log_watch import Detector  # most jobs are not watched

        return cls(job.log, Detector(job.watch.get("program", ""), job.watch))

    def look(self) -> str | None:
        """Return why there is no hope, or None; a log that cannot be read says nothing."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._offset)
                while chunk := stream.read(CHUNK_BYTES):
                    self._offset += len(chunk)
                    if seen := self._detector.feed(self._lines(chunk)):
                        return seen
        except OSError:
            return None
        return None

    def _lines(self, chunk: bytes) -> list[str]:
        *lines, last = (self._unfinished + chunk).split(b"\n")
        self._unfinished = last[-LONGEST_LINE_BYTES:]
        return [os.fsdecode(line) for line in lines]


def blank_outputs(job: Job) -> str:
    """Return what is wrong with the images that a watched job of WSClean made, or ""; they have not their names yet."""
    if job.staged is None or job.watch.get("program") != "wsclean":
        return ""
    from lofarpipe.programs.wsclean.output import blank_images

    try:
        names = blank_images(job.staged.directory.iterdir())
    except OSError:  # the commit's to tell
        return ""
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"every pixel of {min(names)}{more} is NaN; look at the weights and the visibilities, or lower mgain"
