"""doc/run_record.md against the schema and the words that are printed."""

from __future__ import annotations

import json
import re

from doc_pages import REPOSITORY, code_words, column_words
from lofarpipe.archive import compare, crate, repeat
from lofarpipe.archive.record import SCHEMA_VERSION
from lofarpipe.config import CHECKSUM_LIMIT_GB

PAGE = REPOSITORY / "doc" / "run_record.md"
SCHEMA = json.loads((REPOSITORY / "doc" / "run.schema.json").read_text())


def test_page_lists_entries_of_schema():
    assert column_words(PAGE, "| entry | content |") == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_every_object_of_the_schema_is_closed():
    def objects(node):
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)

    found = list(objects(SCHEMA))
    assert len(found) > 10
    for one in found:
        assert one["additionalProperties"] is False
        assert set(one["required"]) == set(one["properties"])


def test_page_lists_comparison_results():
    words = {compare.SAME, compare.SAME_CONTENT, compare.ROUNDED, compare.DIFFERS, compare.MISSING, compare.NEW}
    assert column_words(PAGE, "| word | meaning |") == words


def test_documented_options_exist():
    known = {
        word for module in (repeat, crate) for action in module._parser()._actions for word in action.option_strings
    }
    named = {word.split()[0] for word in code_words(PAGE.read_text()) if re.match(r"--?[a-z]", word)}
    assert {"-s", "--anyway", "--references", "--orcid"} <= named
    assert named - {"--set"} <= known


def test_documented_limit_is_the_default():
    assert f"({CHECKSUM_LIMIT_GB:g} GB of inputs" in PAGE.read_text()
    shipped = (REPOSITORY / "cfg" / "pipeline.cfg").read_text()
    assert f"checksum_limit_gb = {CHECKSUM_LIMIT_GB:g}\n" in shipped
