"""The real program produces every known message, on small sets; the hint belongs to the message."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from beam_sky import environment, program
from lofarpipe.imaging.beam.station import BeamError, StationBeams
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.logs import (
    KNOWN_MESSAGES,
    add_advice,
    advice_for,
    explained,
    hint_for,
    last_error,
)
from lofarpipe.programs.wsclean.log import HEAP
from small_sets import SetShape, keep_rows, make_set

DP3_KNOWN, WSCLEAN_KNOWN = (KNOWN_MESSAGES + KNOWN_PROGRAMS[name].messages for name in ("dp3", "wsclean"))
EVERY_ENTRY = dict([*DP3_KNOWN, *WSCLEAN_KNOWN])
SHAPE = SetShape(nantennas=5, ntimes=4, nchan=4, extent_m=300.0)
LATER_S, NEXT_HZ = SHAPE.start_s + 20.0, 145e6
CLEAN = ["-niter", "20", "-mgain", "0.8", "-auto-mask", "5", "-auto-threshold", "3"]
IDG, DEBIAN = "idg", "debian"


def dp3_says(log: str) -> str:
    return explained("DP3", log, KNOWN_PROGRAMS["dp3"].messages)


def wsclean_says(log: str) -> str:
    return explained("WSClean", log, KNOWN_PROGRAMS["wsclean"].messages)


class Sets:
    """Small sets, made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def made(self, name: str, **options: object) -> str:
        """A set of zeros, unless it is there; options are those of SetShape."""
        path = self.folder / f"{name}.MS"
        return str(path) if path.exists() else make_set(path, replace(SHAPE, **options), with_data=True)

    def changed(self, name: str, change: Callable[[str], object], source: str = "") -> str:
        """A copy of a set, with a change."""
        path = self.folder / f"{name}.MS"
        if not path.exists():
            shutil.copytree(source or self.made("a"), path)
            change(str(path))
        return str(path)

    def selected(self, name: str, rows: Callable[[np.ndarray], np.ndarray]) -> str:
        """A copy of some rows."""
        path = self.folder / f"{name}.MS"
        if not path.exists():
            with ct.table(self.made("a"), ack=False) as main:
                main.selectrows(rows(np.arange(main.nrows()))).copy(str(path), deep=True).close()
        return str(path)

    @property
    def a(self) -> str:
        return self.made("a")

    @property
    def b(self) -> str:
        return self.made("b", first_channel_hz=NEXT_HZ)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return Sets(tmp_path_factory.mktemp("sets"))


def table(path: str) -> ct.table:
    return ct.table(path, readonly=False, ack=False)


def two_fields(path: str) -> None:
    """A second field, at which the last time slot looks."""
    with table(f"{path}/FIELD") as field:
        field.addrows(1)
        for name in set(field.colnames()) & {"PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR", "LOFAR_TILE_BEAM_DIR"}:
            field.putcell(name, 1, field.getcell(name, 0) + 0.1)
    with table(path) as main:
        numbers = main.getcol("FIELD_ID")
        numbers[-15:] = 1
        main.putcol("FIELD_ID", numbers)


def uneven_channels(path: str) -> None:
    with table(f"{path}/SPECTRAL_WINDOW") as window:
        frequencies = window.getcell("CHAN_FREQ", 0)
        window.putcell("CHAN_FREQ", 0, frequencies[[0, 2, 1, 3]])


def cut_short(path: str) -> None:
    largest = max(Path(path).glob("table.f*"), key=lambda file: file.stat().st_size)
    os.truncate(largest, 2000)


def without_rows(path: str) -> None:
    keep_rows(path, [])


def without_column(sets: Sets, name: str) -> str:
    path = sets.folder / f"without_{name}.MS"
    with ct.table(sets.a, ack=False) as main:
        main.select(",".join(column for column in main.colnames() if column != name)).copy(str(path), deep=True).close()
    return str(path)


def phased_up(path: str) -> None:
    with table(f"{path}/ANTENNA") as antennas:
        antennas.addrows(1)
        antennas.putcell("NAME", antennas.nrows() - 1, "ST001")


