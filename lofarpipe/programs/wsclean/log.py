"""The log of WSClean: progress, divergence, and the cause of its end.

It does not stop when its deconvolution diverges, not even when its residual image is NaN: it goes on to its last
iteration, and ends with exit code 0. Each rule was seen with WSClean 3.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING

from lofarpipe.programs.base import Progress
from lofarpipe.programs.logs import COUNT, HEAP, explained
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import flux_text

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.messages import Messages

# ---- fluxes

# WSClean writes the micro sign, U+00B5; the letter, U+03BC, looks the same.
PREFIXES = {"n": 1e-9, "µ": 1e-6, "\u03bc": 1e-6, "u": 1e-6, "m": 1e-3, "": 1.0, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9}
FLUX = r"([-+]?(?:nan|inf|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?)) ((?-i:[nµ\u03bcumKkMG]?))Jy"
_BEFORE_PEAK = (
    r"Initial peak:|Stopped on peak|Starting multi-scale cleaning\. Start peak=|Subimage [0-9]+ has maximum peak of"
)
_PEAK = lazy_pattern(rf"^(?:{_BEFORE_PEAK}) ?{FLUX}", re.I)
_ITERATION = lazy_pattern(rf"^(?:\([0-9]+\) )?Iteration ([0-9]+)[^:]*: ?{FLUX}", re.I)


def flux_jy(number: str, prefix: str) -> float:
    """Convert a flux density of WSClean's log, such as ``189.51 mJy``, to Jy; NaN for ``-nan``.

    Raises
    ------
    ValueError
        If ``number`` is not a number.
    """
    return float(number) * PREFIXES[prefix]


def peak_in(line: str) -> float | None:
    """Return the residual peak in a line, Jy, or None."""
    match = _PEAK.match(line)
    if match:
        return flux_jy(match[1], match[2])
    match = _ITERATION.match(line)
    return flux_jy(match[2], match[3]) if match else None


# ---- how far it is

_DECONVOLVING = lazy_pattern(rf"^ ?== Deconvolving \(({COUNT})\) ==")
_PHASE = lazy_pattern(r"^ ?== (Constructing PSF|Constructing image|Converting model image to visibilities) ==")
_PERFORMED = lazy_pattern(r"^Performed (\d+) iterations in total")
_MAJOR_ITERATIONS = lazy_pattern(r"^(\d+) major iterations? (?:was|were) performed")
_ROWS = lazy_pattern(r"^(Gridding|Predicting) (\d+) rows")
PHASES = {
    "Constructing PSF": "making the point spread function",
    "Constructing image": "gridding",
    "Converting model image to visibilities": "predicting",
}


def progress_in(line: str, progress: Progress) -> Progress | None:
    """Return the progress of WSClean after a line; None for other lines."""
    if match := _DECONVOLVING.match(line):
        return _deconvolving(int(match[1]), None)
    if match := _PHASE.match(line):
        major, peak = progress.major_iteration, _peak_text(progress.peak_jy)
        suffix = f" after major iteration {major}" if major else ""
        return replace(progress, text=f"{PHASES[match[1]]}{suffix}{peak}", fraction=None, is_final=False)
    peak_jy = peak_in(line)
    if peak_jy is not None:
        return _deconvolving(progress.major_iteration, peak_jy)
    if match := _MAJOR_ITERATIONS.match(line):
        return replace(progress, text=f"{match[1]} major iterations done", fraction=None, is_final=False)
    # Lines in between add nothing to the text.
    return progress if _PERFORMED.match(line) or _ROWS.match(line) else None


def _deconvolving(major: int | None, peak_jy: float | None) -> Progress:
    where = f"major iteration {major}" if major else "deconvolving"
    return Progress(f"{where}{_peak_text(peak_jy)}", None, major, peak_jy)


def _peak_text(peak_jy: float | None) -> str:
    return f", peak {flux_text(peak_jy)}" if peak_jy is not None else ""


# ---- whether it comes to anything

MAX_RISE = 2.0
# Cas A and Cyg A have 2e4 to 4e4 Jy at the lowest frequencies of LOFAR; no source of a field is brighter.
MAX_PEAK_JY = 1e5
ROSE = "residual image rose"
DIVERGED = "the deconvolution diverged"
BAD_DATA = (
    "the data are not in Jy, or some have values that no source has: calibrate or flag them, or correct data_column"
)
# A minor iteration above both, if the first peak was below the first, means a divergence.
KILO_JY, FAR = 1e3, 2.0
RISING_ITERATIONS = 2  # a single rise is normal: a new mask, another scale

_NOISE = lazy_pattern(rf"^Estimated standard deviation of background noise: {FLUX}", re.I)
_LOCAL_NOISE = "Lowest RMS in image:"


@dataclass
class Deconvolution:
    """One deconvolution of WSClean: peak and noise of the residual image at the start of each major iteration.

    Where the mask follows the local noise, the peak is the most significant pixel and not the highest, and need not
    become lower; with parallel deconvolution only the peaks of some sub-images are named, behind a blank; and IUWT
    names none. There the noise decides.
    """

    max_rise: float = MAX_RISE  # largest rise factor over two major iterations, or over the first peak; 0: any
    max_peak_jy: float = MAX_PEAK_JY  # the highest peak, Jy; 0: any
    major: int = 0
    peaks: dict[int, float] = field(default_factory=dict)  # major iteration -> |peak|, Jy
    noises: dict[int, float] = field(default_factory=dict)  # major iteration -> noise, Jy
    first_jy: float = math.nan  # the first peak of the run
    noise_tells: bool = False
    is_dirty: bool = False  # between the start of the first iteration and its first peak, of the dirty image

    def read(self, line: str) -> str | None:
        """Return the reason in a line to abort."""
        if match := _DECONVOLVING.match(line):
            self._begin(int(match[1]))
            return None
        if match := _NOISE.match(line):
            return self._noise(flux_jy(match[1], match[2]))
        is_of_part = line.startswith(" ")
        peak = peak_in(line[is_of_part:])
        if line.startswith(_LOCAL_NOISE) or (is_of_part and peak is not None):
            self.noise_tells = True
        if peak is None:
            return None
        hopeless = self._minor(line[is_of_part:], abs(peak))
        return self._peak(abs(peak)) or hopeless

    def _begin(self, major: int) -> None:
        if major <= self.major:  # the next channel, polarization or time
            self.peaks.clear()
            self.noises.clear()
        self.is_dirty = major == 1
        self.major = major

    def _minor(self, line: str, peak_jy: float) -> str | None:
        """Return a problem if a minor iteration is far above the first peak, which includes bright sources."""
        if math.isnan(self.first_jy):
            self.first_jy = peak_jy
        far_jy = max(KILO_JY, FAR * self.first_jy)
        if not self.max_rise or self.first_jy >= KILO_JY or peak_jy < far_jy or not _ITERATION.match(line):
            return None
        first = f"far above the first peak, {flux_text(self.first_jy)}"
        peak = f"the peak of a minor iteration is {flux_text(peak_jy)}{self._iteration_text()}"
        return f"{peak}, {first}: {DIVERGED}; lower mgain"

    def _noise(self, noise_jy: float) -> str | None:
        if not math.isfinite(noise_jy) or (noise_jy == 0 and self.major == 1):
            return f"the noise of the residual image is {noise_jy:g} Jy{self._iteration_text()}"  # advice: from the log
        if self.is_dirty and self._is_beyond(noise_jy):
            return self._dirty("noise", noise_jy)
        self.noises.setdefault(self.major, noise_jy)
        return self._rise("noise", self.noises) if self.noise_tells or not self.peaks else None

    def _is_beyond(self, flux_jy: float) -> bool:
        return bool(self.max_peak_jy) and flux_jy > self.max_peak_jy

    def _dirty(self, quantity: str, flux_jy: float) -> str:
        limit = f"beyond max_peak_jy = {self.max_peak_jy:g} Jy"
        return f"the {quantity} of the dirty image is {flux_text(flux_jy)}, {limit}: {BAD_DATA}"

    def _peak(self, peak_jy: float) -> str | None:
        is_dirty, self.is_dirty = self.is_dirty, False
        if is_dirty and self._is_beyond(peak_jy):
            return self._dirty("peak", peak_jy)
        if not math.isfinite(peak_jy):
            return f"the peak of the residual image is {peak_jy} Jy{self._iteration_text()}: {DIVERGED}; lower mgain"
        if self._is_beyond(peak_jy):
            limit = f"beyond max_peak_jy = {self.max_peak_jy:g} Jy; lower mgain, or allow more"
            return f"the peak of the residual image is {flux_text(peak_jy)}{self._iteration_text()}, {limit}"
        if self.major in self.peaks or self.noise_tells:
            return None
        self.peaks[self.major] = peak_jy
        return self._rise("peak", self.peaks)

    def _rise(self, quantity: str, values: Mapping[int, float]) -> str | None:
        """Return a problem if a value rose over two major iterations, or above the dirty image's."""
        majors, numbers = list(values), list(values.values())
        starts = [0] if numbers else []
        last = numbers[-1 - RISING_ITERATIONS :]
        if len(last) > RISING_ITERATIONS and last == sorted(set(last)):
            starts.append(len(numbers) - len(last))
        risen = [start for start in starts if numbers[-1] > self.max_rise * numbers[start]]
        if not risen or not self.max_rise:
            return None
        first = risen[-1]
        return (
            f"the {quantity} of the {ROSE} from {flux_text(numbers[first])} to {flux_text(numbers[-1])} over "
            f"major iterations {majors[first]} to {majors[-1]}, by more than max_rise = {self.max_rise:g}; "
            "lower mgain, or allow more"
        )

    def _iteration_text(self) -> str:
        return f" in major iteration {self.major}" if self.major else ""


