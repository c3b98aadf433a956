"""The pages are true: commands run, parsets load, scripts work, links have targets."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import casacore.tables
import numpy as np
import pytest
from astropy.io import fits

from doc_pages import (
    FRONT_ENDS,
    PAGES,
    REPOSITORY,
    Block,
    anchors,
    blocks,
    blocks_of_kind,
    code_words,
    column_words,
    links,
    table,
)
from lofarpipe.cli import status
from lofarpipe.cli.arguments import COMMANDS, VERBS, parser
from lofarpipe.cli.lofar_clean import split_words
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.control import FEEDBACK_KEYS, control_keys
from lofarpipe.pipeline.options import check_value
from lofarpipe.pipeline.steps import KINDS
from lofarpipe.programs.find import find
from lofarpipe.programs.lofar_clean.options import option_findings
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.parset import Parset

TOUR, STEPS_PAGE, PARSET_PAGE = (REPOSITORY / "doc" / name for name in ("tour.md", "add_a_step.md", "parset.md"))
# Pages speak of the project alone: no places of one machine, no numbers of tickets, no papers behind the scenes.
UNWANTED = re.compile(
    r"/work/|/tmp/\w|/root|\bissues? #?\d|#\d+\b|(?<!doc/)\bspec/|notes/|prototype|workplace|\bTODO\b"
    r"|(?<!tests/)\bhelper",
    re.I,
)


def by_name(found: list[Block]) -> dict[str, object]:
    """Return the arguments with which a test is made for each block."""
    return {"argvalues": found, "ids": [block.name for block in found]}


def commands(block: Block) -> list[list[str]]:
    """Return the commands of a shell block, comments dropped."""
    return [shlex.split(line, comments=True) for line in block.text.splitlines() if line]


def run(argv: list[str], here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=here, capture_output=True, text=True, check=False)


@pytest.fixture
def field(tmp_path, hba_set):
    """A directory as a reader of the pages has it: data/, archive/, field.parset from README, and a pipeline.cfg."""
    for name in ("wsclean", "DP3"):
        try:
            find(name)
        except PipelineError as err:
            pytest.skip(str(err))
    (tmp_path / "data").mkdir()
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 3360, "NAXIS2": 3360})  # as the image
    header.tofile(tmp_path / "data" / "mask.fits")
    shutil.copytree(hba_set, tmp_path / "data" / "L628614_SB000.MS")
    (tmp_path / "data" / "L628620_SB000.MS").symlink_to(tmp_path / "data" / "L628614_SB000.MS")
    (tmp_path / "demo/observation").mkdir(parents=True)
    (tmp_path / "demo/observation/a.MS").symlink_to(tmp_path / "data" / "L628614_SB000.MS")
    (example,) = [block for block in blocks(REPOSITORY / "README.md") if block.kind == "parset"]
    (tmp_path / "field.parset").write_text(placed(example.text, tmp_path))
    (fields,) = [block for block in blocks(TOUR) if block.kind == "table"]
    (tmp_path / "fields.csv").write_text(placed(fields.text, tmp_path))
    shutil.copy(REPOSITORY / "cfg" / "pipeline.cfg", tmp_path)
    return tmp_path


def placed(text: str, here: Path) -> str:
    """Return a text of the pages with its directories below ``here``."""
    return text.replace("/data/", f"{here}/data/").replace("/archive/", f"{here}/archive/")


# ---- blocks


def test_block_kinds_are_distinguished():
    kinds = {block.kind for page in PAGES for block in blocks(page)}
    assert kinds == {"session", "shell", "python", "table", "config", "toml", "yaml", "sections", "parset", "formula"}


def test_only_image_page_has_formulas():
    assert {block.page.name for block in blocks_of_kind("formula")} == {"image.md"}


# ---- commands


@pytest.mark.parametrize("block", **by_name(blocks_of_kind("shell")))
def test_documented_commands_are_accepted(block, field):
    for program, *arguments in commands(block):
        if program in FRONT_ENDS:
            check_front_end(program, arguments)
        else:
            CHECKS[Path(program).name](field, [placed(word, field) for word in arguments])


def check_runner(here: Path, arguments: list[str]) -> None:
    """Run it; where it would make an image, everything up to the first job; of a sub-command, see that it has them."""
    if arguments[0] in COMMANDS:
        helped = run([sys.executable, "-m", "lofarpipe.cli", arguments[0], "--help"], here)
        assert helped.returncode == 0, helped.stderr
        assert [word for word in arguments if word.startswith("-") and word not in helped.stdout] == []
        return
    views = {"--options", "--check", "--list", "--dry-run", "--forget", *VERBS} - {"run"}
    more = [] if views & set(arguments) else ["--check"]
    done = run([sys.executable, "-m", "lofarpipe.cli", *arguments, *more], here)
    assert done.returncode == 0, done.stderr


def check_make(_: Path, arguments: list[str]) -> None:
    done = run(["make", "--dry-run", *arguments], REPOSITORY)
    assert done.returncode == 0, done.stderr


def check_pip(_: Path, arguments: list[str]) -> None:
    """Installing needs the network and minutes: the named extras and files must exist."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert arguments[0] == "install"
    for extra in re.findall(r"\[(\w+)\]", arguments[1]):
        assert extra in project["optional-dependencies"]