def no_such_beam_mode(path: str) -> None:
    with table(path) as main:
        main.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_MODE", "Half")


def no_tile_beam(path: str) -> None:
    with table(f"{path}/FIELD") as field:
        field.removecols(["LOFAR_TILE_BEAM_DIR"])


def run(argv: list[str], folder: Path, env: Mapping[str, str] | None = None, **options: object) -> tuple[int, str]:
    """Exit code and log, in a file as in a job; a variable that is empty is not set."""
    log = folder / "log"
    variables = {name: value for name, value in {**environment(), **(env or {})}.items() if value}
    with log.open("wb") as stream:
        done = subprocess.run(argv, stdout=stream, stderr=stream, cwd=folder, env=variables, check=False, **options)
    return done.returncode, log.read_text(errors="replace")


def limited(what: int, soft: int) -> Callable[[], None]:
    """A limit of the operating system, set in the child."""
    return lambda: resource.setrlimit(what, (soft, soft))


# ---- DP3

AVERAGE = ["steps=[avg]", "avg.type=averager"]
DP3_CASES: dict[str, tuple[str, Callable[[Sets], list[str]], dict[str, object]]] = {}


def dp3_case(name: str, advice: str, words: Callable[[Sets], list[str]], **options: object) -> None:
    """A call of DP3, and words of the hint on its message."""
    DP3_CASES[name] = (advice, words, options)


def sky_model(sets: Sets) -> Path:
    model = sets.folder / "sky.skymodel"
    model.write_text("FORMAT = Name, Type, Ra, Dec, I\ns, POINT, 00:00:00, 50.00.00, 1\n")
    return model


def joined(*paths: str) -> str:
    return f"msin=[{','.join(paths)}]"