def is_divergence(problem: str) -> bool:
    """Return whether a job was given up, or has failed, because its deconvolution diverged."""
    return DIVERGED in problem or ROSE in problem


# ---- why it ended

MESSAGES: Messages = (
    (r"not compiled with IDG", "set gridder = wgridder, or install a WSClean with IDG"),
    (r"HYBRID_CUDA|CUDA_GENERIC", "this IDG has no CUDA; set idg_mode = cpu"),
    (
        r"without EveryBeam",
        "remove -apply-primary-beam; make_primary_beam makes the beam",
    ),
    (r"Error writing to temporary file", "local_scratch_dir is full or cannot be written; set another"),
    (r"Unknown parameter", "this WSClean has no such option: correct or remove it"),
    (
        HEAP,
        "a fault of the program; WSClean 3.1 has it with -multiscale and -local-rms: add -no-multiscale-fast-subminor",
    ),
    (r"only 0 unique channels", "no channel is selected: correct -spws"),
    (r"output channels requested", "make channels-out smaller, or average less in frequency"),
    (r"mask did not have same dimensions", "make the mask with the size and pixels of this image"),
    (r"could not open the named file|Could not open parset file|Error reading \S+$", "correct the name of that file"),
    (r"Bad channel selection|Invalid interval selection", "the set has fewer: choose within them"),
    (r"Unknown .* specified", "correct that value; wsclean --help lists those that there are"),
    (r"couldn't create the named file", "make the directory of the image (-name), or name another"),
    (r"only one polarization is being imaged", "request several with -pol, or remove -join-polarizations"),
    (r"IDG can not yet make rectangular images", "set axis_stretch = 1.0, or gridder = wgridder"),
    (r"Image size has not been set", "set -size to a width and a height above 0"),
)
_COUNT = lazy_pattern(r"^Gridded visibility count: ([0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?)", re.MULTILINE)
_UNDEFINED_PEAK = lazy_pattern(r"^ ?Stopped on peak (-?(?:nan|inf)) Jy", re.MULTILINE | re.IGNORECASE)
_NOISE_TEXT = lazy_pattern(r"^Estimated standard deviation of background noise: (\S+)", re.MULTILINE)


