"""Self-calibration of a target: rounds of solving and imaging, their stopping rule, and the best round."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np
import scipy.ndimage
from astropy.io import fits
from numpy.typing import NDArray

from lofarpipe.imaging.ata.averaged import load_facts
from lofarpipe.imaging.ata.calibrators import AVERAGED, CALIBRATED
from lofarpipe.imaging.ata.images import (
    HALF_POWER,
    LOWEST_POWER,
    MASK_SIGMA,
    Cleaning,
    Grid,
    Imager,
    Images,
    bands_of,
    beam_exponent,
    beam_power,
    careful_clean,
    image_directory,
    image_noise,
    local_noise,
    write_plane,
)
from lofarpipe.imaging.ata.session import Scan, Session
from lofarpipe.imaging.quality.sky_image import read_sky_image
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

LEAST_GAIN = 0.03  # of peak or dynamic range, for another round
PHASE_ROUNDS = 4  # later rounds solve amplitudes as well
MOST_CLEANS = 4  # per round
ABOVE_HOLES = 1.3  # lowest peak of a source, in depths of the deepest negative
EDGE_PIXELS = 2  # around a new source
PHASES, GAINS = "scalarphase", "diagonal"  # of the solver
RECORD = "selfcal.json"
POSITIONS = "absolute positions may have shifted: each model is the previous image"


@dataclass(frozen=True)
class Round:
    """An image and its calibration; round 0 has no solutions."""

    number: int
    mode: str
    solution_interval: int  # integrations, of the longest scan
    peak_jy: float
    rms_jy: float
    dynamic_range: float
    flagged_fraction: float
    image: str
    solutions: tuple[str, ...] = ()


def solving_mode(number: int, slots: int) -> tuple[str, int]:
    """Return solution mode and interval (integrations) of a round: phases, halving the interval each round, then gains.

    ``slots`` is the number of integrations of a scan.
    """
    if number > PHASE_ROUNDS:
        return GAINS, slots
    return PHASES, max(1, slots // 2 ** (number - 1))


def is_better(one: Round, other: Round) -> bool:
    """Whether a round gained 3 % in peak or dynamic range on another, and lost 3 % in neither."""
    peak, dynamic_range = one.peak_jy / other.peak_jy - 1, one.dynamic_range / other.dynamic_range - 1
    return max(peak, dynamic_range) >= LEAST_GAIN and min(peak, dynamic_range) > -LEAST_GAIN


def stop_reason(rounds: Sequence[Round], most: int) -> str:
    """Return why self-calibration stops; "" if it goes on. Noise is not solved for: it would become a source."""
    if rounds and rounds[0].dynamic_range < MASK_SIGMA:
        return f"nothing is above {MASK_SIGMA:g} times the noise; no model for self-calibration"
    if len(rounds) > 1 and not is_better(rounds[-1], rounds[-2]):
        falls = rounds[-1].dynamic_range < rounds[-2].dynamic_range or rounds[-1].peak_jy < rounds[-2].peak_jy
        verb = "fell" if falls else f"gained less than {LEAST_GAIN:.0%}"
        return f"peak or dynamic range {verb} in round {rounds[-1].number}"
    return f"{most} rounds were made" if len(rounds) >= most else ""


def best_round(rounds: Sequence[Round]) -> int:
    """Return the index of the round with the highest dynamic range."""
    return max(range(len(rounds)), key=lambda place: rounds[place].dynamic_range)


def record_path(session: Session, field: str, suffix: str) -> Path:
    """Return the path of the record of a target's rounds."""
    return Path(session.outdir, "IMAGES", field + suffix, RECORD)


def read_rounds(path: Path, number: int) -> list[Round]:
    """Return the recorded rounds below a number; later ones belong to an earlier run."""
    if not path.is_file():
        return []
    entry = json.loads(path.read_text())
    return [Round(**{**one, "solutions": tuple(one["solutions"])}) for one in entry["rounds"]][:number]


def write_rounds(path: Path, rounds: Sequence[Round], reason: str) -> None:
    """Write the record of the rounds, with the best one and the reason for the end."""
    entry = {"rounds": [asdict(one) for one in rounds], "best_round": best_round(rounds), "stop_reason": reason}
    write_atomically(path, json.dumps({**entry, "warning": POSITIONS}, indent=1))


# ---- the sets of a round


def solved_set(session: Session, scan: Scan, tuning: str, number: int) -> str:
    """Return the path of a target's set corrected by a round's solutions; uncorrected for round 0."""
    return session.set_path(scan, tuning, CALIBRATED if number == 0 else f"_selfcal{number}")


def solutions_of(session: Session, scan: Scan, tuning: str, number: int) -> str:
    """Return the path of a round's solutions."""
    return session.set_path(scan, tuning, f"_selfcal{number}").removesuffix(".ms") + ".h5"


def round_rows(
    session: Session, present: set[str], number: int, most: int, source_list: Callable[[str], str]
) -> list[tuple[str, str, str, str, str, str]]:
    """Return the solve jobs of a round: input set, model, solutions, output set, mode, interval.

    Targets that have stopped have none. ``source_list`` returns the path of the source list for an image root.
    """
    rows = []
    for field in session.roles.targets:
        for band in bands_of(session, field):
            path = record_path(session, field, band.suffix)
            if number == 0 or stop_reason(read_rounds(path, number), most):
                continue
            model = source_list(f"{path.parent}/selfcal/round{number - 1}")
            for scan, tuning in _scans(session, field, band.tunings, present):
                mode, interval = solving_mode(number, _slots(session, scan, tuning))
                ms = solved_set(session, scan, tuning, 0)
                outputs = (solutions_of(session, scan, tuning, number), solved_set(session, scan, tuning, number))
                rows.append((ms, model, *outputs, mode, str(interval)))
    return rows