dp3_case("no set", "correct the name", lambda s: ["msin=nosuch.MS", "steps=[]"])
dp3_case("no set of a pattern", "correct the name", lambda s: ["msin=nosuch*.MS", "steps=[]"])
dp3_case("no column", "correct data_column", lambda s: [f"msin={s.a}", "msin.datacolumn=CORRECTED_DATA", "steps=[]"])
dp3_case("later", "same time slots", lambda s: [joined(s.a, s.made("later", start_s=LATER_S)), "steps=[]"])
dp3_case("longer", "same time slots", lambda s: [joined(s.a, s.made("longer", ntimes=5)), "steps=[]"])
dp3_case("0.3 s", "same time slots", lambda s: [joined(s.a, s.made("s", start_s=SHAPE.start_s + 0.3)), "steps=[]"])
dp3_case(
    "gap",
    "fuse_average_concat",
    lambda s: [joined(s.selected("gap", lambda r: np.r_[r[:15], r[30:]]), s.b), "steps=[]"],
)
dp3_case(
    "row missing", "number of rows", lambda s: [f"msin={s.selected('row', lambda r: np.delete(r, 7))}", "steps=[]"]
)
dp3_case("rows twice", "repeated", lambda s: [f"msin={s.selected('twice', lambda r: np.repeat(r, 2))}", "steps=[]"])
dp3_case("backwards", "sort the set", lambda s: [f"msin={s.selected('back', lambda r: r[::-1])}", "steps=[]"])
dp3_case("baselines", "msin.baseline", lambda s: [joined(s.a, s.made("six", nantennas=6)), "steps=[]"])
dp3_case("too late", "msin.starttime", lambda s: [f"msin={s.a}", "msin.starttime=2090/01/01/00:00:00", "steps=[]"])
dp3_case("too early", "msin.endtime", lambda s: [f"msin={s.a}", "msin.endtime=1990/01/01/00:00:00", "steps=[]"])
dp3_case("channels", "correct the selection", lambda s: [f"msin={s.a}", "msin.startchan=9", "steps=[]"])
dp3_case("band", "correct the selection", lambda s: [f"msin={s.a}", "msin.band=3", "steps=[]"])
dp3_case("two correlations", "correlations", lambda s: [f"msin={s.made('two', correlations=(9, 12))}", "steps=[]"])
dp3_case("step", "type of the step", lambda s: [f"msin={s.a}", "steps=[avrage]"])
dp3_case("number", "correct that value", lambda s: [f"msin={s.a}", *AVERAGE, "avg.freqstep=two"])
dp3_case("unit", "correct that value", lambda s: [f"msin={s.a}", *AVERAGE, "avg.freqresolution=foo"])
dp3_case("no steps", "add it", lambda s: [f"msin={s.a}"])
dp3_case("uneven step", "divides", lambda s: [f"msin={s.a}", *AVERAGE, "avg.freqstep=3"])
dp3_case("output there", "msout.overwrite", lambda s: [f"msin={s.a}", f"msout={s.b}", "steps=[]"])
dp3_case("no directory", "directory above", lambda s: [f"msin={s.a}", "msout=/nosuch/a.MS", "steps=[]"])
dp3_case(
    "one slot", "databitrate", lambda s: [f"msin={s.made('o', ntimes=1)}", "steps=[]", "msout.storagemanager=dysco"]
)
dp3_case("manager", "storagemanager to dysco", lambda s: [f"msin={s.a}", "steps=[]", "msout.storagemanager=zip"])
dp3_case("two fields", "one field is needed", lambda s: [f"msin={s.changed('fields', two_fields)}", "steps=[]"])
dp3_case("FLAG_CATEGORY", "even if it is empty", lambda s: [f"msin={without_column(s, 'FLAG_CATEGORY')}", "steps=[]"])
dp3_case("FLAG", "copy the set again", lambda s: [f"msin={without_column(s, 'FLAG')}", "steps=[]"])
dp3_case("no rows", "the set is empty", lambda s: [f"msin={s.changed('none', without_rows)}", "steps=[]"])
dp3_case("cut short", "damaged", lambda s: [f"msin={s.changed('cut', cut_short)}", "steps=[]"])
dp3_case(
    "subtable",
    "subtable is missing",
    lambda s: [f"msin={s.changed('sub', lambda p: shutil.rmtree(p + '/FIELD'))}", "steps=[]"],
)
dp3_case("sky model", "sky model", lambda s: [f"msin={s.a}", "steps=[predict]", "predict.sourcedb=nosuch.skymodel"])
dp3_case(
    "solutions",
    "parmdb, h5parm",
    lambda s: [f"msin={s.a}", "steps=[applycal]", "applycal.parmdb=no.h5", "applycal.correction=phase000"],
)
dp3_case(
    "new solutions",
    "cannot be written",
    lambda s: [f"msin={s.a}", "steps=[ddecal]", f"ddecal.sourcedb={sky_model(s)}", "ddecal.h5parm=/nosuch/a.h5"],
)
dp3_case("telescope", "does not know it", lambda s: [f"msin={s.made('foo', telescope='FOO')}", "steps=[applybeam]"])
dp3_case("LOFAR tables", "makebeamtables", lambda s: [f"msin={s.a}", "steps=[applybeam]"])
dp3_case("MWA", "what EveryBeam needs", lambda s: [f"msin={s.made('mwa', telescope='MWA')}", "steps=[applybeam]"])
dp3_case("OpenBLAS", "set OPENBLAS_NUM_THREADS=1", lambda s: [f"msin={s.a}", "steps=[]"], OPENBLAS_NUM_THREADS="4")
dp3_case(
    "tables",
    "does not find its data tables",
    lambda s: [f"msin={s.a}", "steps=[]"],
    AIPSPATH="",
    CASACORE_DATADIR="",
    HOME="/nosuch",
)
dp3_case(
    "files",
    "ulimit -n",
    lambda s: [joined(*(s.made(f"m{n}", first_channel_hz=146e6 + n * 1e6) for n in range(4))), "steps=[]"],
    preexec_fn=limited(resource.RLIMIT_NOFILE, 60),
)
dp3_case("disk", "ulimit -f", lambda s: [f"msin={s.a}", "steps=[]"], preexec_fn=limited(resource.RLIMIT_FSIZE, 8192))
dp3_case(
    "disk of Dysco",
    "ulimit -f",
    lambda s: [f"msin={s.made('wide', nchan=2000)}", "steps=[]", "msout.storagemanager=dysco"],
    preexec_fn=limited(resource.RLIMIT_FSIZE, 204800),
)


