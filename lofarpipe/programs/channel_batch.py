"""A batch of output channels: staged once on the node's scratch, imaged one by one, copied out and verified.

Reason for batches: doc/spec/meerkat.md, section 1.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import WARNING, PipelineError, counted
from lofarpipe.imaging.cubes.stokes_images import (
    StokesFacts,
    blank_record,
    channel_image,
    header_of,
    image_record,
    recipe_in,
    write_stokes_image,
)
from lofarpipe.imaging.ms.band import VisibilityCounts, flag_unweighted, selected_rows, sum_visibilities
from lofarpipe.imaging.ms.tables import opened, opened_set
from lofarpipe.imaging.plan.channels import OutputBatch, OutputChannel, effective_frequency_hz, frequency_range
from lofarpipe.jobs import Resources
from lofarpipe.programs.channel_records import (
    channel_imaging,
    channel_recipe,
    read_image_record,
    record_file,
    refuse_other_product,
)
from lofarpipe.programs.child import ChildFailed, run_program
from lofarpipe.programs.wsclean.stokes import (
    ChannelRequest,
    channel_arguments,
    images_by_stokes,
    is_empty,
)
from lofarpipe.state.scratch import Marker, Scratch, copy_verified, find_residues, remove_residue
from lofarpipe.state.slots import io_slot
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.processes import node_name
from lofarpipe.support.utilities import unfinished_name, write_atomically

STEP = "image_channels"
# Bytes of one staged visibility of four correlations (data, weights, flags), and of a row's other columns.
VISIBILITY_BYTES, ROW_BYTES = 4 * (8 + 4) + 4, 200
PLANES_ON_SCRATCH = 40  # planes of 4 bytes a pixel: WSClean's files for one channel, and the image of four planes
WITH_AUTOCORRELATIONS = 1.1
NODES = "nodes"


@dataclass(frozen=True)
class BatchSettings:
    """Directories and settings of a batch."""

    plan: Mapping[str, Any]  # plan.json
    run: str  # job directory of the run
    work: Path  # records of channels and nodes, seen by all jobs
    scratch_dir: Path
    slots_dir: Path
    io_slots: int
    share: Resources
    tolerant: bool


@dataclass(frozen=True)
class Local:
    """Input of the imager: a set with its column, field and windows, and the places of the channels in each."""

    sets: Mapping[int, str]  # by window
    data_column: str
    field_id: int
    frequencies_hz: Mapping[int, NDArray[np.float64]]
    counts: Mapping[int, VisibilityCounts]
    rows: Mapping[int, int]
    first: Mapping[int, int]  # window -> number of its first staged channel

    @property
    def usable(self) -> Mapping[int, NDArray[np.int64]]:
        """The numbers of usable visibilities of each channel."""
        return {window: counts.usable for window, counts in self.counts.items()}

    def places(self, channel: OutputChannel) -> OutputChannel:
        """Return the channel with members counted from the first staged channel of each window."""
        members = tuple((window, number - self.first[window]) for window, number in channel.members)
        return OutputChannel(channel.index, channel.low_hz, channel.high_hz, members)


@dataclass(frozen=True)
class PlannedImage:
    """One image of a batch."""

    channel: OutputChannel
    label: str
    robust: float
    target: Path
    recipe: str


class ChannelBatch:
    """Makes the images of some channels at all robust values; existing images are kept."""

    def __init__(self, settings: BatchSettings, number: int) -> None:
        self.settings = settings
        self.plan, self.number = settings.plan, number
        self.options, self.set = settings.plan["options"], settings.plan["set"]
        indices = set(settings.plan["batches"][number])
        self.entries = {entry["index"]: entry for entry in settings.plan["channels"] if entry["index"] in indices}

    def run(self) -> dict[str, int]:
        """Make the images, and a record of each; return the numbers of new, kept and blank ones.

        Raises
        ------
        PipelineError
            If staging, copying out, or (unless tolerated) imaging fails.
        """
        images = list(self._planned())
        pending = [image for image in images if not self._is_done(image)]
        print(f"batch {self.number}: {counted(len(images), 'image')}, of which {len(images) - len(pending)} are kept")
        blank = self._make(pending) if pending else 0
        return {"made": len(pending) - blank, "kept": len(images) - len(pending), "blank": blank}

    def _place(self, image: PlannedImage, smoothed: bool) -> Path:
        place = (Path(self.plan["products"]), self.set["base"], image.label, image.robust, self.options["imsize"])
        return channel_image(*place, smoothed)

    def _planned(self) -> Iterator[PlannedImage]:
        products, base = Path(self.plan["products"]), self.set["base"]
        for entry in self.entries.values():
            members = tuple((int(window), int(number)) for window, number in entry["members"])
            channel = OutputChannel(entry["index"], entry["low_hz"], entry["high_hz"], members)
            for robust in self.options["channel_robust"]:
                target = channel_image(products, base, entry["label"], robust, self.options["imsize"])
                yield PlannedImage(channel, entry["label"], robust, target, channel_recipe(self.plan, entry, robust))

    def _is_done(self, image: PlannedImage) -> bool:
        """Whether an image, or the record of a blank one, has the same data and settings.

        Raises
        ------
        PipelineError
            If an image of other data or settings exists, and may not be overwritten.
        """
        former_recipe = recipe_in(image.target)
        if former_recipe == image.recipe:
            header = header_of(image.target)
            self._record(image, image_record(image.target, header, Path(self.plan["products"])))
            return True
        if former_recipe is not None:
            refuse_other_product(image.target, self.options["overwrite"])
        record = read_image_record(self.settings.work, image.label, image.robust)
        return record is not None and record.get("reason") == "flagged" and record.get("recipe") == image.recipe

    def _make(self, pending: Sequence[PlannedImage]) -> int:
        """Stage the inputs of the images, and make them; return the number of blank ones."""
        channels = tuple(dict.fromkeys(image.channel for image in pending))
        marker = Marker(self.settings.run, STEP, f"{self.number:03d}")
        self._note_node()
        self._remove_own_residues(marker, lambda residue_kept: not residue_kept)
        blank = 0
        with Scratch(self.settings.scratch_dir, marker, self._needed_bytes(OutputBatch(0, channels))) as scratch:
            local = self._stage(OutputBatch(self.number, channels), scratch.path)
            for image in pending:
                blank += not self._image(image, local, scratch)
        self._remove_own_residues(marker, lambda _: True)  # files of an earlier copy are made again
        return blank

    def _note_node(self) -> None:
        """Write down that this node has worked for the run: it is looked at when scratch is cleaned."""
        directory = self.settings.work / NODES
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(
            directory / f"{node_name()}.json", json.dumps({"scratch_dir": str(self.settings.scratch_dir)}) + "\n"
        )

    def _remove_own_residues(self, marker: Marker, is_removable: Any) -> None:
        for residue in find_residues(self.settings.scratch_dir, self.settings.run):
            is_own = (residue.marker.step, residue.marker.job) == (marker.step, marker.job)
            if is_own and not residue.is_alive and is_removable(residue.marker.kept):
                print(f"{residue.path}: left by an earlier try of this batch; removed")
                remove_residue(residue)

    def _needed_bytes(self, batch: OutputBatch) -> float:
        rows = {window["window"]: window["rows"] * WITH_AUTOCORRELATIONS for window in self.set["windows"]}
        per_row = [(rows[part.window], part.count * VISIBILITY_BYTES + ROW_BYTES) for part in batch.ranges()]
        staged = sum(number * size for number, size in per_row) if self._is_staged else 0
        return float(staged + self._reordered_bytes(batch) + PLANES_ON_SCRATCH * 4 * self.options["imsize"] ** 2)

    def _reordered_bytes(self, batch: OutputBatch) -> float:
        """Return the size of WSClean's reordered visibilities for the largest of the channels."""
        rows = max(window["rows"] for window in self.set["windows"])
        return float(max(len(channel.members) for channel in batch.channels) * rows * 2 * VISIBILITY_BYTES)

    @property
    def _is_staged(self) -> bool:
        return bool(self.options["stage_data"]) and self.set["nfields"] == 1

    # ------------------------------------------------------------------------------------------------ staging
    @cached_property
    def _windows(self) -> dict[int, Mapping[str, Any]]:
        return {window["window"]: window for window in self.set["windows"]}

    def _stage(self, batch: OutputBatch, scratch: Path) -> Local:
        """Return the sets for the imager: copies on the scratch, or the set itself."""
        if not self._is_staged:
            return self._unstaged(batch)
        with io_slot(self.settings.slots_dir, self.settings.io_slots) as slot:
            print(f"{slot} of {self.settings.slots_dir}: reading {counted(len(batch.ranges()), 'window')}")
            for part in batch.ranges():
                target = scratch / f"window{part.window}.ms"
                keywords = _copy_keywords(self.set["path"], self.set["data_column"], part.window, target)
                keywords |= {"msin.startchan": str(part.first), "msin.nchan": str(part.count)}
                run_program("dp3", keywords, [], self.settings.share, scratch)
        sets = {part.window: str(scratch / f"window{part.window}.ms") for part in batch.ranges()}
        frequencies = {}
        for window, path in sets.items():
            with opened(f"{path}::SPECTRAL_WINDOW") as table:
                frequencies[window] = np.asarray(table.getcell("CHAN_FREQ", 0), float)
        counts = {window: self._counts(path, 0, 0, "DATA", len(frequencies[window])) for window, path in sets.items()}
        for window, path in sets.items():
            if counts[window].unweighted.any():
                print(f"{WARNING}window {window}: visibilities with a weight that is NaN or infinite are flagged")
                flag_unweighted(path)
                counts[window].unweighted.fill(0)
        first = {part.window: part.first for part in batch.ranges()}
        rows = {window: self._windows[window]["rows"] for window in sets}
        return Local(sets, "DATA", 0, frequencies, counts, rows, first)

    def _unstaged(self, batch: OutputBatch) -> Local:
        field, column = self.set["field_id"], self.set["data_column"]
        windows = {part.window: self._windows[part.window] for part in batch.ranges()}
        counts = {
            number: self._counts(self.set["path"], window["description"], field, column, len(window["frequencies_hz"]))
            for number, window in windows.items()
        }
        every = {number: np.asarray(window["frequencies_hz"]) for number, window in self._windows.items()}
        sets = dict.fromkeys(windows, self.set["path"])
        rows = {number: window["rows"] for number, window in windows.items()}
        return Local(sets, column, field, every, counts, rows, dict.fromkeys(windows, 0))

    @staticmethod
    def _counts(path: str, description: int, field: int, column: str, nchan: int) -> VisibilityCounts:
        with opened_set(path) as table, closing(selected_rows(table, description, field)) as rows:
            return sum_visibilities(rows, column, nchan)

    # ------------------------------------------------------------------------------------------------ one image
    def _image(self, image: PlannedImage, local: Local, scratch: Scratch) -> bool:
        """Make one image and copy it out; return whether it exists, and record the reason if not."""
        places = local.places(image.channel)
        effective_hz = effective_frequency_hz(places, local.frequencies_hz, local.usable)
        if effective_hz is None:
            return self._blank(image, "flagged", "every visibility is flagged, NaN, 0, or without weight")
        if unweighted := sum(int(local.counts[window].unweighted[number]) for window, number in places.members):
            problem = f"NaN or infinite: {counted(unweighted, 'weight')} of unflagged visibilities"
            return self._fail(image, PipelineError(f"{problem}, of which the image would be NaN; flag these"))
        room = scratch.path / f"{image.label}_{image.robust}"
        room.mkdir()
        try:
            planes, command = self._run_imager(image, local, room)
        except ChildFailed as err:
            return self._fail(image, err)
        if is_empty(header_of(Path(planes["I"])) or {}):
            return self._blank(image, "flagged", "the imager used no visibility")
        unflagged = sum(int(local.usable[window][number]) for window, number in places.members)
        possible = sum(local.rows[window] for window, _ in places.members)
        entry = self.entries[image.channel.index]
        facts = StokesFacts(
            entry["frequency_hz"],
            self.plan["channel_width_hz"],
            image.recipe,
            image.robust,
            self.set["field"],
            effective_hz,
            round(1 - unflagged / possible, 6),
            (" ".join(command),),
        )
        image_file = room / image.target.name
        try:
            write_stokes_image(image_file, planes, facts)
        except PipelineError as err:
            return self._fail(image, err)
        self._copy_out(image_file, image, scratch)
        shutil.rmtree(room, ignore_errors=True)
        return True

    def _run_imager(self, image: PlannedImage, local: Local, room: Path) -> tuple[dict[str, str], tuple[str, ...]]:
        windows = dict.fromkeys(window for window, _ in image.channel.members)
        frequencies = local.frequencies_hz if not self._is_staged else {w: local.frequencies_hz[w] for w in windows}
        first, behind = frequency_range(image.channel, frequencies.values())
        sets = tuple(dict.fromkeys(local.sets[window] for window in windows))
        request = ChannelRequest(sets, local.data_column, local.field_id, first, behind, image.robust)
        keywords, flags = channel_arguments(channel_imaging(self.options), request, room / "image", room)
        command = run_program("wsclean", keywords, flags, self.settings.share, room)
        planes = images_by_stokes(room / "image")
        if missing := [name for name in "IQUV" if name not in planes]:
            raise ChildFailed(f"it wrote no image of Stokes {', '.join(missing)}")
        return planes, command

    def _copy_out(self, image_file: Path, image: PlannedImage, scratch: Scratch) -> None:
        try:
            digest = copy_verified(image_file, image.target)
        except PipelineError as err:
            scratch.keep_directory(f"{image.target} could not be written")
            raise PipelineError(f"{err}; the image is kept: {image_file}") from err
        record = image_record(image.target, header_of(image.target), Path(self.plan["products"]))
        self._record(image, record | {"sha256": digest})

    def _fail(self, image: PlannedImage, err: PipelineError) -> bool:
        """Record a channel that could not be imaged, unless that ends the run."""
        if not self.settings.tolerant:
            raise PipelineError(f"channel {image.label} at robust {image.robust}: {err}") from err
        print(f"{WARNING}channel {image.label} at robust {image.robust} is blank: {err}")
        return self._blank(image, "failed", str(err))

    def _blank(self, image: PlannedImage, reason: str, detail: str) -> bool:
        for smoothed in (False, True):  # of other data, which may be overwritten
            self._place(image, smoothed).unlink(missing_ok=True)
        self._record(image, blank_record(reason) | {"detail": detail})
        return False

    def _record(self, image: PlannedImage, record: Mapping[str, Any]) -> None:
        path = record_file(self.settings.work, image.label, image.robust)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({**record, "recipe": image.recipe}) + "\n")


