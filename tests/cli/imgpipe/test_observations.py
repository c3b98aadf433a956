"""Patterns of observations and windows become measurement sets, in the order of arguments, windows, observations."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli.imgpipe.observations import DataHandler
from lofarpipe.errors import PipelineError

HANDLER = """
[obs_ids]
20231210_NT04 = ['node101', 'node102']
20231211_NT04 = ['node103', 'node104']

[n2_obs_ids.20231210_NT04_N2]
nodes = 'node[101-102]'
n1_obs_ids = ['20231210_NT04']

[n2_group]
G1 = ['20231210_NT04_N2']

[spectral_windows]
SW01 = [106, 108]
SW03 = [202, 203]
SWALL = ['SW01', 'SW03']

[data_levels.L1]
path = 'net/%NODE%/%YEAR%/%MONTH%'

[data_levels.L2]
path = 'net/%NODE%/%OBS_ID%/L2'
input = 'L1'

[data_levels.L3]
path = 'net/%NODE%/L3/%N1_OBS_ID%/%OBS_ID%'
input = 'L1'
split = {n_slots = 10}

[data_levels.LST]
path = 'lst/%OBS_ID%'
input = 'L3'
lst = {start = 5.0}

[data_levels.CAL]
path = 'cal/%OBS_ID%'
input = 'LST'