def find_refusal(log_text: str) -> str | None:
    """Return the failure in a log, with the remedy, even if WSClean exited with 0; None without one.

    Failures are exceptions, and empty images, which WSClean writes without an error: no visibility was gridded,
    or all were NaN, so that the noise of the first image is 0.
    """
    return explained("WSClean", log_text, MESSAGES) or _empty_image(log_text)


def _empty_image(log_text: str) -> str | None:
    counts = [float(count) for count in _COUNT.findall(log_text)]
    if counts and not any(counts):
        return (
            "WSClean gridded 0 visibilities, so the image is empty: all are flagged or NaN, or none is within "
            "-minuv-l and -maxuv-l; correct the uv range, the column or the flags"
        )
    peak = _UNDEFINED_PEAK.search(log_text)
    if peak and DIVERGED not in log_text:  # the reason of an abort is in the log, and reported already
        return f"WSClean's deconvolution diverged: the peak of its residual is {peak[1]} Jy; lower mgain"
    noise = _NOISE_TEXT.search(log_text)
    if noise and not _is_positive(noise[1]):
        return (
            f"WSClean found a noise of {noise[1]} Jy, so the image is empty or undefined: the visibilities are NaN or "
            "0 in the column that was imaged; correct the column or the flags"
        )
    return None


def _is_positive(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value > 0