def check_apt_get(_: Path, arguments: list[str]) -> None:
    """Installing needs root: the set-up script installs the same packages."""
    assert arguments[0] == "install"
    set_up = (REPOSITORY / "tools" / "set-up").read_text()
    installed = {*re.findall(r"([\w.-]+)\\n", set_up), *re.findall(r"apt_install (\w+)", set_up)}
    assert installed >= {*arguments[1:]}


def check_python(here: Path, arguments: list[str]) -> None:
    """Run a script; of a benchmark, which takes minutes, see that it has these options."""
    script = REPOSITORY / arguments[0]
    if script.parent.name == "benchmarks":
        help_text = run([sys.executable, str(script), "--help"], here).stdout
        assert all(word in help_text for word in arguments if word.startswith("--"))
        return
    done = run([sys.executable, str(script), *arguments[1:]], here)
    assert done.returncode == 0, done.stderr


def check_front_end(program: str, arguments: list[str]) -> None:
    """See that the front end has these options; the test of its page runs the commands."""
    helped = run([sys.executable, "-m", "lofarpipe.cli", program, "--help"], REPOSITORY).stdout
    assert [word for word in arguments if word.startswith("-") and word not in helped] == []


def check_conda(_: Path, arguments: list[str]) -> None:
    """Nothing is made here: named files exist, and packages are those of environment.yml."""
    described = (REPOSITORY / "environment.yml").read_text()
    if arguments[0] == "activate":
        assert f"\nname: {arguments[1]}\n" in described
    elif arguments[0] == "env":
        assert (REPOSITORY / arguments[arguments.index("-f") + 1]).is_file()
    else:
        channels = [arguments[place + 1] for place, word in enumerate(arguments) if word == "-c"]
        assert all(f"\n  - {channel}" in described for channel in channels)
        assert f"::{arguments[-1]}\n" in described


def check_container(here: Path, arguments: list[str]) -> None:
    """Nothing is built here: named files exist, and the command in the container is possible."""
    built = [word for word in arguments if word.startswith("container/")]
    assert all((REPOSITORY / name).is_file() for name in built)
    assert bool(built) == (arguments[0] == "build")
    if not built:
        check_runner(here, arguments[arguments.index("genericpipeline.py") + 1 :])


def check_imager(_: Path, arguments: list[str]) -> None:
    given, sets = split_words(arguments)
    assert sets
    assert option_findings(given) == []


CHECKS = {
    "conda": check_conda,
    "apptainer": check_container,
    "podman": check_container,
    "lofar-clean": check_imager,
    "genericpipeline.py": check_runner,
    "make": check_make,
    "pip": check_pip,
    "apt-get": check_apt_get,
    "python": check_python,
}


