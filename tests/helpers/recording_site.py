"""A site whose programs only record how they were called."""

import json
import sys
from pathlib import Path

from lofarpipe.cli import main
from lofarpipe.support.data_map import DataMap, DataProduct

CONFIG = """\
[DEFAULT]
runtime_directory = {here}/run
working_directory = {here}/work
recipe_directories = [{here}/my]
task_files = [{here}/tasks.cfg]

[layout]
job_directory = %(runtime_directory)s/%(job_name)s

[remote]
method = local
max_per_node = 4
"""
TASKS = """\
[executable_args]
recipe = executable_args
nthreads = 8

[pythonplugin]
recipe = executable_args
nodescript = python_plugin
nthreads = 8

[dppp]
recipe = executable_args
executable = {here}/bin/show
args_format = lofar
outputkey = msout
nthreads = 8
"""
# Fails where an argument says so: FAIL, or FAIL:<basename> for one of several products.
PROGRAM = """\
#!{python} -IS
import json, os, sys
names = {{os.path.basename(arg) for arg in sys.argv[1:]}}
with open({trace!r}, "a") as trace:
    trace.write(json.dumps({{"name": os.path.basename(sys.argv[0]), "args": sys.argv[1:], "cwd": os.getcwd(),
                            "env": dict(os.environ)}}) + "\\n")
failing = [arg.partition(":")[2] for arg in sys.argv[1:] if arg.startswith("FAIL")]
sys.exit(7 if any(not name or name in names for name in failing) else 0)
"""
RECORDING = """\
import json, os

def record(name, args, kwargs):
    with open({trace!r}, "a") as trace:
        trace.write(json.dumps({{"name": name, "args": list(args), "kwargs": kwargs, "cwd": os.getcwd()}}) + "\\n")

"""


class Site:
    """A directory with configuration, stub programs and a record of every call."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.trace = here / "trace.jsonl"
        self.job = "p"
        for name in ("run", "work", "bin", "data", "my/plugins", "my/scripts"):
            (here / name).mkdir(parents=True)
        (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
        (here / "tasks.cfg").write_text(TASKS.format(here=here))
        self.program("show")

    def program(self, name: str) -> Path:
        path = self.here / "bin" / name
        path.write_text(PROGRAM.format(python=sys.executable, trace=str(self.trace)))
        path.chmod(0o755)
        return path

    def script(self, name: str, body: str = "pass") -> Path:
        """Make a script for a pythonplugin step; ``body`` sees args and kwargs."""
        text = RECORDING.format(trace=str(self.trace))
        text += f"def main(*args, **kwargs):\n    record({name!r}, args, kwargs)\n    {body}\n"
        path = self.here / "my" / "scripts" / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def plugin(self, name: str, body: str = "pass") -> Path:
        """Make a plugin; ``body`` sees args and kwargs."""
        text = RECORDING.format(trace=str(self.trace))
        text += f"def plugin_main(args, **kwargs):\n    record({name!r}, [args], kwargs)\n    {body}\n"
        path = self.here / "my" / "plugins" / f"PipelineStep_{name}.py"
        path.write_text(text)
        return path

    def mapfile(self, name: str, *files: str, skip: tuple[int, ...] = (), host: str = "localhost") -> str:
        path = self.here / "data" / name
        DataMap([DataProduct(host, file, i in skip) for i, file in enumerate(files)]).save(str(path))
        return str(path)

    def run(self, text: str, *arguments: str, lenient: bool = True, name: str = "p.parset") -> int:
        """Run a pipeline; ``@`` in the text stands for the directory of the site."""
        (self.here / name).write_text(text.replace("@", str(self.here)))
        self.job = Path(name).stem
        strictness = ["--lenient"] if lenient else []
        return main([str(self.here / name), "-c", str(self.here / "pipeline.cfg"), "-q", *strictness, *arguments])

    def calls(self, name: str = "") -> list[dict]:
        """Return the calls in the order in which they happened, of all or of one program."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return [call for call in map(json.loads, lines) if name in ("", call["name"])]

    def args(self, name: str = "") -> list[list]:
        """Return the arguments of every call, with the directory of the site as ``@``."""
        return [json.loads(json.dumps(call["args"]).replace(str(self.here), "@")) for call in self.calls(name)]

    def map(self, name: str) -> list[tuple[str, bool]] | None:
        """Return (file, skip) of the entries of a map of the run, the site as ``@``; None if it was not written."""
        path = self.here / "run" / self.job / "mapfiles" / f"{name}.mapfile"
        if not path.exists():
            return None
        return [(p.file.replace(str(self.here), "@"), p.skip) for p in DataMap.load(str(path)).data]

    def parset(self, step: str) -> str:
        return (self.here / "run" / self.job / "parsets" / f"{step}.parset").read_text()
