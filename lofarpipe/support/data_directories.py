"""The directories of the tables of EveryBeam and casacore, and the handling of old tables.

casacore complains of a table of leap seconds that is older than half a year, on every use, in three lines and whether
or not there was a leap second since; a package that pip installed becomes as old as that.
"""

from __future__ import annotations

import atexit
import datetime
import functools
import importlib.util
import os
import pwd
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

AIPSPATH, CASACORE, EVERYBEAM = "AIPSPATH", "CASACORE_DATADIR", "EVERYBEAM_DATADIR"
GEODETIC, LEAP_SECONDS = "geodetic", "TAI_UTC"
TIMELY = (LEAP_SECONDS, "IERSeop97", "IERSeop2000", "IERSpredict", "IERSpredict2000")
STALE_DAYS = 150  # of a run; casacore complains after 180. Source: MeasTable::dUTC of casacore 3.7
REMADE_DAYS = 30  # with STALE_DAYS less than casacore's 180
#: Table directories of Debian's casacore-data, casacore itself and casaconfig, which are updated.
ELSEWHERE = ("/var/lib/casacore/data", "/usr/share/casacore/data", "/usr/local/share/casacore/data", "~/.casa/data")
MARK = "made-by-genericpipeline"  # a marker file in directories made by this module
DATE = re.compile(rb"\d{4}/\d\d/\d\d/\d\d:\d\d")  # of VS_DATE, and VS_CREATE before it, in table.dat
REMEDY = "pip install --upgrade python-casacore astropy-iers-data"
MJD_0 = datetime.date(1858, 11, 17)

_set_here: dict[str, str] = {}  # variables set by this module in this process


def set_data_directories(directory: Path | None = None) -> None:
    """Set the variables for casacore's tables and HOME, for this process and its jobs.

    casacore sets the same variables where AIPSPATH is not set when it is imported, also over the user's values.
    Variables set by the user are kept.

    Parameters
    ----------
    directory: directory for newer tables if the packages' are old; None: one in the user's cache.
    """
    os.environ["HOME"] = home_directory()
    directories = data_directories()
    user_values = {name: value for name in directories if (value := os.environ.get(name)) and not _is_ours(name, value)}
    if not {AIPSPATH, CASACORE} & set(user_values) and _is_stale(directories.get(CASACORE)):
        with suppress(OSError):  # then casacore complains
            directories = {**directories, CASACORE: str(_renewed(Path(directories[CASACORE]), directory))}
    _set_here.update(directories)
    os.environ.update({**directories, **user_values})


def home_directory() -> str:
    """Return HOME, else the home in the user database, else /; casacore, DP3 and WSClean need one."""
    try:
        return os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container's user need not be in the list
        return "/"


def _is_ours(name: str, value: str) -> bool:
    """Whether a variable was set here, or by the import of casacore, and not by the user."""
    return value in (data_directories()[name], _set_here.get(name)) or Path(value, MARK).exists()


@functools.cache
def data_directories() -> Mapping[str, str]:
    """Return the variables for the tables of EveryBeam and casacore, if installed by pip.

    Nothing is imported. AIPSPATH is where the package has an .aipsrc that refers to CASACORE_DATADIR.
    """
    directories = {}
    coefficients = Path(sys.prefix) / "share" / "everybeam"
    if coefficients.is_dir():
        directories[EVERYBEAM] = str(coefficients)
    package = importlib.util.find_spec("casacore")
    for place in package.submodule_search_locations or () if package else ():
        if Path(place, ".aipsrc").is_file() and Path(place, "data").is_dir():
            directories |= {AIPSPATH: place, CASACORE: str(Path(place, "data"))}
    return directories


def missing_directories() -> dict[str, str]:
    """Return the variables, with values, that name a missing table directory."""
    variables = ((name, os.environ.get(name, "")) for name in (AIPSPATH, CASACORE, EVERYBEAM))
    return {name: value for name, value in variables if value and not Path(value.split()[0]).is_dir()}


def leap_second_warning() -> str:
    """Return a notice about outdated leap seconds; "" if none is known to be missing."""
    try:
        return Path(os.environ.get(CASACORE, ""), MARK).read_text(encoding="utf-8")
    except OSError:
        return ""