def test_wrong_commands_are_rejected(field):
    with pytest.raises(AssertionError, match="did you mean 'robust'"):
        check_runner(field, ["field.parset", "-s", "robst=1"])
    with pytest.raises(AssertionError):
        check_runner(field, ["repeat", "image/run.json", "--no-such-option"])
    with pytest.raises(AssertionError, match="No rule"):
        check_make(field, ["imaeg"])
    with pytest.raises(AssertionError):
        check_pip(field, ["install", ".[nothing]"])
    with pytest.raises(AssertionError):
        check_python(field, ["benchmarks/overhead.py", "--no-such-option"])


def test_documented_runner_options_exist():
    actions = [*parser()._actions, *status.parser()._actions]
    known = {word for action in actions for word in action.option_strings}
    named = {word for page in (TOUR, REPOSITORY / "README.md") for word in code_words(page.read_text())}
    options = {word.split()[0] for word in named if re.fullmatch(r"--?[a-z]+( .*)?", word)}
    assert {"-s", "-c", "-j", "-q", "--lenient", "--check"} <= options
    assert options <= known


# ---- parsets


@pytest.mark.parametrize("block", **by_name([block for block in blocks_of_kind("parset") if not block.file]))
def test_documented_parsets_pass_the_check(block, field):
    parset = Parset.parse(block.text, block.name)
    assert len(parset)
    if "pipeline.base" in parset or "pipeline.steps" in parset:
        text = (
            placed(block.text, field)
            .replace("L1_SB000.MS", "L628614_SB000.MS")
            .replace(f", {field}/data/L1_SB001.MS", "")
        )
        (field / "example.parset").write_text(text)
        set_ = (
            []
            if "data_input_filenames" in text or "addListMapfile" in text
            else ["-s", f"data_input_filenames=[{field}/data/L628614*.MS]"]
        )
        check_runner(field, ["example.parset", *set_, "--memory-gb", "128"])  # some are for nodes of a cluster


def test_grammar_example_has_documented_values(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    block = next(block for block in blocks(PARSET_PAGE) if block.kind == "parset")
    parset = Parset.parse(block.text).substituted()
    assert parset.string("key") == "value"
    assert parset.string("quoted") == "a # inside quotes"
    assert parset.vector("several") == ["a", "b, c", "d"]
    assert parset.string("scale") == "0.002"
    assert parset.definitions()["scratch"].value == "/home/me/scratch"
    assert parset.definitions()["cellsize"].comment == "{number > 0} a definition; after ## its documentation"


def test_page_lists_every_control_key_default():
    rows = {code_words(row[0])[0]: row[1].strip("`") for row in table(PARSET_PAGE, "| key | default")}
    keys = control_keys(["a limit of any program"], "")
    assert list(rows) == list(keys)
    for key, known in keys.items():
        is_empty = known.default in ("", [], {})
        assert rows[key] == ("" if is_empty else f"{known.default:g}" if known.kind == "number" else str(known.default))
    (sentence,) = re.findall(r"of a feedback step: (.*)\.", PARSET_PAGE.read_text())
    assert code_words(sentence) == list(FEEDBACK_KEYS)


def test_documented_kinds_and_domains_exist():
    assert column_words(PARSET_PAGE, "| kind |") == set(KINDS)
    for domain in column_words(PARSET_PAGE, "| domain |"):
        value = {"{cpu": "cpu", "{True": "True", "{list}": "[a]", "{some": "psf, dirty"}.get(domain.split()[0], "1")
        check_value(value, domain.strip("{}"))


# ---- examples that run


def test_flagging_step_flags_the_short_baselines(field):
    (block,) = [block for block in blocks(STEPS_PAGE) if "uvmmin" in block.text]
    (field / "flag.parset").write_text(block.text)
    set_ = field / "data" / "L628614_SB000.MS"
    done = run([sys.executable, "-m", "lofarpipe.cli", "flag.parset", "-s", f"data_input_filenames=[{set_}]"], field)
    assert done.returncode == 0, done.stderr
    with casacore.tables.table(str(field / "flag" / "L628614_SB000.my_flags.ms"), ack=False) as made:
        flags, uvw = made.getcol("FLAG").mean(axis=(1, 2)), made.getcol("UVW")
    is_short = np.hypot(uvw[:, 0], uvw[:, 1]) < 80
    assert 0 < is_short.sum() < len(flags)
    assert (flags[is_short] == 1).all()
    assert flags[~is_short].mean() < 0.5


IMAGES = """
pipeline.steps = [images, sizes, flux, first]
images.control.kind        = plugin
images.control.type        = addListMapfile
images.control.hosts       = [localhost]
images.control.files       = [one.fits, two.fits]
images.control.mapfile_dir = input.output.mapfile_dir
images.control.filename    = images.mapfile
"""


def test_documented_script_plugin_and_program_work(tmp_path):
    found = [block for block in blocks(STEPS_PAGE) if not block.file]
    script, plugin = (block.text for block in found if block.kind == "python")
    fragments = [block.text for block in found if block.kind == "parset" and "pipeline.steps" not in block.text]
    (tmp_path / "measure_flux.py").write_text(script)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "PipelineStep_firstFile.py").write_text(plugin)
    (tmp_path / "new.parset").write_text("\n".join([IMAGES, *fragments]))
    for name in ("one.fits", "two.fits"):
        (tmp_path / name).write_text(name)
    done = run([sys.executable, "-W", "error", "-m", "lofarpipe.cli", "new.parset"], tmp_path)
    assert done.returncode == 0, done.stderr
    maps = tmp_path / "new" / "mapfiles"
    assert [product.file for product in DataMap.load(str(maps / "flux.flux.mapfile")).data] == ["1.5", "1.5"]
    assert [product.file for product in DataMap.load(str(maps / "first.mapfile")).data] == [str(tmp_path / "one.fits")]
    assert f"du -s {tmp_path}/one.fits" in (tmp_path / "new" / "commands.txt").read_text()