def merge_windows(plan: Mapping[str, Any], vis: str, run: str, scratch_dir: Path, share: Resources) -> Path:
    """Merge all windows of a set into one window of a new set beside the products, and return its path.

    Raises
    ------
    PipelineError
        If the new set already exists.
    """
    products, base = Path(plan["products"]), plan["set"]["base"]
    target = products / f"{base}_merged.ms"
    if target.exists():
        raise PipelineError(f"{target}: already exists; remove it, or set write_merged_set = False")
    products.mkdir(parents=True, exist_ok=True)
    with Scratch(scratch_dir, Marker(run, "merge_spws", "000")) as scratch:
        parts = [scratch.path / f"window{window['window']}.ms" for window in plan["set"]["windows"]]
        for window, part in zip(plan["set"]["windows"], parts, strict=True):
            keywords = _copy_keywords(vis, plan["set"]["data_column"], window["window"], part)
            run_program("dp3", keywords, [], share, scratch.path)
        part = unfinished_name(target)
        part_list = f"[{','.join(map(str, parts))}]"
        joined = {"msin": part_list, "msin.orderms": "True", "msout": str(part), "steps": "[]"}
        try:
            run_program("dp3", joined, [], share, scratch.path)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target


def _copy_keywords(vis: str, column: str, window: int, target: Path) -> dict[str, str]:
    """Return DP3's arguments for a copy of one window."""
    return {"msin": vis, "msin.band": str(window), "msin.datacolumn": column, "msout": str(target), "steps": "[]"}