def run_dp3(
    words: list[str], folder: Path, preexec_fn: Callable[[], None] | None = None, **env: str
) -> tuple[int, str]:
    output = [] if any(word.startswith("msout=") for word in words) else [f"msout={folder}/out.MS"]
    return run([program("DP3.py"), "numthreads=1", *words, *output], folder, env, preexec_fn=preexec_fn)


@pytest.mark.parametrize("name", DP3_CASES)
def test_dp3_errors_get_advice(sets: Sets, tmp_path: Path, name: str) -> None:
    advice, words, options = DP3_CASES[name]
    code, log = run_dp3(words(sets), tmp_path, **options)
    assert code != 0
    said = dp3_says(log)
    assert said.startswith("DP3 says: ")
    assert advice in advice_for(last_error(log), DP3_KNOWN), said
    SAID.append(last_error(log))


REAL_CASES = {
    "a phased-up station": (phased_up, "no beam model"),
    "a beam mode": (no_such_beam_mode, "LOFAR_APPLIED_BEAM_MODE"),
    "no tile beam": (no_tile_beam, "makebeamtables"),
}


@pytest.mark.parametrize("name", REAL_CASES)
def test_dp3_beam_errors_get_advice(sets: Sets, hba_set_generic: Path, tmp_path: Path, name: str) -> None:
    change, advice = REAL_CASES[name]
    path = sets.changed(change.__name__, change, str(hba_set_generic))
    code, log = run_dp3([f"msin={path}", "steps=[applybeam]"], tmp_path)
    assert code != 0
    assert advice in dp3_says(log)
    SAID.append(last_error(log))


def test_dp3_without_coefficients_gets_advice(hba_set_generic: Path, tmp_path: Path) -> None:
    words = [f"msin={hba_set_generic}", "steps=[applybeam]"]
    code, log = run_dp3(words, tmp_path, EVERYBEAM_DATADIR="/nosuch")
    assert code != 0
    assert "HamakerHBACoeff.h5; EveryBeam does not find its coefficients" in dp3_says(log)


def test_dp3_without_patch_gets_advice(sets: Sets, tmp_path: Path) -> None:
    words = [f"msin={sets.a}", "steps=[predict]", f"predict.sourcedb={sky_model(sets)}", "predict.sources=[nosuch]"]
    code, log = run_dp3(words, tmp_path)
    assert code != 0
    assert "no patch of this name" in dp3_says(log)
    SAID.append(last_error(log))


def test_dp3_without_memory_gets_advice(sets: Sets, tmp_path: Path) -> None:
    """The limit is on address space; DP3 takes 0.3 GB of it at its start."""
    wide = sets.made("wide", nchan=2000)
    memory = limited(resource.RLIMIT_AS, 350_000 * 1024)
    code, log = run_dp3([f"msin={wide}", "steps=[]"], tmp_path, preexec_fn=memory)
    assert code == -6
    assert dp3_says(log) == "DP3 says: std::bad_alloc; " + advice_for("std::bad_alloc", DP3_KNOWN)


def test_advised_remedies_work(sets: Sets, tmp_path: Path) -> None:
    """A single time slot without Dysco's columns; the baselines that both sets have; a gap that is filled."""
    slot = [f"msin={sets.made('o', ntimes=1)}", "steps=[]", "msout.storagemanager=dysco"]
    slot += ["msout.storagemanager.databitrate=0", "msout.storagemanager.weightbitrate=0"]
    both = [joined(sets.a, sets.made("six", nantennas=6, first_channel_hz=NEXT_HZ)), "steps=[]"]
    gap = [f"msin={sets.selected('gap', lambda r: np.r_[r[:15], r[30:]])}", "steps=[]"]
    for number, words in enumerate((slot, [*both, "msin.baseline=CS00[0-4]*&"], gap)):
        code, log = run_dp3([*words, f"msout={tmp_path}/{number}.MS"], tmp_path)
        assert code == 0, log


# ---- WSClean

WSCLEAN_CASES: dict[str, tuple[str, str, Callable[[Sets], list[str]], dict[str, object]]] = {}