[other]
tool = 1
"""
NIGHT, LATER, CHUNKED = "20231210_NT04", "20231211_NT04", "20231210_NT04_N2"


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def handler(tmp_path: Path) -> DataHandler:
    return handler_of(tmp_path, HANDLER)


def handler_of(tmp_path: Path, text: str) -> DataHandler:
    (tmp_path / "handler.toml").write_text(text)
    return DataHandler(Path("handler.toml"))


def found(handler: DataHandler, *arguments: str, level: str = "L2") -> list[str]:
    sets, findings, _ = handler.find(arguments, level)
    assert findings == []
    return [str(one.path) for one in sets]


def problems(handler: DataHandler, *arguments: str, level: str = "L2") -> list[str]:
    return list(map(str, handler.find(arguments, level)[1]))


def make_sets(*paths: str) -> None:
    for path in paths:
        Path(path).mkdir(parents=True)


def test_windows_precede_observations(handler: DataHandler) -> None:
    assert found(handler, "202312*_NT04") == [
        f"net/node101/{NIGHT}/L2/SW01.MS",
        f"net/node103/{LATER}/L2/SW01.MS",
        f"net/node102/{NIGHT}/L2/SW03.MS",
        f"net/node104/{LATER}/L2/SW03.MS",
    ]
    sets = handler.find([f"{LATER}:SW03"], "L2")[0]
    assert [(one.obs_id, one.window) for one in sets] == [(LATER, "SW03")]


def test_patterns_and_arguments_combine(handler: DataHandler) -> None:
    assert found(handler, f"{LATER},{NIGHT}:SW01") == [
        f"net/node103/{LATER}/L2/SW01.MS",
        f"net/node101/{NIGHT}/L2/SW01.MS",
    ]
    assert found(handler, f"{NIGHT}:SW0[1]", "*1_NT04:SW?3") == [
        f"net/node101/{NIGHT}/L2/SW01.MS",
        f"net/node104/{LATER}/L2/SW03.MS",
    ]


def test_windows_and_parents_have_subbands(handler: DataHandler) -> None:
    subbands = [f"net/node102/2023/12/{NIGHT}/SB202.MS", f"net/node102/2023/12/{NIGHT}/SB203.MS"]
    assert found(handler, f"{NIGHT}:SW03", level="L1") == subbands
    assert found(handler, f"{CHUNKED}:SW03", level="L1") == subbands
    assert len(found(handler, f"{NIGHT}:SWALL", level="L1")) == 5


def test_composite_window_lists_subbands_by_member(tmp_path: Path) -> None:
    text = HANDLER.replace("n1_obs_ids = ['20231210_NT04']", "n1_obs_ids = ['20231210_NT04', '20231211_NT04']")
    sets = found(handler_of(tmp_path, text), f"{CHUNKED}:SWALL", level="L1")
    assert [(NIGHT in path, path.rpartition("/")[2][:4]) for path in sets] == [
        *[(True, "SB10")] * 3,
        *[(False, "SB10")] * 3,
        *[(True, "SB20")] * 2,
        *[(False, "SB20")] * 2,
    ]


def test_subbands_need_known_parent(tmp_path: Path) -> None:
    handler = handler_of(tmp_path, HANDLER.replace("n1_obs_ids = ['20231210_NT04']", "n1_obs_ids = ['20231210_NTO4']"))
    assert problems(handler, f"{CHUNKED}:SW03", level="L3") == []
    assert problems(handler, f"{CHUNKED}:SW03", level="L1") == [
        f"{CHUNKED}:SW03: its parent '20231210_NTO4' is no observation of handler.toml; did you mean '{NIGHT}'?"
    ]


def test_time_chunks_are_sorted_across_hosts(handler: DataHandler) -> None:
    place = f"L3/{NIGHT}/{CHUNKED}"
    make_sets(
        f"net/node102/{place}/SW03_T010.MS", f"net/node102/{place}/SW03_T001.MS", f"net/node101/{place}/SW03_T002.MS"
    )
    make_sets(
        f"net/node101/{place}/SW03_LST003.MS", f"net/node101/{place}/SW030_T003.MS", f"net/node101/{place}/SW01_T001.MS"
    )
    chunks = [
        f"net/node102/{place}/SW03_T001.MS",
        f"net/node101/{place}/SW03_T002.MS",
        f"net/node102/{place}/SW03_T010.MS",
    ]
    assert found(handler, f"{CHUNKED}:SW03", level="L3") == chunks
    assert found(handler, f"{CHUNKED}:SWALL", level="L3") == [f"net/node101/{place}/SW01_T001.MS", *chunks]
    make_sets(f"net/node101/{place}/SWALL_T001.MS")
    assert found(handler, f"{CHUNKED}:SWALL", level="L3") == [f"net/node101/{place}/SWALL_T001.MS"]


@pytest.mark.parametrize("level", ["LST", "CAL"])
def test_sidereal_level_selects_sets(handler: DataHandler, level: str) -> None:
    folder = level.lower()
    make_sets(f"{folder}/{NIGHT}/SW03_LST002.MS", f"{folder}/{NIGHT}/SW03_T001.MS")
    assert found(handler, f"{NIGHT}:SW03", level=level) == [
        f"{folder}/{NIGHT}/SW03_T001.MS",
        f"{folder}/{NIGHT}/SW03_LST002.MS",
    ]


def test_composite_window_expands_to_members(handler: DataHandler) -> None:
    sets = handler.find([f"{NIGHT}:SWALL"], "L2")[0]
    assert [(str(one.path), one.window) for one in sets] == [
        (f"net/node101/{NIGHT}/L2/SW01.MS", "SWALL"),
        (f"net/node102/{NIGHT}/L2/SW03.MS", "SWALL"),
    ]


def test_window_without_chunks_is_named(handler: DataHandler) -> None:
    assert handler.find([f"{CHUNKED}:SW01"], "L3") == ([], [], [f"{CHUNKED}, SW01: there is no set of level L3"])


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("1999*", "1999*: no observation matches '1999*'"),
        ("20231210_NTO4", "20231210_NTO4: no observation matches '20231210_NTO4'; did you mean '20231210_NT04'?"),
        (f"{NIGHT}:SW9", f"{NIGHT}:SW9: no spectral window matches 'SW9'; there are SW01, SW03, SWALL"),
        (f"{NIGHT}:SW01:x", f"{NIGHT}:SW01:x: has more than one colon; PATTERN[,PATTERN...][:WINDOWPATTERN] is needed"),
        ("G1", f"G1: 'G1' is a group of observations; give its members: {CHUNKED}"),
        (
            "a/b.MS",
            "a/b.MS: is the path of a set, and data_handler.config_file is set, so that patterns of observations are "
            "expected; remove config_file, or give a pattern",
        ),
    ],
)
def test_meaningless_argument_is_reported(handler: DataHandler, argument: str, problem: str) -> None:
    assert problems(handler, argument, NIGHT) == [problem]


def test_unknown_level_lists_known_levels(handler: DataHandler) -> None:
    assert problems(handler, NIGHT, level="L9")[0].startswith(
        "handler.toml: data_level 'L9': there is no such level; there are L1, L2, L3, LST, CAL"
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[obs_ids]", "[obs_id]", r"there is no section \[obs_ids\]"),
        ("SW01 = [106, 108]", "SW01 = 106", r"spectral_windows.SW01 is 106; the first and the last subband"),
        ("SW01 = [106, 108]", "SW01 = [108, 106]", r"spectral_windows.SW01 is \[108, 106\]; the first and the last"),
        ("['SW01', 'SW03']", "['202']", "spectral_windows.SWALL: '202' is no window"),
        ("['node101', 'node102']", "['node101']", "has 1 hosts, and there are 2 windows"),
        ("['node101', 'node102']", "3", "obs_ids.20231210_NT04 is 3; a list of hosts"),
        ("n1_obs_ids = ['20231210_NT04']", "", "needs nodes .* and n1_obs_ids"),
        ("path = 'lst/%OBS_ID%'", "", "data_levels.LST needs path"),
        ("[other]", "[data_level_path]\nL1 = 'x'\n[other]", r"has \[data_levels\] and \[data_level_path\]"),
        ("input = 'L3'", "input = 'CAL'", None),
        ("[obs_ids]", "n2_group = 3\n[obs_ids]", None),
    ],
)
def test_unusable_handler_is_error(tmp_path: Path, old: str, new: str, problem: str | None) -> None:
    text = HANDLER.replace(old, new, 1)
    if old == "input = 'L3'":
        text, problem = text.replace("lst = {start = 5.0}\n", ""), "made from each other in a circle"
    if "n2_group = 3" in text:
        text, problem = text.replace("[n2_group]\nG1 = ['20231210_NT04_N2']\n", ""), r"n2_group is 3, not the section"
    with pytest.raises(PipelineError, match=problem):
        handler_of(tmp_path, text).levels  # noqa: B018 - reading it fails


def test_handler_without_levels_is_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"there is no section \[data_levels.NAME\]"):
        handler_of(tmp_path, HANDLER[: HANDLER.index("[data_levels.L1]")])


def test_older_form_of_levels_is_read(tmp_path: Path) -> None:
    text = HANDLER[: HANDLER.index("[data_levels.L1]")]
    handler = handler_of(tmp_path, text + "[data_level_path]\nL1 = 'x'\nB = 'y'\n[lst_binning.B]\nwidth = 1\n")
    assert [(one.name, one.has_subbands, one.is_lst) for one in handler.levels.values()] == [
        ("L1", True, False),
        ("B", False, True),
    ]


def test_excess_hosts_give_notice(tmp_path: Path) -> None:
    handler = handler_of(tmp_path, HANDLER.replace("'node103', 'node104'", "'a', 'b', 'c'"))
    assert [notice.partition(": ")[2] for notice in handler.notices()] == [
        "obs_ids.20231211_NT04 has 3 hosts for 2 windows; the last are not used"
    ]