def test_tour_pipeline_writes_listed_files(field):
    block = next(blocks(TOUR))
    text = (
        placed(block.text, field).replace("L1_SB000.MS", "L628614_SB000.MS").replace(f", {field}/data/L1_SB001.MS", "")
    )
    (field / "tour.parset").write_text(text)
    done = run([sys.executable, "-m", "lofarpipe.cli", "tour.parset"], field)
    assert done.returncode == 0, done.stderr
    assert (field / "tour" / "L628614_SB000.average.ms").is_dir()
    for word in column_words(TOUR, "| path | content |") - {"jobs/<step>/"}:
        pattern = word.replace("<step>", "average").replace("<job>", "000").replace("<start time>", "2*")
        assert list((field / "tour").glob(pattern.rstrip("/"))), word


# ---- texts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_have_targets(page):
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page):
    for word in code_words(page.read_text()):
        if re.fullmatch(r"(benchmarks|scripts|cfg|steps|plugins|tests|doc|tools)/[\w/.-]*\.\w+", word):
            assert (REPOSITORY / word).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_contain_no_unwanted_words(page):
    assert UNWANTED.findall(page.read_text()) == []


def test_unwanted_words_are_recognised():
    for text in ("see /work/main", "issue 12", "fixes #12", "spec/imaging.md", "docs/spec/a.md"):
        assert UNWANTED.search(text)


def test_pages_cited_in_sources_exist():
    folders = ("lofarpipe", "plugins", "scripts", "steps", "cfg")
    sources = [
        path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in (".py", ".cfg")
    ]
    named = {name for path in sources for name in re.findall(r"\bdoc/[\w/]+\.md", path.read_text())}
    assert "doc/parset.md" in named
    assert all((REPOSITORY / name).is_file() for name in named)


def test_help_and_tour_agree_on_exit_codes():
    epilogue = parser().epilog or ""
    assert "128 + n ended by signal n" in epilogue
    assert "128 + n ended by signal n" in TOUR.read_text()