def wsclean_case(
    name: str, advice: str, words: Callable[[Sets], list[str]], build: str = DEBIAN, **options: object
) -> None:
    """A call of WSClean, and words of the hint on its message."""
    WSCLEAN_CASES[name] = (advice, build, words, options)


def blank_mask(sets: Sets) -> str:
    from astropy.io import fits

    path = sets.folder / "mask.fits"
    fits.writeto(path, np.ones((1, 1, 32, 32), np.float32), overwrite=True)
    return str(path)


wsclean_case("no IDG", "set gridder = wgridder", lambda s: ["-use-idg", s.a])
wsclean_case("hybrid", "idg_mode = cpu", lambda s: ["-use-idg", "-idg-mode", "hybrid", s.a], IDG)
wsclean_case("gpu", "idg_mode = cpu", lambda s: ["-use-idg", "-idg-mode", "gpu", s.a], IDG)
wsclean_case("rectangle", "axis_stretch", lambda s: ["-use-idg", "-size", "64", "48", s.a], IDG)
IDG_BEAM = ["-use-idg", "-grid-with-beam"]
wsclean_case("IDG telescope", "does not know it", lambda s: [*IDG_BEAM, s.made("foo", telescope="FOO")], IDG)
wsclean_case("WSRT", "does not know it", lambda s: [*IDG_BEAM, s.made("wsrt", telescope="WSRT")], IDG)
wsclean_case("IDG tables", "makebeamtables", lambda s: [*IDG_BEAM, s.a], IDG)
wsclean_case("beam of a telescope", "does not know it", lambda s: ["-apply-primary-beam", s.made("foo")], IDG)
wsclean_case("no EveryBeam", "make_primary_beam", lambda s: ["-apply-primary-beam", s.a])
wsclean_case("scratch", "local_scratch_dir", lambda s: ["-reorder", "-temp-dir", "/nosuch", s.a])
wsclean_case("no set", "correct the name", lambda s: ["/nosuch.MS"])
wsclean_case("no table", "correct the name", lambda s: [str(s.folder)])
wsclean_case("value of a flag", "takes no value", lambda s: ["-multiscale", "True", *CLEAN, s.a])
wsclean_case("column", "correct data_column", lambda s: ["-data-column", "CORRECTED_DATA", s.a])
wsclean_case("option", "no such option", lambda s: ["-colour", s.a])
wsclean_case("channels", "channels-out smaller", lambda s: ["-channels-out", "10", s.a])
wsclean_case("frequencies", "rise or fall", lambda s: [s.changed("uneven", uneven_channels)])
wsclean_case("no directory", "directory of the image", lambda s: ["-name", "/nosuch/x", s.a])
wsclean_case("mask", "size and pixels", lambda s: ["-fits-mask", blank_mask(s), *CLEAN, s.a])
wsclean_case("no mask", "name of that file", lambda s: ["-fits-mask", "nosuch.fits", *CLEAN, s.a])
wsclean_case("Stokes", "request another", lambda s: ["-pol", "I", s.made("one", correlations=(9,))])
wsclean_case("joined", "request several", lambda s: ["-join-polarizations", *CLEAN, s.a])
wsclean_case("field", "option names one it lacks", lambda s: ["-field", "3", s.a])
wsclean_case("no rows", "the set is empty", lambda s: [s.changed("none", without_rows)])
wsclean_case("cut short", "damaged", lambda s: [s.changed("cut", cut_short)])
wsclean_case("windows", "correct -spws", lambda s: ["-spws", "3", s.a])
wsclean_case("facets", "name of that file", lambda s: ["-facet-regions", "nosuch.reg", s.a])
wsclean_case("aterms", "name of that file", lambda s: ["-use-idg", "-aterm-config", "nosuch.txt", s.a], IDG)
wsclean_case("channel range", "choose within", lambda s: ["-channel-range", "7", "9", s.a])
wsclean_case("intervals", "choose within", lambda s: ["-intervals-out", "10", s.a])
wsclean_case("weighting", "wsclean --help", lambda s: ["-weight", "bright", s.a])
wsclean_case("background", "wsclean --help", lambda s: ["-rms-background-method", "some", s.a])
wsclean_case("size", "width and a height", lambda s: ["-size", "0", "0", s.a])
wsclean_case("OpenBLAS", "set OPENBLAS_NUM_THREADS=1", lambda s: [s.a], OPENBLAS_NUM_THREADS="4")
wsclean_case("HOME", "set HOME", lambda s: [s.a], HOME="")
wsclean_case("files", "ulimit -n", lambda s: [s.a], preexec_fn=limited(resource.RLIMIT_NOFILE, 20))
wsclean_case(
    "memory",
    "ran out of memory",
    lambda s: ["-size", "9000", "9000", s.a],
    preexec_fn=limited(resource.RLIMIT_AS, 400_000 * 1024),
)


