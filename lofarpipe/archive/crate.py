"""``genericpipeline.py crate <job directory>``: a run as an RO-Crate, for archives and repositories.

Profiles: Process Run Crate and Workflow Run Crate 0.5 (https://www.researchobject.org/workflow-run-crate/). Large
data other than the result (inputs, measurement sets) are named with their checksum, and stay in place.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lofarpipe.archive.compare import product_names
from lofarpipe.archive.record import FILE_NAME
from lofarpipe.archive.repeat import load_record
from lofarpipe.config import job_directory_of
from lofarpipe.errors import PipelineError
from lofarpipe.programs.base import KNOWN_PROGRAMS, program_key
from lofarpipe.support.usage import Reader

Facts = dict[str, Any]

CRATE_VERSION = "1.1"
WORKFLOW_PROFILE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    WORKFLOW_PROFILE: "Workflow RO-Crate",
}
#: Terms missing in the context of RO-Crate 1.1.
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
#: Files of a job directory to include in the crate, if present.
RECORDS = {FILE_NAME: "application/json", "report.html": "text/html", "commands.txt": "text/plain"}
FORMATS = {
    ".fits": "image/fits",
    ".png": "image/png",
    ".json": "application/json",
    ".html": "text/html",
    ".xml": "application/xml",
    ".metadata": "text/plain",
    ".skymodel": "text/plain",
}
STATES = {"done": "CompletedActionStatus", "running": "ActiveActionStatus"}  # all others: FailedActionStatus


def main(arguments: Sequence[str]) -> int:
    """Run the sub-command: write the crate and print its path.

    Raises
    ------
    PipelineError
        If the record or the package rocrate is missing, or the crate cannot be written.
    """
    options = _parser().parse_args(arguments)
    job = job_directory_of(options.job_directory, options.config).absolute()
    record = load_record(job)
    target = Path(options.output) if options.output else job / "crate"
    crate = build_crate(record, job, options)
    _write(crate, target)
    if not options.license:
        print("no license is given: archives ask for one; give it with --license URL")
    print(target)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Reader(
        prog="genericpipeline.py crate", description="Packs a run as an RO-Crate: record, images, where they come from."
    )
    parser.add_argument("job_directory", help="the job directory of a run, or its parset")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration with which the parset was run")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="where; a name that ends in .zip: one file; default: crate/"
    )
    parser.add_argument("--references", action="store_true", help="name the products, and copy only record and report")
    parser.add_argument(
        "--license", metavar="URL", help="license of the crate, such as https://spdx.org/licenses/CC-BY-4.0"
    )
    parser.add_argument("--author", metavar="NAME", help="author of the run; default: its login name")
    parser.add_argument(
        "--orcid", metavar="URL", help="ORCID of the author, such as https://orcid.org/0000-0002-1825-0097"
    )
    return parser


def build_crate(record: Facts, job: Path, options: argparse.Namespace) -> Any:
    """Return the crate of a run; files are copied when it is written.

    Raises
    ------
    PipelineError
        If the package rocrate is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as err:
        raise PipelineError("the package rocrate is not installed: pip install 'genericpipeline[crate]'") from err
    return CrateBuilder(ROCrate(version=CRATE_VERSION), record, job, options).build()


