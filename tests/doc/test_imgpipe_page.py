"""The page of imgpipe: its commands make images, its tables are complete."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from doc_pages import REPOSITORY, blocks, code_words, table
from imgpipe_site import ImgpipeSite
from lofarpipe.cli.imgpipe.settings import DATA_HANDLER, WORKER, WSCLEAN_DEFAULTS
from lofarpipe.cli.imgpipe.values import TOKENS

PAGE = REPOSITORY / "doc" / "pipelines" / "imgpipe.md"


@pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
def test_commands_of_the_page_make_images(tmp_path: Path) -> None:
    site = ImgpipeSite(tmp_path)
    site.make_sets("SW03_T001.MS", "SW03_T002.MS")
    (toml,) = [block for block in blocks(PAGE) if block.kind == "toml"]
    site.write(toml.text)
    (shell,) = [block for block in blocks(PAGE) if block.kind == "shell"]
    listed, dry, made, together, status = [site.run(*shlex.split(line)[1:]) for line in shell.text.splitlines()]
    assert listed.count("is there") == 2
    assert len(site.commands(dry)) == 2
    assert "2 of 2 images made" in made
    assert "1 of 1 images made" in together
    assert "2 of 2 images made" in status
    assert (tmp_path / "images/SW03_T001.MS/img-0001-image.fits").is_file()


def test_page_lists_every_key() -> None:
    rows = table(PAGE, "key of `[worker]`")
    assert [key.name for key in WORKER] == [code_words(row[0])[0] for row in rows[:-1]]
    text = PAGE.read_text()
    assert all(f"`{key.name}`" in text for key in DATA_HANDLER)
    assert all(f"`{key}`" in text for key in WSCLEAN_DEFAULTS)
    assert all(f"`${token}$`" in text for token in TOKENS)
