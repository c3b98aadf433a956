"""The page of the ASKAP pipeline: its tables list what there is."""

from __future__ import annotations

import re

from doc_pages import REPOSITORY, code_words, table
from lofarpipe.cli.spice.cluster import ADAPT_KEYS, KWARGS_KEYS, WITHOUT_EFFECT
from lofarpipe.cli.spice.table import PROCESS_OPTIONS, SpiceOption, options_table

PAGE = REPOSITORY / "doc" / "pipelines" / "askap.md"


def row(option: SpiceOption) -> list[str]:
    name = option.name if option.name in ("msdir", "datadir") else f"--{option.name}"
    return [f"`{name}`", f"`{option.default}`" if option.default else "", option.domain, option.meaning]


def tables() -> list[list[str]]:
    """Return the rows of both tables of options."""
    _, *parts = PAGE.read_text().split("| option | default | values | meaning |\n| --- | --- | --- | --- |\n")
    lines = [line for part in parts for line in part.partition("\n\n")[0].splitlines()]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_option_is_on_the_page() -> None:
    wanted = [row(option) for option in (*options_table().values(), *PROCESS_OPTIONS)]
    assert tables()[:-1] == wanted
    assert tables()[-1][0] == "`--config`"


def test_every_key_of_a_cluster_file_is_on_the_page() -> None:
    listed = {word for cells in table(PAGE, "| key | meaning") for cell in cells for word in code_words(cell)}
    assert KWARGS_KEYS.keys() | ADAPT_KEYS.keys() <= listed
    text = PAGE.read_text()
    assert all(f"`{key}`" in text for keys in WITHOUT_EFFECT.values() for key in keys)
