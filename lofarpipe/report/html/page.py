"""report.html: a job directory as one page that opens anywhere, without a network.

``python -m lofarpipe.report.html.page JOB_DIRECTORY`` writes it while a run goes on. It holds only facts of the job
directory: the journal, run.json, plan.json, quality.json, comparison.json, images, figures and logs, each as far
as it is there. The parts that are costly to make, pictures and figures, are kept until their source changes.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined, TemplateNotFound

import lofarpipe
from lofarpipe.errors import PipelineError
from lofarpipe.programs.base import BEAM, CORRECTED, FLAT, wholeness
from lofarpipe.report.html import tables as html_text
from lofarpipe.report.html.logs import displayable_text, shown_steps, slowest
from lofarpipe.report.html.timeline import timeline
from lofarpipe.report.images import MOST_PICTURES, card, images_by_step
from lofarpipe.state.events import JOURNAL, read_events
from lofarpipe.state.run_state import RunState
from lofarpipe.support.utilities import uncollected, write_atomically

VERSION = 2  # version of cached pieces; pieces of another version or release are made again
KEPT_IN = Path("jobs") / ".report"
FIGURES = ("beam", "noise", "uv", "smearing", "fluxes", "positions")
UV_PIXELS = 1000
CUBE_FILES = "*.cubes.json"  # one for each beam of an array feed whose cubes were made
OBSERVATION_FILES = "*.observation.json"  # one per calibrated session


class NotDrawnError(Exception):
    """No earlier page has a picture as it has to be now, and to draw it is too costly here."""


class NoPictureError(ValueError):
    """A file cannot be read, or has no image."""


class Pieces:
    """Makes pieces, or takes them as an earlier page of the same job directory had them.

    A piece that cannot be made is left out, and listed in ``problems``: the rest of the page is worth having.
    ``draws`` is whether costly ones, for which matplotlib is imported, may be made.
    """

    def __init__(self, job_directory: Path, draws: bool = True) -> None:
        self._place = job_directory / KEPT_IN
        self._draws = draws
        self.problems: list[str] = []

    def get(self, name: str, sources: Mapping[str, Any], make: Callable[[], Any], is_costly: bool = True) -> Any:
        """Return a piece, or None if it cannot be made; ``sources`` are all its inputs, files by `stamp_of`.

        Raises
        ------
        NotDrawnError
            If it has to be made, and is costly.
        """
        text = json.dumps([VERSION, lofarpipe.__version__, sources], sort_keys=True, default=str)
        mark = hashlib.sha256(text.encode()).hexdigest()
        piece_file = self._place / f"{name}.json"
        if (record := read_json(piece_file)).get("mark") == mark:
            return record.get("piece")
        if is_costly and not self._draws:
            raise NotDrawnError(name)
        try:
            piece = make()
        except (OSError, ValueError, PipelineError, MemoryError) as err:
            self.problems.append(f"{name}: {err}")
            return None
        self._cache_content(piece_file, {"mark": mark, "piece": piece})
        return piece

    def _cache_content(self, path: Path, content: Mapping[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(content))
        except OSError:  # a full disk or somebody else's directory: it is made again the next time
            return


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if it is missing, damaged, or of another type."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def stamp_of(path: Path) -> str:
    """Return a fingerprint of a file's content, "" for a missing file."""
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

    The measured images, or else the newest ones in the directories with WSClean's names: of the whole
    band if possible, else of parts of it, or of polarisations. None is among the
    files of ``earlier`` runs.
    """
    flat = _image_path(quality, "image") or _newest_image(directories, earlier)
    if flat is None:
        return {}
    root = str(flat).removesuffix(FLAT)
    corrected = _image_path(quality, "image_pb") or Path(root + CORRECTED)
    paths = {"flat": flat, "corrected": corrected, "beam": Path(root + BEAM)}
    return {
        name: path
        for name, path in paths.items()
        if path.is_file() and str(path) not in earlier and (name == "flat" or path != flat)
    }


def _image_path(quality: Mapping[str, Any], key: str) -> Path | None:
    name = quality.get(key)
    return Path(name) if isinstance(name, str) and Path(name).is_file() else None


def _newest_image(directories: Iterable[Path], earlier: Collection[str] = ()) -> Path | None:
    images = (path for place in directories for path in place.glob(f"*{FLAT}") if path.is_file())
    candidates = [path for path in images if str(path.absolute()) not in earlier]
    return max(candidates, key=lambda path: (wholeness(path), path.stat().st_mtime_ns), default=None)


def pictures(pieces: Pieces, paths: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the previews of the flat-noise and the corrected image, if they exist."""
    previews = {
        name: _drawn(pieces, f"picture_{name}", "figure_preview", paths[name])
        for name in ("flat", "corrected")
        if name in paths
    }
    return {name: picture for name, picture in previews.items() if picture}