def table_date(table: Path) -> datetime.date:
    """Return the date of a casacore table; the earliest date for a missing one."""
    try:
        dates = DATE.findall((table / "table.dat").read_bytes())
        return max(datetime.datetime.strptime(text.decode()[:10], "%Y/%m/%d").date() for text in dates)
    except (OSError, ValueError):
        return datetime.date.min


def _is_stale(data: str | None) -> bool:
    """Whether casacore would complain of the table of leap seconds in a directory, now or in the course of a run."""
    table = Path(data or "", GEODETIC, LEAP_SECONDS)
    return bool(data) and table.is_dir() and _today() - table_date(table) > datetime.timedelta(STALE_DAYS)


def _renewed(data: Path, directory: Path | None) -> Path:
    """Return a directory with the newest tables on this machine, as links except for the updated ones.

    Without a cache it goes with this process.
    """
    cache = user_cache()
    cached_copy = cache and cache / f"casacore-{zlib.crc32(os.fsencode(data)):08x}"
    target = directory or cached_copy
    if target is None:
        temporary = Path(tempfile.mkdtemp(prefix="genericpipeline-casacore-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return _make_tables(data, temporary)
    if _is_current(target):
        return target
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        if cached_copy and cached_copy != target and _is_current(cached_copy):
            shutil.copytree(cached_copy, unfinished, symlinks=True)  # links stay links
        else:
            unfinished.mkdir(parents=True)
            _make_tables(data, unfinished)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    except OSError:
        if not _is_current(target):  # else another process was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def user_cache() -> Path | None:
    """Return the cache directory of this package; None without a home."""
    place = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - no error without a home
    return Path(place, "genericpipeline") if os.access(Path(place).parent, os.W_OK) else None


def _is_current(directory: Path) -> bool:
    """Whether tables are complete, and were made so recently that casacore does not complain."""
    try:
        age_s = time.time() - (directory / MARK).stat().st_mtime
    except OSError:
        return False
    return age_s < REMADE_DAYS * 86400


def _make_tables(data: Path, target: Path) -> Path:
    (target / GEODETIC).mkdir()
    for entry in data.iterdir():
        if entry.name != GEODETIC:
            (target / entry.name).symlink_to(entry)
    for entry in (data / GEODETIC).iterdir():
        newest = max(_versions(entry), key=table_date) if entry.name in TIMELY else entry
        if newest != entry or entry.name == LEAP_SECONDS:
            shutil.copytree(newest, target / GEODETIC / entry.name)
        else:
            (target / GEODETIC / entry.name).symlink_to(entry)
    table = target / GEODETIC / LEAP_SECONDS
    is_complete, warning = _check_leap_seconds(table_date(table))
    if is_complete:
        _set_date(table / "table.dat")
    (target / MARK).write_text(warning, encoding="utf-8")
    return target


def _versions(table: Path) -> list[Path]:
    """Return a table, and others of the same name on this machine."""
    others = (Path(place).expanduser() / GEODETIC / table.name for place in ELSEWHERE)
    return [table, *(other for other in others if (other / "table.dat").is_file())]


def _set_date(table: Path) -> None:
    """Set the date of a table to today, to silence casacore's complaint."""
    table.chmod(0o644)
    table.write_bytes(DATE.sub(f"{_today():%Y/%m/%d}/00:00".encode(), table.read_bytes()))


def _check_leap_seconds(day: datetime.date) -> tuple[bool, str]:
    """Return whether a table of some day has all leap seconds, as far as is known, and a notice.

    Known are the announcements of the IERS when astropy's copy of its list was made.
    """
    try:
        lines = _list_of_iers().read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    seconds = [MJD_0 + datetime.timedelta(float(line.split()[0])) for line in lines if line[:1] != "#" and line.strip()]
    if missing := [second for second in seconds if second > day]:
        return False, f"casacore's table of leap seconds, of {day}, lacks that of {missing[0]}; {REMEDY}"
    expiry = re.search(r"File expires on (\d+ \w+ \d{4})", "\n".join(lines))
    if expiry and datetime.datetime.strptime(expiry[1], "%d %B %Y").date() >= _today():
        return True, ""
    return True, f"casacore's table of leap seconds is of {day}, and nothing says whether there was one since; {REMEDY}"


def _list_of_iers() -> Path:
    package = importlib.util.find_spec("astropy_iers_data")
    return Path(package.origin or "" if package else "").with_name("data") / "Leap_Second.dat"


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
