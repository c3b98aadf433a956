"""Conversion of a scan's uvh5 files to a measurement set: joined in frequency, invalid values flagged."""

from __future__ import annotations

import filecmp
import itertools
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import list_names
from lofarpipe.imaging.ata.session import NodeFile, SessionError, lists_to_tuples, node_files, scan_folders
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

HUGE_FACTOR = 100.0  # times the median of |V|. Source: doc/spec/calibration.md, section 4
LARGEST_COUNT = 1e6  # samples of a visibility; more is garbage
KEPT_FILES = ("*.txt", "*.toml")  # copied from a scan's folder to the products


@dataclass(frozen=True)
class ReadingNotes:
    """Findings in the files of a scan and tuning, and changes to the data."""

    folder: str
    tuning: str
    field: str
    channels: int
    width_hz: float
    times: int
    baselines: int  # with autocorrelations
    antennas: tuple[str, ...]
    missing_nodes: tuple[int, ...]  # replaced by flagged channels
    garbage_counts: int
    bad_values: int  # huge or not finite
    silent: dict[str, list[str]]  # node -> antennas that are exactly 0 there

    @property
    def dead(self) -> set[str]:
        """Antennas with zero data in all nodes."""
        return set.intersection(*map(set, self.silent.values())) if self.silent else set()


def load_notes(path: Path) -> ReadingNotes:
    """Load the notes written by `read_scan`."""
    return ReadingNotes(**lists_to_tuples(json.loads(path.read_text())))


@contextmanager
def scratch_copy(folder: Path, tuning: str, scratch: str) -> Iterator[Path]:
    """Yield a temporary copy of a tuning's files in the ``scratch`` directory; the folder itself for ``""``.

    Raises
    ------
    SessionError
        If a copy differs from its file.
    """
    if not scratch:
        yield folder
        return
    target = Path(scratch, f"{folder.name}_{tuning}.copy", folder.name)
    try:
        for file in node_files(folder, [tuning]):
            source = Path(file.path)
            copy = target / source.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            if not filecmp.cmp(source, copy, shallow=False):
                raise SessionError(f"{copy}: differs from {source}; look at the disk")
        for pattern in KEPT_FILES:
            for source in sorted(folder.glob(pattern)):
                shutil.copy2(source, target / source.name)
        yield target
    finally:
        shutil.rmtree(target.parent, ignore_errors=True)


def read_scan(folder: Path, tuning: str, ms: Path, notes_file: Path, siblings: Path | None = None) -> ReadingNotes:
    """Write the measurement set of a tuning of a scan, and notes on its data beside it.

    ``siblings`` is the directory of the session, if the folder is a scratch copy.

    The node files are joined in order of frequency. Nodes missing here and present in other scans of the session
    become flagged channels. The set gets its name only when complete.

    Raises
    ------
    SessionError
        If a file cannot be read, or files do not fit together; the message names the file.
    """
    files = node_files(folder, [tuning])
    if not files:
        raise SessionError(f"{folder}: holds no files Lo{tuning.upper()}.C*/*.uvh5")
    if unreadable := [file for file in files if file.fault]:
        raise SessionError(f"{unreadable[0].path}: cannot be read: {unreadable[0].fault}; copy it again, or remove it")
    _check_channels(files)
    uv = _read(files)
    missing = missing_nodes(siblings or folder.parent, tuning, files)
    for node in missing:
        uv = _add_flagged_node(uv, node)
    notes = _clean(uv, files, missing, folder, tuning)
    _renumber(uv)
    unfinished = ms.with_name(f".{ms.name}.incomplete")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    uv.write_ms(str(unfinished), clobber=True, run_check=False)
    _fill_tables(str(unfinished), tuning)
    shutil.rmtree(ms, ignore_errors=True)
    os.rename(unfinished, ms)  # noqa: PTH104 - a directory
    _keep_texts(folder, ms.parent)
    write_atomically(notes_file, json.dumps(asdict(notes), indent=1))
    return notes


