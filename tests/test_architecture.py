"""The rules of the house that no other tool checks: imports go down, nothing is evaluated, functions stay short."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lofarpipe.programs.wsclean.checks import ALLOWED, CHECKED, OF_THE_PIPELINE, REFUSED, WEIGHTING

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "lofarpipe"
SOURCES = sorted(path for folder in ("lofarpipe", "plugins", "scripts") for path in (REPOSITORY / folder).rglob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))

# Lowest first; a module may import its own layer and those before it. Every module and package is named.
LAYERS = (
    {"errors"},
    {"support", "jobs"},
    {"config", "imaging"},
    {"programs", "state"},
    {"executors", "report"},
    {"pipeline"},
    {"archive"},
    {"engine"},
    {"cli", "__main__"},
)
LONGEST_FUNCTION = 60  # lines
LONGEST_MODULE = 600  # lines
FORBIDDEN_NAMES = {"eval", "exec"}
FORBIDDEN_ATTRIBUTES = {"os.chdir", "os.fchdir", "os.system", "os.popen", "contextlib.chdir", "builtins.eval"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
HEAVY_MODULES = ("astropy", "bdsf", "casacore", "everybeam", "matplotlib", "numpy", "rich", "scipy")


def module_name(path: Path) -> str:
    """lofarpipe/support/__init__.py is ``lofarpipe.support``."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, own_package: str) -> Iterator[str]:
    """Names of the modules that a file imports, inside functions too; ``from a import b`` gives ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = own_package.split(".")[: len(own_package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def layer(module: str) -> int:
    """Place of a module of the package in LAYERS; the package itself, which imports nothing, is the lowest."""
    part = module.split(".")[1] if "." in module else "errors"
    return next(index for index, names in enumerate(LAYERS) if part in names)


def upward_imports(source: str, module: str) -> list[str]:
    names = imported(ast.parse(source), module.rpartition(".")[0])
    own = [name for name in names if name.split(".")[0] == "lofarpipe" and name.split(".")[1:2] != ["__version__"]]
    return [name for name in own if layer(name) > layer(module)]


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """One cycle of a directed graph, or []."""
    done: set[str] = set()

    def visit(node: str, path: tuple[str, ...]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        found = next((cycle for after in sorted(graph[node]) if (cycle := visit(after, (*path, node)))), [])
        done.add(node)
        return found

    return next((cycle for node in sorted(graph) if (cycle := visit(node, ()))), [])


def forbidden(source: str) -> list[str]:
    """Forbidden constructs of a file, each with its line."""
    return [f"line {node.lineno}: {what}" for node in ast.walk(ast.parse(source)) if (what := forbidden_at(node))]


def forbidden_at(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name in FORBIDDEN_NAMES | FORBIDDEN_ATTRIBUTES:
            return name
        if any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords):
            return "shell=True"
    if isinstance(node, ast.Import | ast.ImportFrom):
        return next((name for name in imported(node, "") if name.split(".")[0] in FORBIDDEN_MODULES), "")
    return "bare except" if isinstance(node, ast.ExceptHandler) and node.type is None else ""


def long_functions(source: str) -> list[str]:
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    return [f"{name}: {length} lines" for name, length in lengths.items() if length > LONGEST_FUNCTION]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    assert upward_imports(path.read_text(), module_name(path)) == []


def test_imports_have_no_cycle() -> None:
    known = {module_name(path) for path in MODULES}
    graph = {}
    for path in MODULES:
        own = module_name(path)
        package = own if path.name == "__init__.py" else own.rpartition(".")[0]
        graph[own] = (set(imported(ast.parse(path.read_text()), package)) & known) - {own}
    assert find_cycle(graph) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_forbidden_constructs_are_absent(path: Path) -> None:
    assert forbidden(path.read_text()) == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_patterns_have_no_possessive_groups(path: Path) -> None:
    # With choices in the group that goes wrong before Python 3.11.5, and Debian 12 has 3.11.2.
    assert not re.search(r"\)(?:[*+?]|\{[\d,]+\})\+", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_functions_and_modules_stay_short(path: Path) -> None:
    assert long_functions(path.read_text()) == []
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_public_names_are_documented() -> None:
    missing = [
        f"{module_name(path)}.{node.name}"
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert missing == []


PROGRAM_NAMES = re.compile("wsclean|dp3|dppp", re.IGNORECASE)
NAMING = ("programs", "cli/imgpipe", "cli/spice")  # of front ends: sections or options of their users have the name
# It writes names and headers as that program does, for the steps behind it.
ALIKE = {PACKAGE / "imaging/imager/products.py"}
# Where a program's name stands in code elsewhere, and why.
NAMES_ALLOWED = {
    ("archive/software.py", "dp3"),  # a Python package of that name
    ("imaging/ms/names.py", ".average_dpppconcat.ms"),  # the end of a file name that has to stay
}


def program_names(source: str) -> set[str]:
    """Identifiers, and strings without a blank, that have a program's name; texts for people have blanks."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        text = getattr(node, "id", getattr(node, "attr", getattr(node, "arg", getattr(node, "value", None))))
        if isinstance(text, str) and PROGRAM_NAMES.search(text) and not re.search(r"\s", text.strip()):
            found.add(text)
    return found


