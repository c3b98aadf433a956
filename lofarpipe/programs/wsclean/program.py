"""WSClean, whichever is installed: arguments fitted to the build and to the machine, and the reading of its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.programs.base import Detector, Keywords, Limit, LineReader, Program, decimal_count
from lofarpipe.programs.wsclean.build import (
    BEAM_FLAGS,
    GRIDDER_FLAGS,
    WSCleanBuild,
    beam_flags,
    choose_gridder,
    describe_build,
    gridder_flags,
    requested_gridder,
    resolve_gridder,
    uses_idg,
)
from lofarpipe.programs.wsclean.checks import check_arguments, has_option
from lofarpipe.programs.wsclean.log import (
    MAX_PEAK_JY,
    MAX_RISE,
    MESSAGES,
    Deconvolution,
    find_refusal,
    is_divergence,
    progress_in,
)
from lofarpipe.programs.wsclean.options import (
    BOOLEANS,
    SPECTRAL_FITS,
    Options,
    added_flags,
    missing_files,
    option_words,
    polarization_names,
    remove_flags,
    settle_flags,
)
from lofarpipe.programs.wsclean.outputs import (
    blank_images,
    command_products,
    gpu_count,
    image_bytes,
    image_name_argument,
    input_sets,
    reordered_bytes,
    written_sets,
)
from lofarpipe.support.disk import Need

# With these it goes on with the model in the measurement set; else it writes the same again.
GOES_ON = ("-continue", "-subtract-model")
MEMORY_SHARE = 0.9  # fraction of the job's memory: -abs-mem is approximate, and does not count code and libraries
SMALLEST_MEMORY_GB = 0.1
WITH_BEAM = frozenset({*BEAM_FLAGS, "apply-primary-beam"})
TIME_OPTIONS = {"interval", "intervals-out", "even-timesteps", "odd-timesteps"}
OF_JOINED_CHANNELS = SPECTRAL_FITS | {"deconvolution-channels"}


def adapt(
    keywords: Mapping[str, str],
    positionals: Sequence[str],
    build: WSCleanBuild,
    cores: int,
    memory_gb: float | None,
    gpus: int = 0,  # noqa: ARG001 - only `check` looks for a device; the arguments do not depend on it
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return keywords and positionals as a build wants them for a job, and notices for the user.

    True flags become bare ones, False flags are dropped, and required options are added.
    ``gridder`` (or a flag such as ``-use-idg``) is resolved and spelled for the version; ``idg-mode`` stays only with
    IDG; IDG chosen by ``gridder`` corrects for the beam where EveryBeam is in, unless ``grid-with-beam`` is False.
    ``-j`` and ``-abs-mem`` follow from ``cores`` and ``memory_gb`` unless they, or ``-mem``, are given.
    """
    without_beam = BOOLEANS.get(keywords.get("grid-with-beam", "")) is False
    keywords, positionals = settle_flags(keywords, positionals, build.value_counts)
    options = option_words(keywords, positionals)
    obstacle, gridder, notices = (
        ("", *choose_gridder(options, build)) if without_beam else _choose_beam(options, positionals, build)
    )
    added, reasons = added_flags(options, build.version, with_idg=gridder == "idg")
    fitted = {key: value for key, value in keywords.items() if key not in {"gridder", *GRIDDER_FLAGS}}
    rest = remove_flags(positionals, ["gridder"], GRIDDER_FLAGS)
    if gridder != "idg":
        fitted.pop("idg-mode", None)
        rest = remove_flags(rest, ["idg-mode"], [])
    chosen, flags = gridder_flags(gridder, build)
    if obstacle:
        fitted = {key: value for key, value in fitted.items() if key not in WITH_BEAM}
        rest = remove_flags(rest, [], WITH_BEAM)
    elif gridder == "idg" and "gridder" in options and not without_beam:
        flags += beam_flags(positionals, keywords, build)
    fitted, rest, dropped = _drop_joining(fitted, rest)
    share = _share(options, cores, memory_gb)
    return {**fitted, **chosen, **share}, [*flags, *added, *rest], [*notices, *reasons, *dropped]


