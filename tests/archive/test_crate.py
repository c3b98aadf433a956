"""A run as an RO-Crate: contents, references and round trip through rocrate."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from lofarpipe.archive.crate import main
from lofarpipe.errors import PipelineError
from recorded import make_field, record, run

rocrate = pytest.importorskip("rocrate.rocrate")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory with a finished run and a report."""
    monkeypatch.chdir(tmp_path)
    make_field(tmp_path)
    assert run() == 0
    (tmp_path / "field" / "report.html").write_text("<p>report</p>")
    return tmp_path


def graph(crate: Path) -> dict[str, dict]:
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def ids(value: object) -> list[str]:
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_crate_contains_files_and_metadata(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["field", "--license", "https://spdx.org/licenses/CC-BY-4.0", "--author", "A. Astronomer"]) == 0
    crate = here / "field" / "crate"
    assert capsys.readouterr().out == f"{crate}\n"
    assert sorted(path.name for path in crate.iterdir()) == [
        *("commands.txt", "field.whole.parset", "products", "report.html", "ro-crate-metadata.json", "run.json"),
    ]
    assert (crate / "products" / "one.copy").read_text() == "one"
    entities = graph(crate)
    root = entities["./"]
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in ids(root["conformsTo"])
    assert root["mainEntity"] == {"@id": "field.whole.parset"}
    assert "ComputationalWorkflow" in entities["field.whole.parset"]["@type"]
    assert entities["field.whole.parset"]["name"] == "field.parset"
    person = entities[root["author"]["@id"]]
    assert (person["@type"], person["name"]) == ("Person", "A. Astronomer")


def test_run_is_an_action(here: Path) -> None:
    assert main(["field", "-o", "crate"]) == 0
    facts, entities = record(here / "field"), graph(here / "crate")
    action = entities["#run"]
    assert (action["@type"], action["instrument"]) == ("CreateAction", {"@id": "field.whole.parset"})
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert action["startTime"] == facts["run"]["started"].replace("Z", "+00:00")
    assert action["endTime"] > action["startTime"]
    assert ids(action["object"]) == [f"file://{here}/in/one.txt", f"file://{here}/in/two.txt"]
    results = {"products/one.copy", "products/two.copy", "run.json", "commands.txt", "report.html"}
    assert set(ids(action["result"])) == results
    assert action["agent"]["@id"] in entities
    assert "error" not in action


def test_programs_are_instruments_of_the_steps(here: Path) -> None:
    assert main(["field", "-o", "crate"]) == 0
    entities = graph(here / "crate")
    assert entities["#step-copy"]["instrument"] == {"@id": "#cp"}
    assert entities["#cp"]["@type"] == "SoftwareApplication"
    assert entities["#genericpipeline"]["softwareVersion"].startswith("0.")
    assert {"#run", "#step-copy", "#step-show"} == set(ids(entities["./"]["mentions"]))
    assert entities["#step-copy"]["description"] == "2 jobs of cp"


def test_inputs_are_referenced_with_checksums(here: Path) -> None:
    assert main(["field", "-o", "crate"]) == 0
    entity = graph(here / "crate")[f"file://{here}/in/one.txt"]
    value = record(here / "field")["inputs"][0]["checksum"]["value"]
    assert (entity["@type"], entity["sha256"], entity["contentSize"]) == ("File", value, "3")
    assert not list((here / "crate").rglob("one.txt"))


def test_rocrate_reads_the_crate(here: Path) -> None:
    assert main(["field", "-o", "crate"]) == 0
    again = rocrate.ROCrate(here / "crate")
    assert again.mainEntity.id == "field.whole.parset"
    assert {entity.id for entity in again.data_entities} >= {"run.json", "products/one.copy"}
    (action,) = [entity for entity in again.contextual_entities if entity.id == "#run"]
    assert action["instrument"].id == "field.whole.parset"


def test_references_option_copies_no_product(here: Path) -> None:
    assert main(["field", "-o", "crate", "--references"]) == 0
    assert not (here / "crate" / "products").exists()
    assert f"file://{here}/field/one.copy" in graph(here / "crate")
    assert (here / "crate" / "run.json").is_file()


def test_crate_can_be_a_zip_file(here: Path) -> None:
    assert main(["field", "-o", "crate.zip"]) == 0
    with zipfile.ZipFile(here / "crate.zip") as archive:
        assert {"ro-crate-metadata.json", "run.json", "products/one.copy"} <= set(archive.namelist())