class CrateBuilder:
    """Puts the parts of a record into an empty crate."""

    def __init__(self, crate: Any, record: Facts, job: Path, options: argparse.Namespace) -> None:
        self._crate = crate
        self._record = record
        self._job = job
        self._options = options

    def build(self) -> Any:
        """Return the crate with everything in it."""
        self._describe()
        agent = self._agent()
        software = self._software()
        workflow = self._workflow(software["genericpipeline"])
        inputs = [self._reference(entry) for entry in self._record["inputs"]]
        products = [self._product(name, entry) for name, entry in product_names(self._record).items()]
        records = [self._copy(self._job / name, name, kind) for name, kind in RECORDS.items()]
        results = [*products, *(one for one in records if one is not None)]
        self._run(workflow, agent, inputs, results)
        self._steps(software, agent)
        return self._crate

    def _add(self, identifier: str, properties: Mapping[str, Any]) -> Any:
        from rocrate.model.contextentity import ContextEntity

        return self._crate.add(ContextEntity(self._crate, identifier, properties=dict(properties)))

    # ---- the crate: people and programs

    def _describe(self) -> None:
        run, crate = self._record["run"], self._crate
        crate.metadata.extra_terms.update(TERMS)
        crate.name = f"LOFAR pipeline run {run['job']}"
        crate.description = (
            f"The run {run['job']} of the pipeline {Path(self._record['parset']['path']).name}, {run['state']}"
        )
        crate.root_dataset["conformsTo"] = [
            self._add(profile, {"@type": "CreativeWork", "name": name, "version": profile.rsplit("/", 1)[1]})
            for profile, name in PROFILES.items()
        ]
        crate.metadata["conformsTo"] = [
            {"@id": f"https://w3id.org/ro/crate/{CRATE_VERSION}"},
            {"@id": WORKFLOW_PROFILE},
        ]
        if self._options.license:
            crate.license = self._add(self._options.license, {"@type": "CreativeWork", "name": self._options.license})

    def _agent(self) -> Any:
        name = self._options.author or self._record["host"]["user"]
        agent = self._add(self._options.orcid or f"#person-{name.replace(' ', '-')}", {"@type": "Person", "name": name})
        self._crate.root_dataset["author"] = agent
        return agent

    def _software(self) -> dict[str, Any]:
        """Add the runner, and the programs with their versions; scripts of the pipeline are the runner's."""
        runner = self._record["software"]["runner"]
        version = runner["version"] + (f" ({runner['commit']})" if runner["commit"] else "")
        applications = {"genericpipeline": self._application("genericpipeline", version)}
        for program in self._record["software"]["programs"]:
            if not _is_ours(program, runner) and program["name"] not in applications:
                applications[program["name"]] = self._application(
                    program["name"], program["version"], program.get("sha256")
                )
        for package in self._record["software"]["packages"]:
            if package["name"] in ("everybeam", "python-casacore", "bdsf"):
                self._application(package["name"], package["version"])
        return applications

    def _application(self, name: str, version: str | None, sha256: str | None = None) -> Any:
        facts: Facts = {"@type": "SoftwareApplication", "name": name}
        if version:
            facts["softwareVersion"] = version
        if sha256:
            facts["sha256"] = sha256
        if key := program_key(name):
            facts["url"] = KNOWN_PROGRAMS[key].home
        return self._add(f"#{name}", facts)

    def _workflow(self, runner: Any) -> Any:
        """Add the parset, with everything in it, as the workflow."""
        from rocrate.model.computerlanguage import ComputerLanguage

        language = self._crate.add(
            ComputerLanguage(
                self._crate, "#parset", properties={"name": "LOFAR generic pipeline parset", "alternateName": "parset"}
            )
        )
        path = _text_file(self._job, self._record)
        workflow = self._crate.add_workflow(path, path.name, main=True, lang=language)
        workflow["name"] = Path(self._record["parset"]["path"]).name
        workflow["encodingFormat"] = "text/plain"
        workflow["softwareRequirements"] = runner
        return workflow

    # ---- files

    def _reference(self, entry: Facts) -> Any:
        """Add something that stays where it is."""
        add = self._crate.add_dataset if entry["kind"] == "table" else self._crate.add_file
        uri = Path(entry["path"]).as_uri() + ("/" if entry["kind"] == "table" else "")
        return add(uri, fetch_remote=False, properties=_file_facts(entry))

    def _product(self, name: str, entry: Facts) -> Any:
        path = Path(entry["path"])
        if self._options.references or entry["kind"] == "table" or not path.is_file():
            return self._reference(entry)
        place = f"delivered/{path.name}" if name.startswith("/") else f"products/{name}"
        if self._crate.get(place) is not None:  # the same name in two delivery directories
            return self._reference(entry)
        return self._crate.add_file(path, place, properties=_file_facts(entry))

    def _copy(self, path: Path, name: str, kind: str) -> Any:
        if not path.is_file():
            return None
        facts = {"name": name, "encodingFormat": kind, "contentSize": str(path.stat().st_size)}
        return self._crate.add_file(path, name, properties=facts)

    # ---- actions

    def _run(self, workflow: Any, agent: Any, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        run = self._record["run"]
        facts = {**_times(run), "name": f"Run {run['number']} of {run['job']}", "actionStatus": _status(run["state"])}
        facts["description"] = " ".join(run["argv"])
        if run["problem"]:
            facts["error"] = run["problem"].partition("\n")[0]
        action = self._crate.add_action(
            workflow, identifier="#run", object=list(inputs), result=list(results), properties=facts
        )
        self._append_action(action, agent)

    def _steps(self, software: Mapping[str, Any], agent: Any) -> None:
        """Add an action for each step with a named program."""
        states = {step["name"]: step for step in self._record["steps"]}
        for name, step in self._programs_of_steps():
            if name in software and step in states and states[step]["started"]:
                facts = {**_times(states[step]), "name": f"Step {step}", "actionStatus": _status(states[step]["state"])}
                facts["description"] = f"{states[step]['jobs']} jobs of {name}"
                action = self._crate.add_action(software[name], identifier=f"#step-{step}", properties=facts)
                self._append_action(action, agent)

    def _append_action(self, action: Any, agent: Any) -> None:
        action["agent"] = agent
        self._crate.root_dataset.append_to("mentions", action)

    def _programs_of_steps(self) -> Iterable[tuple[str, str]]:
        for program in self._record["software"]["programs"]:
            for step in program["steps"]:
                yield program["name"], step


def _is_ours(program: Facts, runner: Facts) -> bool:
    """Return whether a program is a script of the runner: in a checkout beside the package, else within it."""
    package, path = Path(runner["path"]), Path(program["path"])
    return path.is_relative_to(package) or path.is_relative_to(package.parent / "scripts")


def _text_file(job: Path, record: Facts) -> Path:
    """Write the self-contained parset beside the record, for the crate to copy."""
    from lofarpipe.support.utilities import write_atomically

    folder = job / "parsets"
    path = folder / f"{Path(record['parset']['path']).stem}.whole.parset"
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(path, record["parset"]["text"])
    except OSError as err:
        raise PipelineError(f"{path}: cannot be written: {err.strerror}") from err
    return path


def _file_facts(entry: Facts) -> Facts:
    path = Path(entry["path"])
    facts = {"name": path.name, "contentSize": str(entry["bytes"])}
    if entry["checksum"]["method"] == "full" and entry["kind"] == "file":
        facts["sha256"] = entry["checksum"]["value"]
    else:
        method, value = entry["checksum"]["method"], entry["checksum"]["value"]
        facts["description"] = f"sha256, {method} ({entry['kind']}; see doc/run_record.md): {value}"
    if path.suffix in FORMATS:
        facts["encodingFormat"] = FORMATS[path.suffix]
    return facts


def _times(facts: Facts) -> Facts:
    """Return the known start and end, with a UTC offset instead of Z, as the profiles require."""
    pairs = {"startTime": facts["started"], "endTime": facts["ended"]}
    return {key: value.replace("Z", "+00:00") for key, value in pairs.items() if value}


def _status(state: str) -> str:
    return f"http://schema.org/{STATES.get(state, 'FailedActionStatus')}"


def _write(crate: Any, target: Path) -> None:
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise PipelineError(f"{target}: already exists; remove it, or choose another place with -o")
    try:
        (crate.write_zip if target.suffix == ".zip" else crate.write)(target)
    except OSError as err:
        raise PipelineError(f"{target}: the crate cannot be written: {err}") from err