def _slots(session: Session, scan: Scan, tuning: str) -> int:
    """Return the integrations of a scan. DP3 6.6 crashes when applying solutions of interval 0, the whole scan."""
    return len(load_facts(session.set_path(scan, tuning, AVERAGED)).times_s)


def _scans(session: Session, field: str, tunings: Sequence[str], present: set[str]) -> list[tuple[Scan, str]]:
    return [
        (scan, tuning)
        for scan in session.scans
        if scan.field == field
        for tuning in tunings
        if solved_set(session, scan, tuning, 0) in present
    ]


def image_round(
    session: Session, field: str, number: int, most: int, present: set[str], make_imager: Any
) -> dict[str, list[Round]]:
    """Image every band of a target with a round's solutions, and record the round; return the rounds by record path.

    ``make_imager`` returns an imager for some sets; it writes source lists.
    """
    recorded: dict[str, list[Round]] = {}
    for band in bands_of(session, field):
        path = record_path(session, field, band.suffix)
        rounds = read_rounds(path, number)
        if stop_reason(rounds, most):
            recorded[str(path)] = rounds
            continue
        scans = _scans(session, field, band.tunings, present)
        sets = [solved_set(session, scan, tuning, number) for scan, tuning in scans]
        directory = image_directory(session, field, band)
        plan = json.loads((directory / "plan.json").read_text())
        (directory / "selfcal").mkdir(exist_ok=True)
        images = _cleaned(make_imager(sets), directory, plan, number)
        longest = max(_slots(session, *one) for one in scans)
        mode, interval = solving_mode(number, longest) if number else ("", 0)
        solutions = tuple(solutions_of(session, scan, tuning, number) for scan, tuning in scans) if number else ()
        rounds = [*rounds, _measured(images, number, mode, interval, sets, solutions)]
        write_rounds(path, rounds, stop_reason(rounds, most))
        recorded[str(path)] = rounds
    return recorded


def _cleaned(imager: Imager, directory: Path, plan: Mapping[str, Any], number: int) -> Images:
    """Clean the image of a round within a mask of certain sources; return the images.

    The mask starts as the previous round's, or the brightest source, and grows by the certain sources of each
    residual. A mask from an image with phase errors has sidelobes; in the model, solutions would preserve them.
    """
    grid, dirty = Grid(plan["cell_arcsec"], plan["size"]), plan["rounds"][-1]["dirty"]
    root, before = (f"{directory}/selfcal/round{place}" for place in (number, number - 1))
    mask, former = f"{root}_mask.fits", Path(f"{before}_mask.fits")
    inside = fits.getdata(former).squeeze() > 0 if former.is_file() else brightest_source(dirty)
    cleaning = Cleaning(noise_sigma=1, gain=0.6, mask=mask)
    for _ in range(MOST_CLEANS):
        write_plane(dirty, inside.astype(np.float32), mask)
        made = careful_clean(imager, root, grid, cleaning, dirty)[0]
        found = sure_sources(made.residual) & ~inside
        if not found.any():
            break
        inside |= scipy.ndimage.binary_dilation(found, iterations=EDGE_PIXELS)
    return made


def brightest_source(image: str) -> NDArray[np.bool_]:
    """Return the mask of the brightest source: one beam around the highest pixel within the half power."""
    sky = read_sky_image(image)
    plane = np.where(beam_power(sky)[0] > HALF_POWER, sky.plane, -np.inf)
    row, column = np.unravel_index(np.nanargmax(plane), plane.shape)
    rows, columns = np.indices(plane.shape)
    return np.asarray(beam_exponent(sky)(columns - column, rows - row) < 4 * math.log(2))


def sure_sources(residual: str) -> NDArray[np.bool_]:
    """Return the mask of certain sources in a residual: above 6 times the local noise, and above the negatives.

    Phase errors leave symmetric residuals: a source exceeds 1.3 times the depth of the deepest negative.
    """
    sky = read_sky_image(residual)
    plane = np.where(beam_power(sky)[0] > LOWEST_POWER, np.nan_to_num(sky.plane), 0)
    return np.asarray(plane > np.maximum(MASK_SIGMA * local_noise(sky.plane), -ABOVE_HOLES * plane.min()))


def _measured(
    images: Images, number: int, mode: str, interval: int, sets: Sequence[str], solutions: tuple[str, ...]
) -> Round:
    peak_jy, rms_jy = float(np.nanmax(read_sky_image(images.image).plane)), image_noise(images.residual)
    flagged = []
    for ms in sets:
        with closing(casacore.tables.table(ms, ack=False)) as table:
            flagged.append(float(table.getcol("FLAG").mean()))
    share = float(np.mean(flagged))
    return Round(number, mode, interval, peak_jy, rms_jy, peak_jy / rms_jy, share, images.image, solutions)


def all_targets_stopped(session: Session, number: int, most: int) -> bool:
    """Whether all targets have stopped at this round or earlier."""
    records = [
        record_path(session, field, band.suffix) for field in session.roles.targets for band in bands_of(session, field)
    ]
    return all(stop_reason(read_rounds(path, number + 1), most) for path in records)