def _choose_beam(options: Options, positionals: Sequence[str], build: WSCleanBuild) -> tuple[str, str, list[str]]:
    """Return the reason that WSClean cannot make the requested beam, the gridder, and notices of both."""
    obstacle = _beam_obstacle(options, positionals, build)
    gridder, notices = choose_gridder(options, build, obstacle)
    if obstacle and not notices:
        notices = [f"the beam is made afterwards, not by WSClean: {obstacle}"]
    return obstacle, gridder, notices


def beam_notices(options: Options, sets: Sequence[str], executable: Path, column: str = "") -> list[str]:
    """Return a text about the beam of these sets, by a test whether EveryBeam knows their telescope.

    ``column`` is the column of visibilities, if not set in the options.
    """
    build = describe_build(executable)
    options = {**options, "data-column": [column]} if column else options
    obstacle, _, notices = _choose_beam(options, sets, build)
    return notices if obstacle else []


def _beam_obstacle(options: Options, positionals: Sequence[str], build: WSCleanBuild) -> str:
    """Return the reason that WSClean cannot make the requested beam; "" if it can, or none is requested."""
    idg = resolve_gridder(requested_gridder(options), build) == "idg" and build.has_idg
    asks_for_beam = {"apply-primary-beam", "grid-with-beam"} & set(options) or ("gridder" in options and idg)
    if not asks_for_beam or "aterm-config" in options:
        return ""
    from lofarpipe.programs.wsclean.build import beam_obstacle

    return beam_obstacle(build, input_sets(positionals), options)


