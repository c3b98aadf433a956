"""Saved state of a run after each major cycle, for resuming the same run.

The file <name>-state.npz is beside the images during a run. It holds the model, the component masks, the counters,
and a fingerprint of settings and sets; a file of another run is ignored. The visibilities are read again, which takes
seconds.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import lofarpipe
from lofarpipe.imaging.imager.settings import ImagerSettings

if TYPE_CHECKING:
    from lofarpipe.imaging.imager.major_cycle import State

#: Settings without effect on model and images.
WITHOUT_EFFECT = {"name", "threads", "memory_bytes", "scratch", "products", "channel_products", "component_list"}
WITHOUT_EFFECT |= {"save_model_data"}
COUNTERS = ("is_masked", "majors", "iterations", "brightest_jy", "sigma_jy", "reason")


def run_digest(settings: ImagerSettings) -> str:
    """Return a digest of the settings with effect on the images, and of size and time stamp of the sets' files."""
    digest = hashlib.blake2b(lofarpipe.__version__.encode(), digest_size=16)
    for field in fields(settings):
        if field.name not in WITHOUT_EFFECT:
            value = getattr(settings, field.name)
            text = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            digest.update(field.name.encode() + b"=" + text + b"\n")
    for path in [*settings.sets, settings.fits_mask]:
        digest.update(_files(path).encode())
    return digest.hexdigest()


def _files(path: str) -> str:
    """Return name, size and time stamp of a file, or of a table's files apart from those changed by reading."""
    place = Path(path).absolute()
    names = [place] if place.is_file() else sorted(place.glob("table.f*"))
    return f"{place}: {[(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in names]}\n"


class StateFile:
    """Saved states of one run, one per group of Stokes parameters cleaned together."""

    def __init__(self, settings: ImagerSettings):
        self.path = Path(f"{settings.name}-state.npz")
        self.fingerprint = run_digest(settings)
        self._arrays: dict[str, NDArray[Any]] = {}
        self._read()

    def _read(self) -> None:
        """Load the arrays of an earlier run with the same settings and sets; ignore a damaged file."""
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                if str(saved["fingerprint"]) == self.fingerprint:
                    self._arrays = {name: saved[name] for name in saved.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return

    def load(self, pols: Sequence[int], shape: tuple[int, ...]) -> State | None:
        """Return the saved state of a group of Stokes parameters, with a model of ``shape``; None if there is none."""
        from lofarpipe.imaging.imager.major_cycle import State

        key = _key(pols)
        if f"{key}:counters" not in self._arrays:
            return None
        state = State(np.zeros(shape, np.float32))
        state.model.reshape(-1)[self._arrays[f"{key}:pixels"]] = self._arrays[f"{key}:values"]
        state.residual_peaks_jy = [float(one) for one in self._arrays[f"{key}:peaks"]]
        for name, text in zip(COUNTERS, self._arrays[f"{key}:counters"], strict=True):
            kind = type(getattr(state, name))
            setattr(state, name, str(text) == "True" if kind is bool else kind(str(text)))
        scales = int(self._arrays[f"{key}:scales"])
        state.component_masks = [_unpacked(self._arrays, f"{key}:found{scale}") for scale in range(scales)]
        return state

    def save(self, pols: Sequence[int], state: State) -> None:
        """Save the state of a group, atomically."""
        key = _key(pols)
        pixels = np.flatnonzero(state.model)
        self._arrays |= {
            "fingerprint": np.array(self.fingerprint),
            f"{key}:pixels": pixels,
            f"{key}:values": state.model.reshape(-1)[pixels],
            f"{key}:peaks": np.array(state.residual_peaks_jy),
            f"{key}:counters": np.array([str(getattr(state, name)) for name in COUNTERS]),
            f"{key}:scales": np.array(len(state.component_masks)),
        }
        for scale, mask in enumerate(state.component_masks):
            self._arrays[f"{key}:found{scale}"] = np.packbits(mask)
            self._arrays[f"{key}:found{scale}:shape"] = np.array(mask.shape)
        part = self.path.with_name(f"{self.path.name}.part")
        with part.open("wb") as file:
            np.savez(file, **self._arrays)  # type: ignore[arg-type]
        part.replace(self.path)

    def remove(self) -> None:
        """Remove the file; call it after writing the images."""
        self.path.unlink(missing_ok=True)


def _key(pols: Sequence[int]) -> str:
    return "".join(str(pol) for pol in pols)


def _unpacked(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[np.bool_]:
    shape = tuple(int(side) for side in arrays[f"{name}:shape"])
    return np.unpackbits(arrays[name], count=int(np.prod(shape))).reshape(shape).astype(bool)
