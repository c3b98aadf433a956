"""The YAML file of spice_process: types, spellings, lines."""

from pathlib import Path

import pytest

from lofarpipe.cli.spice.config import OptionSetting, read_config
from lofarpipe.errors import UsageError
from lofarpipe.support import yaml_file

pytest.importorskip("yaml", reason="PyYAML is not installed")


def write(directory: Path, text: str) -> Path:
    path = directory / "sb.yaml"
    path.write_text(text)
    return path


def test_keys_become_options_with_their_lines(tmp_path: Path) -> None:
    text = "# SB8593\nimager_only: true\nnum-beams: 2\nniter: 5e5\nnmiter: ~\ntaper:\nmultiscale_scales: [0, 4]\n"
    path = write(tmp_path, text + "local_rms: false\nabsmem: '100'\n")
    config = read_config(path)
    assert config.settings == {
        "imager_only": OptionSetting("True", str(path), 2),
        "num_beams": OptionSetting("2", str(path), 3),
        "niter": OptionSetting("500000", str(path), 4),
        "multiscale_scales": OptionSetting("0,4", str(path), 7),
        "local_rms": OptionSetting("False", str(path), 8),
        "absmem": OptionSetting("100", str(path), 9),
    }
    assert config.text == path.read_text()


def test_operation_section_sets_options(tmp_path: Path) -> None:
    path = write(tmp_path, "niter: 2\nimage-i:\n  niter: 3\ngridder: null\n")
    config = read_config(path)
    assert config.of_operations == {"image_i": {"niter": OptionSetting("3", str(path), 3)}}
    assert config.settings["niter"].text == "2"
    assert read_config(write(tmp_path, "image_i:\n")).of_operations == {"image_i": {}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("size: 1024\nautto_mask: 4\n", "sb.yaml:2: there is no option 'autto_mask'; did you mean 'auto_mask'?"),
        ("size: 1.5\n", "sb.yaml:1: size is '1.5'; an integer > 0 is needed"),
        ("size: [1, 2]\n", "sb.yaml:1: size is [1, 2]; an integer > 0 is needed"),
        ("size: true\n", "sb.yaml:1: size is true; an integer > 0 is needed"),
        ("purge: 60\n", "sb.yaml:1: purge is '60'; true or false is needed"),
        ("pols: {I: 1}\n", "sb.yaml:1: pols is a block of keys; a text is needed"),
        ("msdir: /data\n", "sb.yaml:1: there is no option 'msdir'"),
        ("size: 5\nsize: 6\n", "sb.yaml:2: size occurs twice; line 1 has it too"),
        ("num_beams: 5\nnum-beams: 6\n", "sb.yaml:2: num-beams occurs twice, as num_beams too"),
        ("image_i: 3\n", "sb.yaml:1: image_i is an operation; its options are needed below it"),
        ("image_i:\n  purge: true\n", "sb.yaml:2: image_i has no option 'purge'"),
        ("image_i:\n  niter: x\n", "sb.yaml:2: image_i.niter is 'x'; an integer >= 0 is needed"),
        (
            "local_wsclean: a\nhosted-wsclean: docker://b\n",
            "sb.yaml:2: hosted_wsclean and local_wsclean are both there",
        ),
        ("a: [1\nb: 2\n", "sb.yaml:2: not YAML: expected ',' or ']', but got ':'"),
        ("- 5\n", "sb.yaml:1: keys and values are needed"),
        ("? [a]\n: 5\n", "sb.yaml:1: a key is a word"),
        ("a: &x [*x]\n", "more than 20 levels within each other"),
    ],
)
def test_mistake_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, text))
    assert problem in str(caught.value)


def test_all_mistakes_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, "sise: 5\nniter: many\n"))
    assert len(str(caught.value).splitlines()) == 2


def test_unreadable_file_is_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        read_config(tmp_path / "a.yaml")
    assert not read_config(write(tmp_path, "# nothing\n")).settings
    assert not read_config(write(tmp_path, "~\n")).settings


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(UsageError, match=r"pip install 'genericpipeline\[askap\]'"):
        yaml_file.YamlFile(write(tmp_path, "a: 1\n"))