def _check_channels(files: Sequence[NodeFile]) -> None:
    """Refuse files with overlapping channels or different channel widths."""
    ordered = sorted(files, key=lambda file: file.first_hz)
    for file, following in itertools.pairwise(ordered):
        if abs(file.width_hz - following.width_hz) > 1:
            raise SessionError(
                f"{following.path}: its channels are {following.width_hz:g} Hz wide, not {file.width_hz:g}"
            )
        if following.first_hz < file.first_hz + (file.channels - 0.5) * file.width_hz:
            raise SessionError(f"{following.path}: it has channels that {file.path} has too; remove one of them")


def _read(files: Sequence[NodeFile]) -> Any:
    """Return the files as one object of pyuvdata, in rising frequency."""
    try:
        from pyuvdata import UVData
    except ImportError as err:
        raise SessionError(f"pyuvdata cannot be imported ({err}); pip install 'genericpipeline[ata]'") from err
    from astropy.utils import iers

    ordered = sorted(files, key=lambda file: file.first_hz)
    uv = UVData()
    with warnings.catch_warnings(), iers.conf.set_temp("auto_download", False):
        warnings.simplefilter("ignore")  # about headers, corrected below
        try:
            uv.read([file.path for file in ordered], fix_old_proj=False, run_check=False)
        except (OSError, ValueError, KeyError) as err:
            reason = " ".join(str(err).split())
            raise SessionError(f"{list_names(file.path for file in ordered)}: cannot be joined: {reason}") from err
    if uv.Nphase != 1:
        raise SessionError(f"{ordered[0].path}: has {uv.Nphase} phase centres; one is needed")
    return uv


def missing_nodes(session: Path, tuning: str, files: Sequence[NodeFile]) -> list[NodeFile]:
    """Return the nodes missing in this scan, with the frequencies of another scan of the session.

    A gap without data in any scan becomes a node of number 0, so that the channels are evenly spaced.
    """
    present = {file.node for file in files}
    missing: dict[int, NodeFile] = {}
    for sibling in scan_folders(session):
        for file in node_files(sibling, [tuning]):
            if file.node not in present and not file.fault:
                missing.setdefault(file.node, file)
    nodes = sorted([*files, *missing.values()], key=lambda file: file.first_hz)
    for file, following in itertools.pairwise(nodes):
        end_hz = file.first_hz + file.channels * file.width_hz
        if gap := round((following.first_hz - end_hz) / file.width_hz):
            missing[-len(missing) - 1] = NodeFile("", tuning, 0, end_hz, file.width_hz, gap)
    return list(missing.values())


