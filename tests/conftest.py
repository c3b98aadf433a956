"""Fixtures of general use: measurement sets, real ones from ../shared/data beside the repository, or simulated ones.

The environment variable LOFARPIPE_TEST_SETS names another folder of real sets; an empty one leaves the simulated.
"""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_cluster import slurm, slurm_cluster  # noqa: F401 - fixtures
from ssh_server import ssh_config  # noqa: F401 - a fixture

REPOSITORY = Path(__file__).resolve().parents[1]
OF_IMAGES = ("chaos", "imaging", "pipelines", "scripts")  # folders
SHARED_DATA = Path(os.environ.get("LOFARPIPE_TEST_SETS", REPOSITORY.parent / "shared" / "data"))
IDG_BUILD = Path("/opt/wscidg")  # the path is compiled in
IDG_ARCHIVE = REPOSITORY.parent / "shared" / "wsclean_idg" / "wscidg.tar.xz"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Put every test into one of two halves that take about as long: `make test` runs them side by side.

    Session fixtures, such as a simulated field or a Slurm, are used in one of them only.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Halves(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "images" if Path(nodeid).parts[1] in OF_IMAGES else "engine"

    return Halves(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the number of skipped tests and the reasons in the last line."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ()))
    each = "; ".join(f"{count} because {reason}" for reason, count in reasons.most_common())
    reporter.write_line(f"{reasons.total()} tests were skipped" + (f": {each}" if each else ""))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep facts about test sets out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that unpacks a shared archive once, and gives the measurement set in it; skips if absent."""
    unpacked: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        archive = SHARED_DATA / name
        if not archive.is_file():
            pytest.skip(f"{archive} is not there; this test needs real data")
        if name not in unpacked:
            folder = tmp_path_factory.mktemp("real_data")
            with tarfile.open(archive) as members:
                if hasattr(tarfile, "data_filter"):
                    members.extractall(folder, filter="data")
                else:  # as in Python 3.11.2, which Debian 12 has
                    members.extractall(folder)  # noqa: S202
            (unpacked[name],) = folder.iterdir()
            _forget_missing_subtables(unpacked[name])
        return unpacked[name]

    return unpack


def _forget_missing_subtables(path: Path) -> None:
    """Remove the keywords of subtables that were left out of the archives: DP3 cannot copy a set that has them."""
    from casacore.tables import table

    from lofarpipe.imaging.ms.measurement_set import dangling_subtables

    with table(str(path), readonly=False, ack=False) as main_table:
        for keyword in dangling_subtables(str(path)):
            main_table.removekeyword(keyword)


@pytest.fixture(scope="session")
def hba_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set that the simulator makes in the likeness of the real one; skips where DP3 is not installed."""
    from twin_sets import make_hba_twin

    return make_hba_twin(tmp_path_factory.mktemp("twins") / "tDDECal.MS")


@pytest.fixture(scope="session")
def hba_set(request: pytest.FixtureRequest) -> Path:
    """A LOFAR HBA measurement set (one subband), simulated where the real one is not there.

    Shared by the session, as the other two: copy it before changing it.
    """
    return _real_or_twin(request, "tDDECal.in_MS.tgz", lambda: request.getfixturevalue("hba_twin"))


@pytest.fixture(scope="session")
def hba_set_generic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another LOFAR HBA measurement set, whose DATA was never calibrated, beside CORRECTED_DATA."""
    from twin_sets import make_generic_twin

    path = tmp_path_factory.mktemp("twins") / "tNDPPP-generic.MS"
    return _real_or_twin(
        request, "tNDPPP-generic.MS.tgz", lambda: make_generic_twin(request.getfixturevalue("hba_twin"), path)
    )


@pytest.fixture(scope="session")
def dish_set(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dish array, without LOFAR beam tables, flagged entirely."""
    from twin_sets import make_dish_twin

    path = tmp_path_factory.mktemp("twins") / "tDish.MS"
    return _real_or_twin(request, "tDish.MS.tgz", lambda: make_dish_twin(path))


def _real_or_twin(request: pytest.FixtureRequest, archive: str, make_twin: Callable[[], Path]) -> Path:
    """Return the real set in an archive of ../shared/data, or its simulated twin where that is not there."""
    if not (SHARED_DATA / archive).is_file():
        return make_twin()
    path: Path = request.getfixturevalue("shared_set")(archive)
    return path


@pytest.fixture(scope="session")
def small_image(tmp_path_factory: pytest.TempPathFactory, hba_set: Path) -> Path:
    """The job directory of a small image of real data. Shared by the session: do not change it.

    Skips where DP3 or WSClean is not installed.
    """
    from lofarpipe.errors import PipelineError
    from lofarpipe.programs.find import find

    for name in ("wsclean", "DP3"):
        try:
            find(name)
        except PipelineError as err:
            pytest.skip(str(err))
    here = tmp_path_factory.mktemp("small_image")
    options = [f"data_input_filenames=[{hba_set}]", "cellsize_highres_deg=0.02", "niter=50", "maxlambda_highres=3000"]
    command = [sys.executable, "-m", "lofarpipe.cli", "image.parset", *(f"--set={option}" for option in options)]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return here / "image"


@pytest.fixture(scope="session")
def wsclean_with_idg() -> Path:
    """The directory of a WSClean 3.1 built with IDG and EveryBeam, to put first on PATH; skips where there is none."""
    program = IDG_BUILD / "bin" / "wsclean"
    if not program.exists():
        if not IDG_ARCHIVE.is_file() or not os.access(IDG_BUILD.parent, os.W_OK):
            pytest.skip(f"{program} is not there, and {IDG_ARCHIVE} cannot be unpacked to {IDG_BUILD.parent}")
        subprocess.run(["tar", "-C", str(IDG_BUILD.parent), "-xf", str(IDG_ARCHIVE)], check=True)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if "IDG is available" not in version.stdout:
        pytest.skip(f"{program} does not run here: {(version.stdout + version.stderr).strip()[-200:]}")
    return program.parent


@pytest.fixture(scope="session", autouse=True)
def _tables_of_packages() -> None:
    """casacore looks for its tables once in a process: not in a test whose directory goes."""
    from casacore.measures import measures

    from lofarpipe.support.data_directories import set_data_directories

    set_data_directories()
    tools = measures()
    tools.measure(tools.epoch("UTC", "2020/01/01"), "UT1")


@pytest.fixture(autouse=True)
def _tables_as_before(_tables_of_packages: None) -> Iterator[None]:
    """A command that runs in the process of the tests names tables in its job directory, which goes."""
    before = {name: os.environ.get(name) for name in ("AIPSPATH", "CASACORE_DATADIR", "EVERYBEAM_DATADIR")}
    yield
    os.environ.update({name: value for name, value in before.items() if value is not None})


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_a_terminal() -> None:
    """A shell starts background jobs with some signals ignored, and every process of the tests would inherit that."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread_per_job() -> None:
    """DP3 and WSClean refuse to start with a multi-threaded OpenBLAS."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def wsclean() -> Path:
    """The program that is installed; its tests are skipped where there is none."""
    found = shutil.which("wsclean")
    if not found:
        pytest.skip("wsclean is not installed")
    return Path(found)