def run_wsclean(
    executable: str, words: list[str], folder: Path, preexec_fn: Callable[[], None] | None = None, **env: str
) -> tuple[int, str]:
    argv = [executable, "-j", "1", "-no-update-model-required", "-name", str(folder / "x")]
    return run([*argv, "-size", "64", "64", "-scale", "0.05", *words], folder, env, preexec_fn=preexec_fn)


@pytest.mark.parametrize("name", WSCLEAN_CASES)
def test_wsclean_errors_get_advice(sets: Sets, tmp_path: Path, name: str, request: pytest.FixtureRequest) -> None:
    advice, build, words, options = WSCLEAN_CASES[name]
    executable = program("wsclean")
    if build == IDG:
        executable = str(request.getfixturevalue("wsclean_with_idg") / "wsclean")
    code, log = run_wsclean(executable, words(sets), tmp_path, **options)
    assert code != 0
    assert advice in advice_for(last_error(log), WSCLEAN_KNOWN), log
    SAID.append(last_error(log))


def test_multiscale_with_local_rms_gets_advice(sets: Sets, tmp_path: Path) -> None:
    """Where WSClean is one that aborts: 3.1 of Debian does."""

    def one_source(path: str) -> None:
        with table(path) as main:
            random = np.random.default_rng(1).normal(size=main.getcol("DATA").shape)
            main.putcol("DATA", (5 + random).astype(np.complex64))

    cleaning = ["-niter", "200", *CLEAN[2:], "-multiscale", "-local-rms"]
    larger = sets.made("larger", nantennas=8, ntimes=6, extent_m=400.0)
    words = [*cleaning, "-size", "256", "256", sets.changed("source", one_source, larger)]
    code, log = run_wsclean(program("wsclean"), words, tmp_path)
    if code == 0:
        pytest.skip("this WSClean does not abort")
    assert code < 0
    if last_error(log):  # else it was a segmentation fault
        assert "-no-multiscale-fast-subminor" in wsclean_says(log)


@pytest.mark.parametrize("text", ["munmap_chunk(): invalid pointer", "corrupted size vs. prev_size"])
def test_recorded_abort_texts_get_advice(text: str) -> None:
    """Which of them it is was left to chance, in 12 aborts of WSClean 3.1."""
    assert "-no-multiscale-fast-subminor" in wsclean_says(f"Writing dirty image...\n{text}\n")