def _add_flagged_node(uv: Any, node: NodeFile) -> Any:
    """Return the data with a node's channels added and flagged."""
    part = uv.select(freq_chans=[0], inplace=False, run_check=False)
    part.freq_array = node.first_hz + np.arange(node.channels) * node.width_hz
    part.channel_width = np.full(node.channels, node.width_hz)
    part.flex_spw_id_array = np.full(node.channels, uv.flex_spw_id_array[0])
    part.Nfreqs = node.channels
    shape = (uv.Nblts, node.channels, uv.Npols)
    part.data_array, part.flag_array = np.zeros(shape, np.complex64), np.ones(shape, bool)
    part.nsample_array = np.ones(shape, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        joined = uv.__add__(part, run_check=False)
    joined.reorder_freqs(channel_order="freq", run_check=False)
    return joined


def _clean(uv: Any, files: Sequence[NodeFile], missing: Sequence[NodeFile], folder: Path, tuning: str) -> ReadingNotes:
    """Flag invalid visibilities, and replace garbage sample counts by 1; return the notes."""
    counts = uv.nsample_array
    garbage = ~(np.isfinite(counts) & (counts > 0) & (counts <= LARGEST_COUNT))
    counts[garbage] = 1
    bad = bad_values(uv.data_array, uv.ant_1_array == uv.ant_2_array)
    uv.data_array[bad] = 0
    uv.flag_array |= bad
    silent = _flag_silent(uv, files)
    return ReadingNotes(
        folder=folder.name,
        tuning=tuning,
        field=str(next(iter(uv.phase_center_catalog.values()))["cat_name"]),
        channels=int(uv.Nfreqs),
        width_hz=float(np.median(uv.channel_width)),
        times=int(uv.Ntimes),
        baselines=int(uv.Nbls),
        antennas=tuple(_names(uv)),
        missing_nodes=tuple(node.node for node in missing),
        garbage_counts=int(garbage.sum()),
        bad_values=int(bad.sum()),
        silent=silent,
    )


def _names(uv: Any) -> list[str]:
    """Return the names of the antennas with data, by antenna number."""
    numbers = {*uv.ant_1_array.tolist(), *uv.ant_2_array.tolist()}
    pairs = sorted(zip(uv.telescope.antenna_numbers.tolist(), uv.telescope.antenna_names, strict=True))
    return [str(name) for number, name in pairs if number in numbers]


def bad_values(visibilities: NDArray[np.complex64], autos: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask (blt, chan, pol) of values that are not finite, or above 100 times the median.

    Medians are of non-zero |V|, separately for auto- and cross-correlations and each polarisation.
    """
    bad = np.zeros(visibilities.shape, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in (np.flatnonzero(autos), np.flatnonzero(~autos)):
            for pol in range(visibilities.shape[2]):
                amplitude = np.abs(visibilities[rows, :, pol].astype(complex))
                usable = amplitude[np.isfinite(amplitude) & (amplitude > 0)]
                limit = HUGE_FACTOR * np.median(usable) if len(usable) else np.inf
                bad[rows, :, pol] = ~(amplitude <= limit)
    return bad


def _flag_silent(uv: Any, files: Sequence[NodeFile]) -> dict[str, list[str]]:
    """Flag antennas with exactly zero data in a node; return their names by node."""
    numbers = sorted({*uv.ant_1_array.tolist(), *uv.ant_2_array.tolist()})
    names, silent = _names(uv), {}
    for file in files:
        inside = (uv.freq_array >= file.first_hz - file.width_hz / 2) & (
            uv.freq_array < file.first_hz + (file.channels - 0.5) * file.width_hz
        )
        power = (uv.data_array[:, inside] != 0).any(axis=(1, 2))
        heard = {*uv.ant_1_array[power].tolist(), *uv.ant_2_array[power].tolist()}
        quiet = [number for number in numbers if number not in heard]
        rows = np.isin(uv.ant_1_array, quiet) | np.isin(uv.ant_2_array, quiet)
        uv.flag_array[np.ix_(rows, inside)] = True
        silent[f"C{file.node:04d}"] = [names[numbers.index(number)] for number in quiet]
    return silent


def _renumber(uv: Any) -> None:
    """Drop antennas without data and renumber from 0: the ANTENNA table has a row for each number."""
    numbers = sorted({*uv.ant_1_array.tolist(), *uv.ant_2_array.tolist()})
    uv.select(antenna_nums=numbers, keep_all_metadata=False, run_check=False)
    uv.conjugate_bls("ant1<ant2")
    new = {number: place for place, number in enumerate(numbers)}
    telescope = uv.telescope
    telescope.antenna_numbers = np.array([new[number] for number in telescope.antenna_numbers.tolist()])
    for name in ("ant_1_array", "ant_2_array"):
        setattr(uv, name, np.array([new[number] for number in getattr(uv, name).tolist()]))
    uv.baseline_array = uv.antnums_to_baseline(uv.ant_1_array, uv.ant_2_array)


def _fill_tables(ms: str, tuning: str) -> None:
    """Write metadata missing in pyuvdata's sets: spectral window name, observation times, scan numbers."""
    with closing(casacore.tables.table(ms, readonly=False, ack=False)) as table:
        table.putcol("SCAN_NUMBER", np.zeros(table.nrows(), np.int32))
        times_s, interval_s = table.getcol("TIME"), table.getcell("INTERVAL", 0)
    with closing(casacore.tables.table(f"{ms}::SPECTRAL_WINDOW", readonly=False, ack=False)) as windows:
        windows.putcol("NAME", [f"Lo{tuning.upper()}"] * windows.nrows())
    with closing(casacore.tables.table(f"{ms}::OBSERVATION", readonly=False, ack=False)) as observation:
        span_s = np.array([times_s.min() - interval_s / 2, times_s.max() + interval_s / 2])
        observation.putcell("TIME_RANGE", 0, span_s)
        for column in ("LOG", "SCHEDULE"):
            if not observation.iscelldefined(column, 0):
                observation.putcell(column, 0, [""])


def _keep_texts(folder: Path, target: Path) -> None:
    for pattern in KEPT_FILES:
        for path in sorted(folder.glob(pattern)):
            shutil.copy2(path, target / path.name)