def figures(
    pieces: Pieces,
    job_directory: Path,
    paths: Mapping[str, Path],
    numbers: Mapping[str, Any],
    earlier: Collection[str] = (),
) -> dict[str, Any]:
    """Return data URIs of the figures, except those in files of ``earlier`` runs.

    ``numbers`` has ``expected_jy`` (or None), ``predicted`` (distance, loss), ``measured`` (sources) and
    ``beam_arcsec``.
    """
    coverage = job_directory / "uv_coverage.png"
    measured, predicted = numbers["measured"], numbers["predicted"]
    calls: dict[str, tuple[Any, ...]] = {}  # the function that draws it, and its arguments
    if "beam" in paths:
        calls["beam"] = ("beam_figure", paths["beam"])
    if "flat" in paths:
        calls["noise"] = ("noise_figures", paths["flat"], numbers["expected_jy"])
    if coverage.is_file() and str(coverage.absolute()) not in earlier:
        calls["uv"] = (shrunk_picture, coverage)
    if predicted:
        points = [source for source in measured if source.get("peak_loss") is not None]
        calls["smearing"] = ("smearing_figure", predicted, points)
    if measured:
        calls["fluxes"] = ("flux_figure", measured)
        calls["positions"] = ("position_figure", measured, numbers["beam_arcsec"])
    drawings = {name: _drawn(pieces, f"figure_{name}", *how) for name, how in calls.items()}
    return {name: figure for name, figure in drawings.items() if figure}


def gallery(pieces: Pieces, state: RunState, is_shown: bool) -> list[dict[str, Any]]:
    """Return a card of each image; where there is a large picture, of steps alone that made several."""
    least = 2 if is_shown else 1
    pairs = [
        (image, job)
        for images in images_by_step(state)
        if len(images) >= least
        for image, job in images
        if image.is_file()
    ][:MOST_PICTURES]
    cards = [_drawn(pieces, f"card_{job.name.replace('/', '_')}", card, image, job.label) for image, job in pairs]
    return [one for one in cards if one]