def test_program_names_stay_in_programs() -> None:
    paths = [path for path in MODULES if not {PACKAGE / place for place in NAMING} & set(path.parents)]
    named = {(str(path.relative_to(PACKAGE)), name) for path in paths for name in program_names(path.read_text())}
    assert named == NAMES_ALLOWED


def test_program_name_is_detected() -> None:
    assert program_names("if program == 'wsclean':\n    WSCLEAN_X = a.dp3") == {"wsclean", "WSCLEAN_X", "dp3"}
    assert program_names("raise ValueError('DP3 refuses it')") == set()


# What belongs to a program without its name: options with a dash, keys of DP3, header keywords, names of files.
OWN_OPTIONS = {word for word in (*ALLOWED, *CHECKED, *OF_THE_PIPELINE, *REFUSED, *WEIGHTING) if "-" in word}
OWN_WORDS = re.compile(
    r"\b(msin|msout)\b|^(numthreads|checkparset)\b|^WSC[A-Z]{3,}$|-MFS\b"
    r"|-(image|model|residual|psf|dirty|primary-beam|effective-frequency)(-pb)?\.fits"
)
# Where such a word stands outside programs/, and why.
WORDS_ALLOWED = {(f"lofarpipe/cli/{name}.py", "--dry-run") for name in ("arguments", "clean")}  # ours has the same name
WORDS_ALLOWED |= {("lofarpipe/pipeline/hints.py", "msin")}  # which users type for our option


def own_words(source: str) -> set[str]:
    """Strings without a blank that are, or have, a word of a program; texts for people have blanks."""
    nodes = list(ast.walk(ast.parse(source)))
    texts = {node.value.strip() for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    words = {text for text in texts if not re.search(r"\s", text)}
    return {word for word in words if word.lstrip("-") in OWN_OPTIONS or OWN_WORDS.search(word)}


def test_program_words_stay_in_programs() -> None:
    named = {PACKAGE / place for place in NAMING}
    paths = [path for path in SOURCES if not named & set(path.parents) and path not in ALIKE]
    found = {(str(path.relative_to(REPOSITORY)), word) for path in paths for word in own_words(path.read_text())}
    assert found == WORDS_ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "step.arguments.get('idg-mode')",
        "argv += ['-channels-out', '3']",
        "f'msin={path}'",
        "header['WSCMAJOR']",
        "root + '-MFS-image.fits'",
        "ENDINGS = ('-image-pb.fits',)",
    ],
)
def test_program_word_is_detected(source: str) -> None:
    assert len(own_words(source)) == 1
    assert own_words("raise ValueError('set -channels-out, or msin= and -MFS-image.fits')") == set()


@pytest.mark.parametrize("module", ["lofarpipe.cli", "lofarpipe.support.data_map", "lofarpipe.support.parset"])
def test_startup_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY_MODULES} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


# The checks themselves, on sources that must not pass.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lofarpipe.support.data_map", "from lofarpipe.pipeline.steps import Step"),
        ("lofarpipe.support.data_map", "def late():\n    import lofarpipe.imaging.plan"),
        ("lofarpipe.support.data_map", "from lofarpipe import cli"),
        ("lofarpipe.support.data_map", "from ..state.journal import Journal"),
        ("lofarpipe.pipeline.steps", "from ..engine import run"),
    ],
)
def test_upward_import_is_detected(module: str, source: str) -> None:
    assert upward_imports(source, module)


def test_downward_import_passes() -> None:
    assert (
        upward_imports(
            "from lofarpipe.support.parset import Parset\nfrom ..programs import argv", "lofarpipe.engine.run"
        )
        == []
    )


def test_cycle_is_detected() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(code)",
        "run('ls', shell=True)",
        "run('ls', shell=flag)",
        "import pickle",
        "from pickle import loads",
        "os.chdir('/')",
        "os.system('ls')",
        "try:\n    x = 1\nexcept:\n    pass",
    ],
)
def test_forbidden_construct_is_detected(source: str) -> None:
    assert len(forbidden(source)) == 1


def test_allowed_construct_is_accepted() -> None:
    assert forbidden("import ast\nast.literal_eval('1')\nrun(['ls'], shell=False)\nevaluate(1)") == []


def test_long_function_is_detected() -> None:
    body = "    pass\n" * 60
    assert long_functions(f"def f():\n{body}") == ["f: 61 lines"]
    assert long_functions(f"def f():\n{body[:-9]}") == []