def _drop_joining(
    keywords: Mapping[str, str], positionals: Sequence[str]
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return keywords, positionals and notices, without joining a single channel, which WSClean refuses."""
    if keywords.get("channels-out", "1") != "1" or "-join-channels" not in positionals:
        return dict(keywords), list(positionals), []
    notice = "there is one output channel, and none to join"
    remaining = {key: text for key, text in keywords.items() if key not in OF_JOINED_CHANNELS}
    return remaining, remove_flags(positionals, OF_JOINED_CHANNELS, ["join-channels"]), [notice]


def _share(options: Options, cores: int, memory_gb: float | None) -> dict[str, str]:
    """Return ``j`` and ``abs-mem``, GB, for the job's resources, as far as they are not set."""
    share = {} if "j" in options else {"j": str(cores)}
    if memory_gb is not None and not {"mem", "abs-mem", "absmem"} & set(options):
        share["abs-mem"] = f"{max(MEMORY_SHARE * memory_gb, SMALLEST_MEMORY_GB):.2f}"
    return share


class WSClean(Program):
    """WSClean: gridder and spelling by build, cores and memory by job."""

    name = "WSClean"
    home = "https://wsclean.readthedocs.io"
    executables = ("wsclean",)
    mpi_executable = "wsclean-mp"
    install = (
        "use our own imager (pip install 'genericpipeline[imager]', imager = own), or install WSClean: "
        "conda install -c conda-forge -c i4ds wsclean=3.4.0, the container of doc/install.md, or apt install wsclean"
    )
    task = {"executable": "wsclean", "args_format": "wsclean"}
    limits = {
        "max_rise": Limit(MAX_RISE, "factor by which WSClean's peak residual may rise before the job is ended; 0: any"),
        "wider_retry": Limit(0, "pixels by which WSClean's image grows for one more try after a divergence; 0: no try"),
        "max_peak_jy": Limit(MAX_PEAK_JY, "highest peak of WSClean's residual, Jy; 0: any"),
    }
    messages = MESSAGES
    output_key = "name"
    scratch_option = "temp-dir"
    is_run = True

    def version(self, executable: Path) -> str:
        """Return the output of ``--version``."""
        return ".".join(map(str, describe_build(executable).version))

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return all predictable refusals of this build."""
        return check_arguments(dict(keywords), list(flags), describe_build(executable), machine.gpus)

    def missing_files(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[tuple[str, str]]:
        """Return missing masks, solutions and the like."""
        return missing_files(option_words(keywords, flags), workdir)

    def accepts(self, executable: Path, name: str) -> bool:
        """Return whether this build has the option ``-name``."""
        return has_option(name, describe_build(executable))

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with the gridder chosen, ``-j`` and ``-abs-mem``."""
        build = describe_build(executable)
        return adapt(dict(keywords), list(flags), build, share.cores, share.memory_gb, share.gpus)

    def allotted(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with ``-j`` and ``-abs-mem``; True flags are bare ones."""
        valued, rest = settle_flags(keywords, flags, describe_build(executable).value_counts)
        options = option_words(keywords, flags)
        return {**valued, **_share(options, share.cores, share.memory_gb)}, rest, []

    def detector(self, limits: Mapping[str, float]) -> Detector:
        """Return a watch over the peaks of the residual image."""
        return Deconvolution(limits["max_rise"], limits["max_peak_jy"]).read

    def line_reader(self) -> LineReader:
        """Return a reader of major iterations and peaks."""
        return progress_in

    def retry_arguments(self, argv: Sequence[str], problem: str, limits: Mapping[str, float]) -> list[str] | None:
        """Return a wider image where the deconvolution diverged, as it does where a source outside folds into it."""
        more, place = int(limits["wider_retry"]), list(argv).index("-size") + 1 if "-size" in argv else 0
        if not more or not place or not is_divergence(problem):
            return None
        size = [str(int(side) + more) for side in argv[place : place + 2]]
        return [*argv[:place], *size, *argv[place + 2 :]]

    def subject(self, argv: Sequence[str]) -> str:
        """Return its Stokes parameters."""
        names = polarization_names(option_words({}, argv))
        return f"Stokes {''.join(names)}" if set(names) <= set("IQUV") else ",".join(names)

    def output_fault(self, paths: Iterable[Path]) -> str:
        """Return that all images are blank, if they are."""
        names = blank_images(paths)
        if not names:
            return ""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"every pixel of {min(names)}{more} is NaN; look at the weights and the visibilities, or lower mgain"

    def complaint(self, log_text: str) -> str | None:
        """Return the known reason of WSClean's failure."""
        return find_refusal(log_text)

    def requested_resources(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]
    ) -> tuple[int, int]:
        """Return the cores of ``-j``, and one graphics processor for IDG on a GPU."""
        options = option_words(keywords, flags)
        gpus = gpu_count(options)
        if gpus and not uses_idg(options, describe_build(executable)):
            gpus = 0
        return decimal_count("".join(options.get("j", ())[:1])), gpus

    def most_gpus(self, keywords: Mapping[str, str]) -> int:
        """Return 1 for IDG, assuming a build with it, else 0."""
        return gpu_count(option_words(keywords, []))

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        """Return the value of ``-name``."""
        return image_name_argument(argv, workdir)

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        """Return the images, and the source lists."""
        return [str(workdir / product.path) for product in command_products(argv)]

    def covers_all_times(self, argv: Sequence[str]) -> bool:
        """Return whether no option selects times, or shares them out."""
        return not TIME_OPTIONS & option_words({}, argv).keys()

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the measurement sets changed by a new model or weights."""
        return written_sets(keywords, flags, workdir)

    def harmed_inputs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the sets whose model is continued; otherwise a repetition writes the same model again."""
        return self.in_place(keywords, flags, workdir) if any(flag in flags for flag in GOES_ON) else []

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the space for images, and for the reordered visibilities."""
        options = option_words(keywords, flags)
        images = workdir / "".join(options.get("name", ["wsclean"])[:1])
        needs = [(images.parent, image_bytes(keywords, flags), "the images", False)]
        for scratch in options.get("temp-dir", ())[:1]:
            size = reordered_bytes(keywords, flags, workdir)
            needs.append((workdir / scratch, size, "the reordered visibilities", True))
        return [Need(place, size, content, given_back) for place, size, content, given_back in needs if size]

    def major_cycles(self, header: Mapping[str, object]) -> int | None:
        """Return the count in the header of residuals and images of channels."""
        count = header.get("WSCMAJOR")
        return int(count) if isinstance(count, int | float) and count >= 0 else None


PROGRAM = WSClean()