def observations(pieces: Pieces, job_directory: Path, earlier: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the sessions of a run, except those of ``earlier`` runs."""
    files = [path for path in sorted(job_directory.glob(OBSERVATION_FILES)) if str(path.absolute()) not in earlier]
    if not files:
        return []
    from lofarpipe.report.html.observation import observation_section

    def picture_uri(path: Path) -> Any:
        mark = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        return _drawn(pieces, f"observation_{path.stem}_{mark}", shrunk_picture, path)

    return [one for path in files if (one := observation_section(read_json(path), picture_uri))]


def _drawn(pieces: Pieces, name: str, function: str | Callable[..., Any], *arguments: Any) -> Any:
    """Return the drawing by a named function of the module of figures, imported on demand."""

    def make() -> Any:
        figures = "lofarpipe.report.html.figures"
        draw: Any = function if callable(function) else getattr(import_module(figures), function)
        drawing = draw(*arguments)
        return dataclasses.asdict(drawing) if dataclasses.is_dataclass(drawing) else drawing  # type: ignore[arg-type]

    sources = {"of": [stamp_of(one) if isinstance(one, Path) else one for one in arguments]}
    return pieces.get(name, sources, make, is_costly=not callable(function))


def shrunk_picture(path: Path, side: int = UV_PIXELS) -> str:
    """Return a PNG as a data URI, made smaller where it is larger than ``side`` pixels, with 256 colours.

    Raises
    ------
    NoPictureError
        If it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as err:
        raise NoPictureError(f"{path}: cannot be read as a picture: {err}") from err
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return png_uri(picture.quantize(256))


def png_uri(picture: Any) -> str:
    """Return a Pillow image as a data URI."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=7)
    return data_uri(stream.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


TEMPLATES = Path(__file__).parent / "templates"


class CompiledTemplates(FileSystemBytecodeCache):
    """Cache compiled templates beside their sources, as Python does for modules, if writable."""

    def dump_bytecode(self, bucket: Any) -> None:
        """Write a compiled template, if possible; compiling costs 20 ms."""
        if not sys.dont_write_bytecode:
            with contextlib.suppress(OSError):
                Path(self.directory).mkdir(exist_ok=True)
                super().dump_bytecode(bucket)


def environment() -> Environment:
    """Return the templates: every value is escaped, and loses forbidden characters, unless it is a part of a page."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=CompiledTemplates(str(TEMPLATES / "__pycache__")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: displayable_text(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"moment": html_text.moment, "duration": html_text.duration, "csp_hash": _csp_hash}
    return templates


def _csp_hash(text: str) -> str:
    """Return the hash of a script or style for the page's content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def rendered(facts: Mapping[str, Any]) -> str:
    """Return the page that shows ``facts``.

    Raises
    ------
    PipelineError
        If a template, its style or its script is not installed.
    """
    templates, loader = environment(), FileSystemLoader(TEMPLATES)
    try:
        style, script = (loader.get_source(templates, name)[0] for name in ("style.css", "page.js"))
        return templates.get_template("page.html.j2").render(facts, style=style, script=script)
    except TemplateNotFound as err:
        raise PipelineError(
            f"{TEMPLATES / str(err.name)}: No such file or directory; install the pipeline again"
        ) from err


REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.json"


def write_page(
    job_directory: Path, state: RunState | None = None, record: Mapping[str, Any] | None = None, draws: bool = True
) -> Path:
    """Write report.html into a job directory; it appears under its name when it is complete. Return its path.

    ``state`` (of the journal) and ``record`` (content of run.json) are read if None.

    Raises
    ------
    PipelineError
        If the journal is missing, or the page cannot be written.
    NotDrawnError
        If a picture has to be drawn, and ``draws`` is False.
    """
    path = job_directory / REPORT_FILE
    try:
        # Bytes of file names that are not text become question marks.
        write_atomically(path, page(job_directory, state, record, draws), errors="replace")
    except OSError as err:
        raise PipelineError(f"{path}: the report cannot be written: {err.strerror}; check the directory") from err
    return path


def page(
    job_directory: Path, state: RunState | None = None, record: Mapping[str, Any] | None = None, draws: bool = True
) -> str:
    """Return the page of a job directory; journal and run.json are read unless their content is given.

    Raises
    ------
    PipelineError
        If the directory has no journal.
    NotDrawnError
        If a picture has to be drawn, and ``draws`` is False.
    """
    return rendered(facts(job_directory, state or read_page_state(job_directory), record, draws))


def facts(
    job_directory: Path, state: RunState, record: Mapping[str, Any] | None = None, draws: bool = True
) -> dict[str, Any]:
    """Return the content of the page, by the names in its templates."""
    earlier = state.earlier_files()
    plan, quality, comparison = (
        read_json(path) if str(path.absolute()) not in earlier else {}
        for path in (job_directory / name for name in ("plan.json", "quality.json", COMPARISON_FILE))
    )
    record = read_json(job_directory / "run.json") if record is None else record
    pieces = Pieces(job_directory, draws)
    measured = html_text.compared_sources(comparison)
    beam = html_text.fact_value(quality, "beam_major"), html_text.fact_value(quality, "beam_minor")
    numbers = {
        "expected_jy": html_text.fact_value(quality, "expected_thermal_noise"),
        "predicted": html_text.predicted_losses(plan),
        "measured": measured,
        "beam_arcsec": (beam[0] * beam[1]) ** 0.5 if beam[0] and beam[1] else None,
    }
    beams: Mapping[str, Any] = {}
    if cubes := sorted(job_directory.glob(CUBE_FILES)):
        from lofarpipe.report.html.mosaic import mosaic

        beams = mosaic(map(read_json, cubes), state)
    # The newest image of one beam does not represent all; the mosaic shows each.
    paths = {} if beams else image_paths(image_directories(job_directory, record), quality, earlier)
    drawings = {  # first of all: it may be that there is to be no page without them
        "pictures": pictures(pieces, paths),
        "figures": dict.fromkeys(FIGURES) | figures(pieces, job_directory, paths, numbers, earlier),
    }
    return drawings | {
        "gallery": [] if beams else gallery(pieces, state, bool(paths)),
        "mosaic": beams,
        "observations": observations(pieces, job_directory, earlier),
        "job_directory": str(job_directory.absolute()),
        "written": time.time(),
        "state": state,
        "timeline": timeline(state),
        "steps": shown_steps(state, job_directory),
        "slowest": slowest(state),
        "tiles": html_text.key_numbers(quality, comparison),
        "quality": html_text.quality_rows(quality),
        "plan": html_text.plan_tables(plan),
        "comparison": html_text.comparison_tables(comparison, quality),
        "record": html_text.record_tables(record, state.removed),
        "versions": html_text.versions(record, quality, state),
        "command": shlex.join(map(str, state.facts.get("argv") or ())),
        "problems": pieces.problems,
    }


def read_page_state(job_directory: Path) -> RunState:
    """Return the state from the journal of a job directory.

    Raises
    ------
    PipelineError
        If it is missing or unreadable.
    """
    path = job_directory / JOURNAL
    try:
        content = path.read_bytes()
    except OSError as err:
        raise PipelineError(f"{path}: {err.strerror}; name the directory of a run, which has a {JOURNAL}") from err
    events, _ = read_events(content)
    return RunState.from_events(events)


def main(arguments: Sequence[str]) -> int:
    """Write the page of a job directory; return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m lofarpipe.report.html.page JOB_DIRECTORY", file=sys.stderr)
        return 2
    try:
        with uncollected():
            print(write_page(Path(arguments[0])))
    except PipelineError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
