"""Early check of an ATA pipeline: its sessions, fields, tunings and options."""

from importlib.util import find_spec
from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.ata.calibrators import polarisation_of
from lofarpipe.imaging.ata.session import (
    AUTO,
    SessionError,
    SessionOptions,
    elevation_findings,
    find_sessions,
    read_session,
)
from lofarpipe.imaging.calibration.flux_scale import primary_calibrator
from lofarpipe.programs.breizorro import find_breizorro
from lofarpipe.programs.casa import find_casa
from lofarpipe.programs.dp3 import find_strategy
from lofarpipe.support.parset import split_list


def check(options, site):
    """Return one line per problem found before the first job; warnings are marked.

    Parameters
    ----------
    options : mapping
        The user options of the pipeline as text.
    site : mapping
        Properties of the site.
    """
    if not options.get("project"):
        return ["project: is empty; name the directory that holds the sessions, with -s project=/data/ata"]
    findings = _refusals([lambda: find_strategy(options["strategy"]), lambda: _polarisation(options)])
    if options.get("backend") == "casa":
        findings += _refusals([lambda: find_casa(options.get("casa_python", ""))])
    if options.get("masks") == "breizorro":
        findings += _refusals([find_breizorro])
    if options.get("source_finder") == "pybdsf" and find_spec("bdsf") is None:
        findings.append(
            "source_finder: PyBDSF is not installed; pip install 'genericpipeline[ata]', or set it to islands"
        )
    if options["fluxcal"] != AUTO:
        findings += _refusals([lambda: primary_calibrator(options["fluxcal"])])
    letters = tuple(name.lower() for name in split_list(options["tunings"]))
    if wrong := [name for name in letters if name not in ("a", "b", "c", "d")]:
        return [
            *findings,
            f"tunings: is {options['tunings']}; letters from a to d are needed, and {wrong[0]!r} is none",
        ]
    try:
        directories = find_sessions(options["project"], split_list(options["runs"]))
    except PipelineError as err:
        return [*findings, str(err)]
    chosen = SessionOptions(
        options["fluxcal"],
        options["phasecal"],
        tuple(split_list(options["target"])),
        tuple(split_list(options["fluxcal_scans"])),
        letters,
    )
    for directory in directories:
        findings += _session_findings(directory, chosen, options)
    return findings


def _refusals(calls):
    """Return the errors of calls."""
    findings = []
    for call in calls:
        try:
            call()
        except PipelineError as err:
            findings.append(str(err))
    return findings


def _polarisation(options):
    return polarisation_of(options["fluxcal_polarisation"])


def _session_findings(directory, chosen, options):
    try:
        session = read_session(directory, Path(options["outdir"]), chosen)
    except SessionError as err:
        return [str(err)]
    below, low = elevation_findings(session.scans)
    antennas = {name for scan in session.scans for name in scan.antennas}
    reference, others = options["reference_antenna"], split_list(options["reference_antennas"])
    warnings = [*session.problems, *low]
    if reference != AUTO and reference not in antennas:
        instead = next((name for name in others if name in antennas), "the most central one with the most data")
        warnings.append(
            f"reference_antenna: {reference} is not in session {session.name}, which has "
            f"{', '.join(sorted(antennas))}; "
            f"{instead} takes its place"
        )
    return [*below, *(f"{WARNING}{line}" for line in warnings)]
