"""Run CASA tasks, in the Python with casatasks; a standalone program without imports of this package.

``python casa_tasks.py REQUEST.json RESULTS.json``: the request is a list of tasks with their keywords; the file gets a
list of their results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OUTPUTS = ("caltable", "fluxtable")  # keywords for a task's output tables


def json_value(value: Any) -> Any:
    """Return the result of a task as JSON has it."""
    if isinstance(value, dict):
        return {str(key): json_value(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):
        return json_value(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_value(entry) for entry in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def main(request: str, results: str) -> int:
    """Run the tasks of a request in order; on failure return 1, with the reason on stderr."""
    import casatasks

    values = []
    for task in json.loads(Path(request).read_text()):
        name, keywords = task["task"], task["keywords"]
        print(f"{name}({', '.join(f'{key}={value!r}' for key, value in keywords.items())})", flush=True)
        try:
            values.append(json_value(getattr(casatasks, name)(**keywords)))
        except Exception as err:
            print(f"{name}: {' '.join(str(err).split()) or type(err).__name__}", file=sys.stderr)
            return 1
        for key in OUTPUTS:
            if key in keywords and not Path(keywords[key]).exists():
                print(f"{name}: wrote no {keywords[key]}: it found no solution", file=sys.stderr)
                return 1
    Path(results).write_text(json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