def change(here: Path, **facts: object) -> None:
    path = here / "field" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_tables_and_samples_are_described(here: Path) -> None:
    entry = record(here / "field")["inputs"][0]
    sampled = {**entry, "checksum": {**entry["checksum"], "method": "sampled"}}
    table = {**entry, "path": f"{here}/L1.MS", "kind": "table"}
    change(here, inputs=[sampled, table])
    assert main(["field", "-o", "crate"]) == 0
    entities = graph(here / "crate")
    value = entry["checksum"]["value"]
    sampled_entity = entities[f"file://{here}/in/one.txt"]
    assert "sha256" not in sampled_entity
    assert sampled_entity["description"] == f"sha256, sampled (file; see doc/run_record.md): {value}"
    assert entities[f"file://{here}/L1.MS/"]["@type"] == "Dataset"


def test_second_product_of_same_name_is_referenced(here: Path) -> None:
    entry = record(here / "field")["products"][0]
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "image.fits").touch()
    change(here, products=[{**entry, "path": f"{here}/{folder}/image.fits"} for folder in ("a", "b")])
    assert main(["field", "-o", "crate"]) == 0
    entities = graph(here / "crate")
    assert entities["delivered/image.fits"]["encodingFormat"] == "image/fits"
    assert f"file://{here}/b/image.fits" in entities


def test_crate_describes_failed_run_and_programs(here: Path) -> None:
    facts = record(here / "field")
    failed = {**facts["run"], "state": "failed", "problem": "step 'show': 1 failed\nmore", "ended": None}
    programs = [{"name": "DP3", "path": "/opt/DP3", "version": "6.6", "steps": ["copy"]}]
    programs += [{"name": "plot.py", "path": "/opt/plot.py", "version": None, "sha256": "ab12", "steps": ["show"]}]
    packages = [{"name": "everybeam", "version": "0.9"}, {"name": "numpy", "version": "2"}]
    runner = {**facts["software"]["runner"], "commit": None, "version": "0.1"}
    change(here, run=failed, software={"runner": runner, "programs": programs, "packages": packages})
    assert main(["field", "-o", "crate", "--orcid", "https://orcid.org/0000-0002-1825-0097"]) == 0
    entities = graph(here / "crate")
    action = entities["#run"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert action["error"] == "step 'show': 1 failed"
    assert "endTime" not in action
    assert action["agent"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    assert entities["#DP3"]["softwareVersion"] == "6.6"
    assert entities["#DP3"]["url"].startswith("https://dp3")
    assert entities["#genericpipeline"]["softwareVersion"] == "0.1"
    assert "#everybeam" in entities
    assert "#numpy" not in entities
    assert entities["#plot.py"]["sha256"] == "ab12"
    assert entities["#step-show"]["instrument"] == {"@id": "#plot.py"}


@pytest.mark.parametrize("place", ["lofarpipe/share/scripts", "scripts"])
def test_own_scripts_are_the_runner(here: Path, place: str) -> None:
    software = record(here / "field")["software"]
    runner = {**software["runner"], "path": "/opt/lofarpipe"}
    programs = [{"name": "plot.py", "path": f"/opt/{place}/plot.py", "version": None, "sha256": "a", "steps": ["show"]}]
    change(here, software={**software, "runner": runner, "programs": programs})
    assert main(["field", "-o", "crate"]) == 0
    assert not {"#plot.py", "#step-show"} & set(graph(here / "crate"))


def test_missing_license_is_reported(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["field", "-o", "crate"]) == 0
    assert capsys.readouterr().out.startswith("no license is given: archives ask for one; give it with --license URL\n")
    assert "license" not in graph(here / "crate")["./"]


def test_missing_report_is_omitted(here: Path) -> None:
    (here / "field" / "report.html").unlink()
    assert main(["field", "-o", "crate"]) == 0
    assert "report.html" not in graph(here / "crate")


def test_existing_files_are_not_overwritten(here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "file").touch()
    for name in ("full", "full/file"):
        with pytest.raises(PipelineError, match=rf"{name}: already exists; remove it, or choose another place"):
            main(["field", "-o", name])


def test_unwritable_places_are_errors(here: Path) -> None:
    with pytest.raises(PipelineError, match=r"in/one.txt/crate: the crate cannot be written: "):
        main(["field", "-o", "in/one.txt/crate"])
    (here / "field" / "parsets").rename(here / "field" / "gone")
    (here / "field" / "parsets").touch()
    with pytest.raises(PipelineError, match=r"field.whole.parset: cannot be written: "):
        main(["field", "-o", "crate"])


def test_missing_rocrate_is_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    with pytest.raises(PipelineError, match=r"rocrate is not installed: pip install 'genericpipeline\[crate\]'"):
        main(["field", "-o", "crate"])
