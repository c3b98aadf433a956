"""The script that removes images of channels."""

from pathlib import Path

import pytest

from loading import load_script
from lofarpipe.support.utilities import list_text

OF_CHANNELS = (
    *("a-0000-image.fits", "a-0000-Q-model.fits", "a-0001-psf.fits"),
    *("a-0001-residual.fits", "a-0000-dirty.fits"),
)
OTHERS = ("a-MFS-image.fits", "a-MFS-Q-residual.fits", "a-0000-notes.fits", "ab-0000-image.fits")


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for name in (*OF_CHANNELS, *OTHERS):
        (tmp_path / name).write_text(name)
    return [f"{tmp_path}/{name}" for name in (*OF_CHANNELS, *OTHERS)]


def test_only_channel_images_are_removed(paths: list[str], tmp_path: Path) -> None:
    script = load_script("remove_images")
    Path(paths[0]).unlink()  # a killed try has removed it
    assert script.main(f"{tmp_path}/a", list_text(paths)) == {"removed": "5"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OTHERS)


def test_image_without_channels_stays(tmp_path: Path) -> None:
    (tmp_path / "a-image.fits").touch()
    assert load_script("remove_images").main(f"{tmp_path}/a", [f"{tmp_path}/a-image.fits"]) == {"removed": "0"}
    assert (tmp_path / "a-image.fits").exists()


def test_command_line_counts_removed_images(paths: list[str], tmp_path: Path, capsys) -> None:
    assert load_script("remove_images").command_line([f"{tmp_path}/a", *paths]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a: 5 images removed\n"
