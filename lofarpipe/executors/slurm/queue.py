"""The arrays of one run: submitted, remembered in files, asked for, ended.

``<orders>/slurm/<token>.list`` holds the orders of an array, ``<token>.sh`` its script, ``<token>.id`` its number; the
token is in the name that the array has in the queue, so that it is found even if its number never arrived.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import Order, new_attempt
from lofarpipe.executors.slurm.arrays import Request, sbatch_arguments, script_text
from lofarpipe.executors.slurm.client import SlurmBusy, SlurmClient, SlurmFull, SlurmRefused
from lofarpipe.executors.slurm.options import SlurmOptions
from lofarpipe.support.utilities import write_atomically


@dataclass(frozen=True)
class Array:
    """An array that was submitted, now or by an earlier run; ``id`` is "" if Slurm does not know it."""

    stem: Path
    id: str
    orders: tuple[Path, ...]

    def task(self, index: int) -> str:
        """Return what Slurm calls a task."""
        return f"{self.id}_{index}"

    def said(self, index: int) -> str:
        """Return what a task said outside the log of its job."""
        try:
            return Path(f"{self.stem}.{index}.out").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def forget(self) -> None:
        """Remove the files of the array, none of whose tasks is of use any more."""
        for path in self.stem.parent.glob(f"{self.stem.name}.*"):
            path.unlink(missing_ok=True)


class SlurmQueue:
    """Slurm, as far as the arrays of one job directory go."""

    def __init__(self, directory: Path, options: SlurmOptions, client: SlurmClient) -> None:
        self.directory = directory
        self._options = options
        self._client = client

    def submit(self, request: Request, orders: Sequence[Order], throttle: int, environment: Mapping[str, str]) -> Array:
        """Submit an array, one task for each order.

        Raises
        ------
        PipelineError
            If the files cannot be written, or Slurm refuses; SlurmBusy if Slurm may take it later, SlurmFull if fewer.
        """
        token = new_attempt()
        stem = self.directory / token
        name = f"{orders[0].path.parent.name}.{token}"  # of the step
        arguments = sbatch_arguments(request, self._options, name, len(orders), throttle, stem)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(f"{stem}.sh"), script_text(Path(f"{stem}.list"), environment))
            # Before it is submitted: what was not written down could not be found again.
            write_atomically(Path(f"{stem}.list"), json.dumps([str(order.path) for order in orders]))
        except OSError as err:
            raise PipelineError(f"{stem}: cannot be written: {err.strerror}; check the directory") from err
        number = self._submitted(orders[0].job.name, name, arguments, environment, stem)
        write_atomically(Path(f"{stem}.id"), json.dumps({"id": number, "name": name}))
        return Array(stem, number, tuple(order.path for order in orders))

    def _submitted(
        self, job: str, name: str, arguments: Sequence[str], environment: Mapping[str, str], stem: Path
    ) -> str:
        try:
            return self._client.submit(arguments, environment)
        except SlurmFull:
            Array(stem, "", ()).forget()
            raise
        except SlurmBusy:
            # It may have been taken all the same, and only the answer was lost.
            number = self._number_of(name)
            if number:
                return number
            Array(stem, "", ()).forget()
            raise
        except SlurmRefused as err:
            Path(f"{stem}.list").unlink(missing_ok=True)  # the script stays, to be tried by hand
            raise SlurmRefused(
                f"sbatch refused {job}: {err}; script: {stem}.sh; "
                "correct [slurm] of pipeline.cfg, or partition, account, walltime and batch_options of the step"
            ) from err

    def _number_of(self, name: str) -> str:
        return next((task.partition("_")[0] for task in self._client.named(name)), "")

    def earlier(self) -> list[Array]:
        """Return the arrays that files tell of.

        Raises
        ------
        SlurmRefused
            If Slurm does not answer.
        """
        return [self._earlier(path.with_suffix("")) for path in sorted(self.directory.glob("*.list"))]

    def _earlier(self, stem: Path) -> Array:
        try:
            orders = tuple(map(Path, json.loads(Path(f"{stem}.list").read_text(encoding="utf-8"))))
        except (OSError, ValueError):  # written before anything is submitted, so nothing was
            return Array(stem, "", ())
        try:
            number = str(json.loads(Path(f"{stem}.id").read_text(encoding="utf-8"))["id"])
        except (OSError, ValueError, KeyError):
            number = self._number_of(f"{orders[0].parent.name}.{stem.name}") if orders else ""
        return Array(stem, number, orders)
