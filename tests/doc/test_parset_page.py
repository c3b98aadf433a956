"""doc/parset.md and doc/migrating.md against the tables and the code that they describe."""

import inspect
import re

import pytest

from doc_pages import REPOSITORY, code_words, column_words, table
from lofarpipe.pipeline.control import FEEDBACK_KEYS, control_keys, read_value
from lofarpipe.pipeline.plugins import STEP_PREFIX, load
from lofarpipe.programs.argv import FORMATS, build_argv
from lofarpipe.support import map_text, parset_text
from lofarpipe.support import parset_text as variables

PARSET_PAGE, MIGRATING_PAGE = (REPOSITORY / "doc" / name for name in ("parset.md", "migrating.md"))
TYPES = {
    "str": "text",
    "bool": "bool",
    "int": "integer",
    "number": "number",
    "list": "list",
    "environment": "variables",
}
PLUGINS = sorted(path.stem.removeprefix(STEP_PREFIX) for path in (REPOSITORY / "plugins").glob(f"{STEP_PREFIX}*.py"))


def test_control_keys_have_type_and_example():
    keys = control_keys(["a limit of any program"], "")
    for key, _, kind, example, meaning in table(PARSET_PAGE, "| key | default"):
        known = keys[key.strip("`")]
        assert kind == TYPES[known.kind]
        assert meaning == known.meaning.removeprefix("ours: ")
        if "no effect" not in meaning:
            assert read_value(example.strip("`"), known.kind) != known.default


def test_page_lists_every_feedback_key():
    rows = {key.strip("`"): rest for key, *rest in table(PARSET_PAGE, "| feedback key")}
    assert list(rows) == list(FEEDBACK_KEYS)
    for key, (default, kind, meaning) in rows.items():
        known = FEEDBACK_KEYS[key]
        assert (default.strip("`"), kind, meaning) == (str(known.default), TYPES[known.kind], known.meaning)


def test_formats_produce_documented_arguments():
    rows = {name.strip("`"): code_words(text) for name, text in table(PARSET_PAGE, "| args_format | keyword")}
    assert list(rows) == list(FORMATS)
    for name, shown in rows.items():
        argv = build_argv("x", [], {"key": "value"}, name)[1:]
        assert " ".join(argv) == ("" if name == "losoto" else shown[0])


def plugin_rows():
    """Yield (plugin, arguments that it needs, optional ones) for each plugin of the table but the methods."""
    for name, arguments, _ in table(PARSET_PAGE, "| plugin | arguments"):
        if name:
            needed, optional = re.sub(r"\[.*\]", "", arguments), "".join(re.findall(r"\[.*\]", arguments))
            yield name.strip("`"), code_words(needed), code_words(optional)


def test_page_lists_every_plugin():
    assert sorted(name for name, _, _ in plugin_rows()) == PLUGINS


@pytest.mark.parametrize(("name", "needed", "optional"), list(plugin_rows()))
def test_page_lists_every_plugin_argument(name, needed, optional):
    module = load(REPOSITORY / "plugins" / f"{STEP_PREFIX}{name}.py", "plugin_main")
    known = inspect.signature(module.plugin_main).parameters
    if name in ("addMapfile", "mapfilenamesFromMapfiles"):  # theirs have names that the parset chooses
        return
    own = {key for key in known if key not in ("args", "kwargs", "mapfile_dir", "filename")}
    assert {*needed, *optional} == own
    wanted = {key for key in own if known[key].default is inspect.Parameter.empty}
    assert wanted <= set(needed)
    assert not wanted & set(optional)


def test_page_lists_every_createmapfile_method():
    module = load(REPOSITORY / "plugins" / f"{STEP_PREFIX}createMapfile.py", "plugin_main")
    rows = [code_words(arguments) for name, arguments, _ in table(PARSET_PAGE, "| plugin | arguments") if not name]
    assert [words[0] for words in rows] == list(module.METHODS)
    for method, *arguments in rows:
        assert set(module.METHODS[method][1]) <= set(arguments)


def test_page_lists_every_limit():
    rows = [[int(cell) if cell else None for cell in cells] for _, *cells in table(PARSET_PAGE, "| limit |")]
    assert rows == [
        [parset_text.LONGEST_FILE, map_text.LONGEST_FILE],
        [parset_text.MOST_KEYS, map_text.MOST_VALUES],
        [parset_text.MOST_LINES, None],
        [parset_text.LONGEST_LINE, None],
        [None, map_text.DEEPEST],
        [variables.MOST_WORK, None],
    ]
    assert variables.LONGEST_VALUE == parset_text.LONGEST_LINE


def test_documented_messages_exist():
    source = "\n".join(path.read_text() for path in (REPOSITORY / "lofarpipe").rglob("*.py"))
    source = re.sub(r"\{[^{}]*\}", "...", source)
    for message in column_words(MIGRATING_PAGE, "| message |"):
        assert message in source, message


def test_differences_have_reasons():
    rows = table(PARSET_PAGE, "| here | there | why |")
    assert len(rows) > 15
    assert all(len(cells) == 3 and all(cells) for cells in rows)