def test_full_disk_of_wsclean_gets_advice(sets: Sets, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    try:
        code, log = run_wsclean(program("wsclean"), ["-size", "256", "256", "-name", f"{disk}/x", sets.a], tmp_path)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert code != 0
    assert "the disk is full" in wsclean_says(log)


# ---- EveryBeam and casacore in our own scripts


def test_two_fields_are_not_blamed_on_coefficients(sets: Sets, hba_set_generic: Path) -> None:
    path = sets.changed("beam_fields", two_fields, str(hba_set_generic))
    with pytest.raises(BeamError) as caught:
        StationBeams(path)
    assert "LOFAR MeasurementSet has multiple fields; one field is needed" in str(caught.value)
    assert "EVERYBEAM_DATADIR" not in str(caught.value)


def test_unknown_telescope_of_everybeam_gets_advice(sets: Sets) -> None:
    with pytest.raises(BeamError, match="EveryBeam does not know it; image without it"):
        StationBeams(sets.made("foo", telescope="FOO"))


def test_phased_up_station_has_no_beam(sets: Sets, hba_set_generic: Path) -> None:
    with pytest.raises(BeamError, match="phased up: filter it out"):
        StationBeams(sets.changed("phased_up", phased_up, str(hba_set_generic)))


def test_missing_coefficients_get_advice(hba_set_generic: Path, tmp_path: Path) -> None:
    """In a process of its own, for EveryBeam reads them once."""
    script = "import sys; from lofarpipe.imaging.beam.station import StationBeams as B; B(sys.argv[1])"
    code, log = run([sys.executable, "-c", script, str(hba_set_generic)], tmp_path, {"EVERYBEAM_DATADIR": "/nosuch"})
    assert code == 1
    assert "set EVERYBEAM_DATADIR to the directory" in log.splitlines()[-1]


def test_open_file_limit_is_not_blamed_on_damage(sets: Sets) -> None:
    path, limits, opened_here = sets.a, resource.getrlimit(resource.RLIMIT_NOFILE), []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
        with suppress(OSError):
            while True:
                opened_here.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(MeasurementSetError) as caught, opened(path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in opened_here:
            os.close(descriptor)
    assert "Too many open files; give the job fewer sets" in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, who may not read")
def test_missing_permission_is_not_blamed_on_damage(sets: Sets, tmp_path: Path) -> None:
    path = Path(sets.changed("secret", lambda path: Path(path, "table.dat").chmod(0)))
    for folder in (path, *path.parents[:-2]):
        folder.chmod(0o755)
    executable = program("wsclean")
    command = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        executable,
        "-size",
        "64",
        "64",
        "-scale",
        "0.05",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment(), check=False)
    assert "Permission denied; ask its owner" in wsclean_says(done.stdout + done.stderr)


# ---- which message it is


def test_last_error_counts() -> None:
    log = "RuntimeError: Too many open files\nit went on\nValueError: No such MS: a.MS\n1 s\n### RuntimeError: x\n"
    assert last_error(log) == "No such MS: a.MS"
    assert "correct the name" in dp3_says(log)


def test_plain_text_gives_no_hint() -> None:
    assert explained("DP3", "reading Too many open files.MS\nbad_alloc.fits written\n") == ""


def test_unknown_message_has_no_hint() -> None:
    assert explained("DP3", "RuntimeError: the moon is full\n") == "DP3 says: the moon is full"
    assert add_advice("the moon is full") == "the moon is full"


def test_separate_cause_lines_are_joined() -> None:
    log = "+ >>> early\nmore\n+ An exception occured:\n+ >>> first\n+ >>> \tsecond\n+ + +\n"
    assert last_error(log) == "first second"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("/a/x.py:3: RuntimeError: Table b.MS does not exist", "Table b.MS does not exist; correct the name"),
        ("RuntimeError: Table b.MS does not exist", "Table b.MS does not exist; correct the name"),
        ("  what():  std::bad_alloc", "std::bad_alloc; it ran out of memory"),
        ("/a/x.py:3: ValueError: nothing known", ""),
        ("b.MS: No such MS: it is gone; look for it", ""),
        ("Too many open files", ""),
    ],
)
def test_scripts_get_library_hint(line: str, hint: str) -> None:
    assert hint_for(["before", line]).startswith(hint)
    assert bool(hint_for(["before", line])) == bool(hint)
    assert hint_for([]) == ""


SAID: list[str] = []


def test_every_known_error_was_produced(request: pytest.FixtureRequest) -> None:
    """By the tests above, where all of them ran; alternatives within an entry are one message in other words."""
    if len(SAID) < len(DP3_CASES) + len(WSCLEAN_CASES) + len(REAL_CASES):
        pytest.skip("not all programs are here, or not all tests ran")
    first = {next(pattern for pattern in EVERY_ENTRY if re.search(pattern, text)) for text in SAID}
    silent = set(EVERY_ENTRY) - first
    assert silent == SAID_ELSEWHERE


# Said by tests above that have no case in the tables.
SAID_ELSEWHERE = {HEAP, r"Permission denied", r"Coeff[^ ]*\.h5|Caught an unknown exception"}
