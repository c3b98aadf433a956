"""Sets become groups, groups become calls: names with tokens, channels of the whole group, collisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lofarpipe.cli.imgpipe.groups import Group, Translator, make_groups, name_findings, pinned_host
from lofarpipe.cli.imgpipe.observations import SetAt
from lofarpipe.cli.imgpipe.settings import read_imaging_settings

HERE = Path("/run")
CHANNELS = {  # Hz, of each spectral window
    "eight.MS": [[float(50 + n) for n in range(8)]],
    "chunk.MS": [[float(50 + n) for n in range(8)]],
    "five.MS": [[float(80 + n) for n in range(5)]],
    "half.MS": [[float(54 + n) for n in range(8)]],
    "two.MS": [[float(50 + n) for n in range(8)], [float(80 + n) for n in range(5)]],
}


def translator(tmp_path: Path, text: str) -> Translator:
    (tmp_path / "img.toml").write_text(text)
    settings, findings = read_imaging_settings(tmp_path / "img.toml")
    assert findings == []
    return Translator(settings, {"HOME": "/home/a", "DAY": "1"}, HERE, lambda path: CHANNELS[path.name])


def job_of(tmp_path: Path, text: str, *names: str, obs_id: str | None = None, window: str | None = None):
    made = translator(tmp_path, text)
    jobs = made.jobs([Group(tuple(map(Path, names)), obs_id, window)])
    return jobs[0] if jobs else [str(one).replace(f"{tmp_path}/", "") for one in made.findings]


def at(*names: str) -> list[SetAt]:
    return [SetAt(Path(name)) for name in names]


# ---- groups


def test_sets_form_single_or_joint_groups() -> None:
    sets = at("b.MS", "a.MS")
    assert make_groups(sets, combine=False, across=False)[0] == [Group((Path("b.MS"),)), Group((Path("a.MS"),))]
    for across in (False, True):
        assert make_groups(sets, combine=True, across=across)[0] == [Group((Path("b.MS"), Path("a.MS")))]


def test_windows_and_observations_form_groups() -> None:
    sets = [SetAt(Path(f"{obs}{sw}"), obs, sw) for sw in ("1", "3") for obs in ("A", "B")]
    combined, _ = make_groups(sets, combine=True, across=False)
    assert [(group.window, group.obs_id, len(group.sets)) for group in combined] == [
        ("1", "A", 1),
        ("1", "B", 1),
        ("3", "A", 1),
        ("3", "B", 1),
    ]
    across, _ = make_groups(sets, combine=True, across=True)
    assert [(group.window, group.obs_id, [str(one) for one in group.sets]) for group in across] == [
        ("1", None, ["A1", "B1"]),
        ("3", None, ["A3", "B3"]),
    ]


def test_repeated_set_is_used_once(tmp_path: Path) -> None:
    (tmp_path / "a.MS").mkdir()
    (tmp_path / "link.MS").symlink_to("a.MS")
    names = [str(tmp_path / "link.MS"), f"{tmp_path}/./a.MS", str(tmp_path / "b.MS")]
    groups, notices = make_groups(at(*names), combine=True, across=False)
    assert groups == [Group((tmp_path / "link.MS", tmp_path / "b.MS"))]
    assert notices == [f"{tmp_path}/link.MS: is given 2 times, and used once"]


def test_shared_window_set_is_one_job() -> None:
    sets = [SetAt(Path("x.MS"), "A", "SW01"), SetAt(Path("x.MS"), "A", "SWALL")]
    assert len(make_groups(sets, combine=True, across=False)[0]) == 2
    groups, notices = make_groups(sets, combine=False, across=False)
    assert groups == [Group((Path("x.MS"),), "A", "SW01", ("A",))]
    assert notices == ["x.MS: is given 2 times, and used once"]


def test_shared_observation_set_is_grouped_once() -> None:
    sets = [SetAt(Path("x.MS"), "A", "SW01"), SetAt(Path("x.MS"), "A_N2", "SW01")]
    assert make_groups(sets, combine=True, across=True)[0] == [Group((Path("x.MS"),), "A", "SW01", ("A",))]
    assert len(make_groups(sets, combine=True, across=False)[0]) == 2


# ---- names


def test_default_place_lies_in_last_set(tmp_path: Path) -> None:
    job = job_of(tmp_path, "", "d/a.MS", "d/b.MS")
    assert job.name == Path("/run/d/b.MS/images/img")
    assert job.options == {"pol": ["I"], "weight": ["briggs", "0"], "data-column": ["CORRECTED_DATA"]}


def test_tokens_are_replaced(tmp_path: Path) -> None:
    text = "[wsclean]\nname = 'deep/i$DAY'\nout-dir = '~/o/$obs_id$/$sw$/$name$/$ms_basename$'\n"
    job = job_of(tmp_path, text, "d/a.MS", obs_id="2023", window="SW1")
    assert job.name == Path("/home/a/o/2023/SW1/deep/i1/a.MS/deep/i1")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("out-dir = 'o/$sw$'", "img.toml:2: wsclean.out-dir: has $sw$, which has no value without a data handler"),
        ("out-dir = 3", "img.toml:2: wsclean.out-dir: is 3; out-dir must be a text"),
        ("name = ''", "img.toml:2: wsclean.name: is ''; name must be a text"),
        ("niter = []", "img.toml:2: wsclean.niter: is an empty list"),
        ("channels-out = 'some'", "img.toml:2: wsclean.channels-out: is 'some'; 'all', 'every N' with N > 0"),
        ("channels-out = 'every 9'", "img.toml:2: wsclean.channels-out: is 'every 9', and there are 8 channels"),
        ("channels-out = 2\nspws = 'x'", "img.toml:2: wsclean.channels-out: spws is 'x'"),
        (
            "channels-out = 2\nchannel-range = '2'",
            "img.toml:2: wsclean.channels-out: channel-range is '2'; two numbers",
        ),
        (
            "channels-out = 'all'\nchannel-range = '9 9'",
            "img.toml:2: wsclean.channels-out: is 'all', and the options select",
        ),
    ],
)
def test_wrong_value_names_its_key(tmp_path: Path, text: str, finding: str) -> None:
    made = translator(tmp_path, f"[wsclean]\n{text}\n")
    made.jobs([Group((Path("eight.MS"),))] * 2)
    assert len(made.findings) == 1
    assert str(made.findings[0]).replace(f"{tmp_path}/", "").startswith(finding)


def test_image_name_clash_suggests_token(tmp_path: Path) -> None:
    made = translator(tmp_path, "[wsclean]\nout-dir = 'o/$ms_basename$'\n")
    night, later = (Group((Path(f"{obs}/SW1.MS"),), obs, "SW1") for obs in ("N1", "N2"))
    (finding,) = name_findings(made.jobs([night, later]), read_imaging_settings(tmp_path / "img.toml")[0])
    assert finding.what == "/run/o/SW1.MS/img would be the images of N1/SW1.MS, N2/SW1.MS; put $obs_id$ into out-dir"
    assert name_findings(made.jobs([night]), read_imaging_settings(tmp_path / "img.toml")[0]) == []


def test_equal_groups_have_no_distinguishing_token(tmp_path: Path) -> None:
    made = translator(tmp_path, "[wsclean]\nout-dir = 'o'\n")
    jobs = made.jobs([Group((Path("a.MS"), Path("c.MS"))), Group((Path("b.MS"), Path("c.MS")))])
    (finding,) = name_findings(jobs, read_imaging_settings(tmp_path / "img.toml")[0])
    assert finding.what.endswith("; make their names different with tokens in out-dir")


# ---- channels


@pytest.mark.parametrize(
    ("more", "names", "count"),
    [
        ("", ["eight.MS", "chunk.MS"], 8),
        ("", ["eight.MS", "five.MS"], 13),
        ("", ["five.MS", "eight.MS"], 13),
        ("", ["eight.MS", "half.MS"], 12),
        ("", ["two.MS"], 13),
        ("spws = 1", ["two.MS"], 5),
        ("spws = [0, 1]", ["two.MS"], 13),
        ("channel-range = '2 6'", ["eight.MS"], 4),
        ("channel-range = [2, 6]", ["eight.MS"], 4),
    ],
)
def test_group_counts_unique_selected_channels(tmp_path: Path, more: str, names: list[str], count: int) -> None:
    job = job_of(tmp_path, f"[wsclean]\nchannels-out = 'all'\n{more}\n", *names)
    assert job.options["channels-out"] == [str(count)]


def test_remaining_channels_give_notice(tmp_path: Path) -> None:
    made = translator(tmp_path, "[wsclean]\nchannels-out = 'every 3'\n")
    made.jobs([Group((Path("eight.MS"),))])
    assert [notice.replace(f"{tmp_path}/", "") for notice in made.notices] == [
        "img.toml:2: wsclean.channels-out: 'every 3': 8 channels leave a remainder of 2, which WSClean shares out"
    ]


def test_set_without_selected_channels_is_refused(tmp_path: Path) -> None:
    text = "[wsclean]\nchannels-out = 2\nchannel-range = '0 8'\n"
    (finding,) = job_of(tmp_path, text, "eight.MS", "five.MS")
    assert "the options select no channel of five.MS; leave it out (eight.MS ... five.MS)" in finding
    assert job_of(tmp_path, text.replace("= 2", "= 1"), "eight.MS", "five.MS").options["channels-out"] == ["1"]


def test_false_removes_channels_out(tmp_path: Path) -> None:
    assert "channels-out" not in job_of(tmp_path, "[wsclean]\nchannels-out = false\n", "none.MS").options


# ---- hosts


def test_group_runs_on_host_of_most_sets() -> None:
    pattern = re.compile(r"/net/(node\d+)")
    paths = ["/net/node2/a", "/net/node1/b", "/net/node1/c", "/x/d"]
    assert pinned_host(Group(tuple(map(Path, paths))), pattern) == "node1"
    assert pinned_host(Group(tuple(map(Path, paths[:2]))), pattern) == "node2"
    assert pinned_host(Group((Path("/x/d"),)), pattern) is None
