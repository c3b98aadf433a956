"""Sessions on the page: their problems, tables and pictures."""

import json

from PIL import Image

from lofarpipe.report.html.observation import observation_section
from lofarpipe.report.html.page import Pieces, observations

ENTRY = {
    "title": "ATA session x",
    "problems": ["antenna 5c: is dead"],
    "tables": [["Fields", ["field", "scans"], [["3c286", 2]]]],
    "pictures": [["uv", "/x.png"], ["lost", "/y.png"]],
}


def test_section_has_tables_and_existing_pictures():
    shown = observation_section(ENTRY, lambda path: "data:x" if path.name == "x.png" else None)
    assert shown["tables"] == [("Fields", ["field", "scans"], [["3c286", "2"]])]
    assert shown["pictures"] == [("uv", "data:x")]
    assert observation_section({"title": "half"}, lambda path: None) == {}


def test_sessions_of_the_job_directory_are_shown(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "x.png")
    pictures = [["uv", str(tmp_path / "x.png")], ["lost", str(tmp_path / "y.png")]]
    for name in ("a", "b"):
        path = tmp_path / f"{name}.observation.json"
        path.write_text(json.dumps({**ENTRY, "title": name, "pictures": pictures}))
    pieces = Pieces(tmp_path)
    (shown,) = observations(pieces, tmp_path, {str(tmp_path / "b.observation.json")})
    assert shown["title"] == "a"
    assert [title for title, _ in shown["pictures"]] == ["uv"]
    assert any("y.png" in line for line in pieces.problems)
    assert observations(pieces, tmp_path / "none") == []
