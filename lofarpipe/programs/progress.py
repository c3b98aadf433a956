"""What DP3 and WSClean say of how far they are, read from what they write.

Nothing is asked of the programs: these are the lines that DP3 6.6 and WSClean 3.1 write without any option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from lofarpipe.support.plain_text import flux_text, printable

# WSClean writes the micro sign, U+00B5; the letter, U+03BC, looks the same.
PREFIXES = {"n": 1e-9, "µ": 1e-6, "\u03bc": 1e-6, "u": 1e-6, "m": 1e-3, "": 1.0, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9}
LONGEST_LINE = 10_000  # characters that are looked at
OUR_NOTE = "### "  # in a log of ours: not what the program wrote
# Logs hold whatever programs write: what is no number that Python reads must not match.
COUNT = r"[0-9]{1,18}"
FLUX = r"([-+]?(?:nan|inf|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?)) ((?-i:[nµ\u03bcumKkMG]?))Jy"
_BEFORE_PEAK = (
    r"Initial peak:|Stopped on peak|Starting multi-scale cleaning\. Start peak=|Subimage [0-9]+ has maximum peak of"
)
PEAK = re.compile(rf"^(?:{_BEFORE_PEAK}) ?{FLUX}", re.I)
_ITERATION = re.compile(rf"^(?:\([0-9]+\) )?Iteration ([0-9]+)[^:]*: ?{FLUX}", re.I)
DECONVOLVING = re.compile(rf"^ ?== Deconvolving \(({COUNT})\) ==")
_PHASE = re.compile(r"^ ?== (Constructing PSF|Constructing image|Converting model image to visibilities) ==")
_PERFORMED = re.compile(r"^Performed (\d+) iterations in total")
_MAJOR_ITERATIONS = re.compile(r"^(\d+) major iterations? (?:was|were) performed")
_ROWS = re.compile(r"^(Gridding|Predicting) (\d+) rows")
_STEPS = re.compile(r"^(?:([^%:]*): )?0%[0-9.%]*$")  # 0%....10....20; WSClean writes what it does before it
_LAST_STEP = re.compile(r"([0-9]{1,3})%?(\.*)$")
DOTS_PER_TEN = 5  # four dots and the number
_DP3_TIME = re.compile(r"^Total DP3 time\s+([\d.]+) real")
_DP3_STEP_TIME = re.compile(r"^ {2,4}([0-9]+\.?[0-9]*)% \(\s*[\d.]+ m?s\) (\S.*)$")
PHASES = {
    "Constructing PSF": "making the point spread function",
    "Constructing image": "gridding",
    "Converting model image to visibilities": "predicting",
}


@dataclass(frozen=True)
class Progress:
    """How far a program is.

    Attributes
    ----------
    text: what it does, in one line that can be printed.
    fraction: how much of that is done, 0..1; None: it does not say.
    major_iteration: of the deconvolution, from 1.
    peak_jy: the highest pixel of the residual image that it named last, Jy; negative where that is a hole.
    written_s: when it wrote its last word, s since 1970 UTC; None: that is not known.
    """

    text: str
    fraction: float | None = None
    major_iteration: int | None = None
    peak_jy: float | None = None
    written_s: float | None = field(default=None, compare=False)


def flux_jy(number: str, prefix: str) -> float:
    """Return a flux density as WSClean writes it, such as ``189.51 mJy``, in Jy; NaN for ``-nan``.

    Raises
    ------
    ValueError
        If ``number`` is none.
    """
    return float(number) * PREFIXES[prefix]


def peak_in(line: str) -> float | None:
    """Return the peak of the residual image that a line of WSClean names, Jy; None if it names none."""
    found = PEAK.match(line)
    if found:
        return flux_jy(found[1], found[2])
    found = _ITERATION.match(line)
    return flux_jy(found[2], found[3]) if found else None


def percent_done(line: str) -> float | None:
    """Return the fraction that a line such as ``0%....10....20..`` says is done, 0..1; None for other lines."""
    if not _STEPS.match(line):
        return None
    last = _LAST_STEP.search(line)
    if last is None or int(last[1]) >= 100:
        return 1.0
    return min(1.0, (int(last[1]) + 10 * len(last[2]) / DOTS_PER_TEN) / 100)


class ProgressReader:
    """Follows what a program writes; which program it is, the lines tell.

    A line of an unknown program is its own text.
    """

    def __init__(self) -> None:
        self.progress = Progress("")
        self._unfinished = ""
        self._largest_percent = 0.0

    def feed(self, written: str) -> Progress:
        """Take in what was written since the last time, and return how far the program is.

        The last line need not be complete: DP3 and WSClean write dots as they go.
        """
        *lines, last = (self._unfinished + written).replace("\r", "\n").split("\n")
        for line in lines:
            self._read(line)
        self._unfinished = last[-LONGEST_LINE:]
        self._read(self._unfinished)
        return self.progress

    def _read(self, line: str) -> None:
        line = line[:LONGEST_LINE].rstrip()
        if not line or line.startswith(OUR_NOTE):
            return
        before = self.progress
        self.progress = self._of_wsclean(line, before) or self._of_dp3(line, before) or self._other(line, before)

    def _of_wsclean(self, line: str, before: Progress) -> Progress | None:
        if found := DECONVOLVING.match(line):
            return self._deconvolving(int(found[1]), None)
        if found := _PHASE.match(line):
            return self._between(PHASES[found[1]], before)
        peak = peak_in(line)
        if peak is not None:
            return self._deconvolving(before.major_iteration, peak)
        if found := _MAJOR_ITERATIONS.match(line):
            return replace(before, text=f"{found[1]} major iterations done", fraction=None)
        # Of the lines in between the text says already what is done.
        return before if _PERFORMED.match(line) or _ROWS.match(line) else None

    def _between(self, phase: str, before: Progress) -> Progress:
        major, peak_jy = before.major_iteration, before.peak_jy
        after = f" after major iteration {major}" if major else ""
        peak = f", peak {flux_text(peak_jy)}" if peak_jy is not None else ""
        return replace(before, text=f"{phase}{after}{peak}", fraction=None)

    def _deconvolving(self, major: int | None, peak_jy: float | None) -> Progress:
        where = f"major iteration {major}" if major else "deconvolving"
        peak = f", peak {flux_text(peak_jy)}" if peak_jy is not None else ""
        return Progress(f"{where}{peak}", None, major, peak_jy)

    def _of_dp3(self, line: str, before: Progress) -> Progress | None:
        done = percent_done(line)
        if done is not None:
            what = (_STEPS.match(line) or [None, None])[1]
            return replace(before, text=f"{what.lower()} {done:.0%}" if what else f"{done:.0%}", fraction=done)
        if line.startswith("Finishing processing"):
            return replace(before, text="finishing", fraction=1.0)
        if found := _DP3_TIME.match(line):
            self._largest_percent = 0.0
            return replace(before, text=f"done in {found[1]} s", fraction=1.0)
        found = _DP3_STEP_TIME.match(line)
        if found and before.text.startswith("done in"):
            return self._slowest(float(found[1]), found[2], before)
        return None

    def _slowest(self, percent: float, step: str, before: Progress) -> Progress:
        """Name the step of DP3 that took most of the time; what is inside a step is indented further."""
        if percent <= self._largest_percent:
            return before
        self._largest_percent = percent
        return replace(before, text=f"{before.text.partition(',')[0]}, {percent:.0f}% in {step.strip()}")

    def _other(self, line: str, before: Progress) -> Progress:
        """Show the line itself, but keep what was last understood while a deconvolution goes on."""
        if before.major_iteration or before.text.startswith("done in"):
            return before
        return replace(before, text=printable(line).strip(), fraction=None)
