"""The parts of the page that are costly to make: pictures and figures, kept until what they show changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import lofarpipe
from lofarpipe.programs.base import BEAM, CORRECTED, FLAT, wholeness
from lofarpipe.support.utilities import write_atomically

VERSION = 2  # of what is kept; that of another one, or of another release, is made anew
KEPT_IN = Path("jobs") / ".report"
FIGURES = ("beam", "noise", "uv", "smearing", "fluxes", "positions")


class Pieces:
    """Makes pieces, or takes them as an earlier page of the same job directory had them.

    A piece that cannot be made is left out, and said so in ``problems``: the rest of the page is worth having.
    """

    def __init__(self, job_directory: Path) -> None:
        self._place = job_directory / KEPT_IN
        self.problems: list[str] = []

    def get(self, name: str, sources: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return a piece, None if it cannot be made; ``sources`` is all that it is made of, files by `stamp_of`."""
        from lofarpipe.errors import PipelineError

        text = json.dumps([VERSION, lofarpipe.__version__, sources], sort_keys=True, default=str)
        mark = hashlib.sha256(text.encode()).hexdigest()
        kept = self._place / f"{name}.json"
        if (found := read_json(kept)).get("mark") == mark:
            return found.get("piece")
        try:
            piece = make()
        except (OSError, ValueError, PipelineError, MemoryError) as err:
            self.problems.append(f"{name}: {err}")
            return None
        self._keep(kept, {"mark": mark, "piece": piece})
        return piece

    def _keep(self, path: Path, content: Mapping[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(content))
        except OSError:  # a full disk or somebody else's directory: it is made again the next time
            return


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; {} where there is none, it is damaged, or it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def stamp_of(path: Path) -> str:
    """Return a short mark of a file that changes with its content, "" where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{path}|{status.st_size}|{status.st_mtime_ns}"


def image_directories(job_directory: Path, record: Mapping[str, Any] | None) -> list[Path]:
    """Return where a run writes its images: its job directory, and its working directory as run.json names it."""
    run = (record or {}).get("run")
    working = run.get("working_directory") if isinstance(run, dict) else None
    return [job_directory, *([Path(working)] if isinstance(working, str) and working else [])]


def image_paths(
    directories: Sequence[Path], quality: Mapping[str, Any], earlier: Collection[str] = ()
) -> dict[str, Path]:
    """Return the images of a run that exist: ``flat``, ``corrected`` and ``beam``.

    Those that were measured, or else the newest of the directories that are named as WSClean names them: of the whole
    band where there are such, and of parts of it, or of polarisations, where there are no others. None is among the
    files of ``earlier`` runs.
    """
    flat = _named(quality, "image") or _newest(directories, earlier)
    if flat is None:
        return {}
    root = str(flat).removesuffix(FLAT)
    corrected = _named(quality, "image_pb") or Path(root + CORRECTED)
    paths = {"flat": flat, "corrected": corrected, "beam": Path(root + BEAM)}
    return {
        name: path
        for name, path in paths.items()
        if path.is_file() and str(path) not in earlier and (name == "flat" or path != flat)
    }


def has_drawings(job_directory: Path, record: Mapping[str, Any] | None = None) -> bool:
    """Return whether there is anything that pictures or figures are made of; ``record`` is what run.json says."""
    known = ("plan.json", "quality.json", "comparison.json", "uv_coverage.png")
    if any((job_directory / name).exists() for name in known):
        return True
    return _newest(image_directories(job_directory, record)) is not None


def _named(quality: Mapping[str, Any], key: str) -> Path | None:
    name = quality.get(key)
    return Path(name) if isinstance(name, str) and Path(name).is_file() else None


def _newest(directories: Iterable[Path], earlier: Collection[str] = ()) -> Path | None:
    images = (path for place in directories for path in place.glob(f"*{FLAT}") if path.is_file())
    found = [path for path in images if str(path.absolute()) not in earlier]
    return max(found, key=lambda path: (wholeness(path), path.stat().st_mtime_ns), default=None)


def pictures(pieces: Pieces, paths: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the previews of the flat-noise and the corrected image, as far as there are any."""
    made = {
        name: _drawn(pieces, f"picture_{name}", "preview", paths[name])
        for name in ("flat", "corrected")
        if name in paths
    }
    return {name: picture for name, picture in made.items() if picture}


def figures(
    pieces: Pieces,
    job_directory: Path,
    paths: Mapping[str, Path],
    numbers: Mapping[str, Any],
    earlier: Collection[str] = (),
) -> dict[str, Any]:
    """Return data URIs of the figures that can be drawn, but for those in files of ``earlier`` runs.

    ``numbers`` has ``expected_jy`` (or None), ``predicted`` (distance, loss), ``measured`` (sources) and
    ``beam_arcsec``.
    """
    coverage = job_directory / "uv_coverage.png"
    measured, predicted = numbers["measured"], numbers["predicted"]
    wanted: dict[str, tuple[Any, ...]] = {}  # the function that draws it, and its arguments
    if "beam" in paths:
        wanted["beam"] = ("beam_figure", paths["beam"])
    if "flat" in paths:
        wanted["noise"] = ("noise_figures", paths["flat"], numbers["expected_jy"])
    if coverage.is_file() and str(coverage.absolute()) not in earlier:
        wanted["uv"] = ("shrunk_picture", coverage)
    if predicted:
        points = [source for source in measured if source.get("peak_loss") is not None]
        wanted["smearing"] = ("smearing_figure", predicted, points)
    if measured:
        wanted["fluxes"] = ("flux_figure", measured)
        wanted["positions"] = ("position_figure", measured, numbers["beam_arcsec"])
    made = {name: _drawn(pieces, f"figure_{name}", *how) for name, how in wanted.items()}
    return {name: figure for name, figure in made.items() if figure}


def _drawn(pieces: Pieces, name: str, function: str, *arguments: Any) -> Any:
    """Return what a function of the module of figures draws, which is loaded only where it is needed."""

    def make() -> Any:
        made = getattr(import_module("lofarpipe.report.html.figures"), function)(*arguments)
        return dataclasses.asdict(made) if dataclasses.is_dataclass(made) else made  # type: ignore[arg-type]

    return pieces.get(name, {"of": [stamp_of(one) if isinstance(one, Path) else one for one in arguments]}, make)
