import gc
import logging
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.support.utilities import (
    append_whole,
    catch_segfaults,
    create_directory,
    few_files,
    files_of,
    is_file,
    string_to_list,
    uncollected,
    write_atomically,
)

SEGFAULT = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("/a.MS", ["/a.MS"]),
        (" /a b.MS ", ["/a b.MS"]),
        ("/a,b.MS", ["/a,b.MS"]),
        ("[]", []),
        ("[", ["["]),
        ("[/a.MS]", ["/a.MS"]),
        ("[/a.MS, /b.MS ,'/c.MS',\"/d.MS\"]", ["/a.MS", "/b.MS", "/c.MS", "/d.MS"]),
        ("['/a.MS', '/b,c.MS']", ["/a.MS", "/b,c.MS"]),
        ('["1.2deg","3.4deg"]', ["1.2deg", "3.4deg"]),
        ("[1.50,2]", ["1.50", "2"]),
        ("['/a.MS', b]", ["/a.MS", "b"]),
        ("['/a.MS', 1]", ["/a.MS", "1"]),
        ("['/it's.MS']", ["/it's.MS"]),
        ("[CR]S*&", ["[CR]S*&"]),
    ],
)
def test_text_yields_file_names(text, expected):
    assert files_of(text) == expected


def test_many_files_show_first_name():
    assert few_files("['/a.MS', '/b.MS', '/c.MS']") == "/a.MS and 2 more"
    assert few_files("[/a.MS,/b.MS]") == "[/a.MS,/b.MS]"
    assert few_files("/a.MS") == "/a.MS"


@given(st.lists(st.text(min_size=1)))
def test_literal_list_is_split(names):
    assert files_of(str(names)) == names


@pytest.mark.timeout(300)  # measured up to 1 s; the square of such a length takes hours
@pytest.mark.parametrize("text", ["['" + "[" * 300_000 + "]", "[" + "'a'" * 100_000 + "]", "['" * 200_000 + "]"])
def test_hostile_list_is_parsed_quickly(text):
    files_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("[]", []),
        ("a", ["a"]),
        ("[a, b , ,c,]", ["a", "b", "c"]),
        ("a,b", ["a", "b"]),
        ("[mk, a,b, c d, (1,2)]", ["mk", "a", "b", "c d", "(1", "2)"]),
        ("[a, [p,q]]", ["a", "[p", "q"]),
    ],
)
def test_string_becomes_list(text, expected):
    assert string_to_list(text) == expected


def test_directory_is_created_twice(tmp_path):
    create_directory(tmp_path / "a" / "b")
    create_directory(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_write_replaces_whole_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("much longer than before")
    write_atomically(path, "new\n")
    assert path.read_text() == "new\n"


def test_failed_write_keeps_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "no character: \ud800")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_undecodable_bytes_are_written_unchanged(tmp_path):
    write_atomically(tmp_path / "x", "a \udcff")
    assert (tmp_path / "x").read_bytes() == b"a \xff"
    write_atomically(tmp_path / "x", "a \udcff", errors="replace")
    assert (tmp_path / "x").read_bytes() == b"a ?"


def test_successful_program_is_logged(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    code = "import os, sys; print(os.getcwd()); print(os.environ['X'], file=sys.stderr)"
    process = catch_segfaults([sys.executable, "-c", code], str(tmp_path), {"X": "warned"}, logging.getLogger())
    assert process.returncode == 0
    assert (logging.DEBUG, f"{tmp_path}\n") in [(record.levelno, record.message) for record in caplog.records]
    assert caplog.records[0].message == f"Running: {sys.executable} -c {code}"
    assert (logging.WARNING, "warned\n") in [(record.levelno, record.message) for record in caplog.records]


def test_failing_program_is_not_retried(tmp_path):
    code = "import sys; open('tries', 'a').write('x'); sys.exit(3)"
    with pytest.raises(subprocess.CalledProcessError) as error:
        catch_segfaults([sys.executable, "-c", code], tmp_path, None, logging.getLogger())
    assert error.value.returncode == 3
    assert (tmp_path / "tries").read_text() == "x"


def test_segmentation_fault_is_retried(tmp_path):
    cleaned = []
    code = f"import pathlib\nif not pathlib.Path('t').exists():\n open('t', 'w'); {SEGFAULT}"
    catch_segfaults(
        [sys.executable, "-c", code], tmp_path, None, logging.getLogger(), cleanup=lambda: cleaned.append(1)
    )
    assert cleaned == [1]


def test_repeated_segmentation_faults_are_error(tmp_path, caplog):
    cleaned = []
    with pytest.raises(subprocess.CalledProcessError) as error:
        catch_segfaults(
            [sys.executable, "-c", SEGFAULT],
            tmp_path,
            None,
            logging.getLogger(),
            max=2,
            cleanup=lambda: cleaned.append(1),
        )
    assert error.value.returncode == -11
    assert cleaned == [1, 1]
    died = f"{sys.executable} died of a segmentation fault, try"
    assert [record.message for record in caplog.records] == [f"{died} {n} of 3" for n in (1, 2, 3)]


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collector_is_paused_and_restored(enabled):
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        with pytest.raises(ValueError, match="no"), uncollected():
            raise ValueError("no")
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if before else gc.disable()


def test_text_is_appended(tmp_path):
    path = tmp_path / "commands.txt"
    append_whole(path, "one\n")
    append_whole(path, "tw\udce9\n")
    assert path.read_bytes() == b"one\ntw\xe9\n"


def test_oversized_append_writes_nothing(tmp_path):
    path = tmp_path / "commands.txt"
    path.write_text("one\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            append_whole(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_text() == "one\n"


def test_write_errors_leave_no_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "none" / "a", "text")
    assert caught.value.filename == str(tmp_path / "none" / "a")
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "directory", "text")
    assert caught.value.filename == str(tmp_path / "directory")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_impossible_name_is_no_file(tmp_path):
    assert not is_file("x" * 10_000)
    assert not is_file("a\x00b")
    assert not is_file(tmp_path)
    assert is_file(__file__)
