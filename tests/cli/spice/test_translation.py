"""Command lines and YAML files as parsets: golden texts, folders, records."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from lofarpipe.archive.inputs import field_text
from lofarpipe.cli.arguments import read_words
from lofarpipe.cli.spice.table import spice_options
from lofarpipe.config import Overrides, read_settings
from lofarpipe.errors import UsageError
from lofarpipe.executors.factory import section_options
from lofarpipe.executors.slurm.client import SlurmOptions
from lofarpipe.pipeline.preflight import Translation


def translation(*words: str) -> tuple[Translation, argparse.Namespace]:
    options = read_words(words)
    return options.translate(options), options


def text_of(*words: str) -> str:
    made, options = translation(*words)
    return field_text(made.parset, options.set)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_given_options_become_pipeline_options(here: Path) -> None:
    words = ["spice_image", "--nchan", "3", "in/", "--purge", "--auto-threshold=0", "../out", "--niter", "5e5"]
    assert text_of(*words, "--hosted-wsclean", "docker://a/b:1", "-s", "robust=0", "-s", "find_beams.control.x=1") == (
        f"pipeline.base = askap.parset\n! msdir = {here}/in\n! datadir = {here.parent}/out\n! purge = True\n"
        "! nchan = 3\n! niter = 500000\n! auto_threshold = 0\n! hosted_wsclean = docker://a/b:1\n"
        "! robust = 0\nfind_beams.control.x = 1\n"
    )


@pytest.mark.parametrize("name", [name for name in spice_options() if name not in ("msdir", "datadir")])
def test_every_option_has_both_spellings(here: Path, name: str) -> None:
    option = spice_options()[name]
    values = {"integer": "4", "number": "0.5", "path": "/x", "text": "I", "list": "1", "choice": option.choices[:1]}
    value = [] if option.is_flag else ["docker://a"] if name == "hosted_wsclean" else [*values[option.kind]]
    value = ["".join(value)] if value else []
    if option.is_list:
        value = ["0,4"]
    texts = {text_of("spice_image", "a", "b", f"--{spelling}", *value) for spelling in (name, name.replace("_", "-"))}
    assert len(texts) == 1
    assert f"! {name} = {'True' if option.is_flag else value[0]}" in texts.pop()


def test_folder_variables_are_kept(here: Path) -> None:
    text = text_of("spice_image", "a", "b", "--temp_dir_wsclean", "$X/w", "--temp_dir_images", "tmp/")
    assert "! temp_dir_wsclean = $(X)/w\n" in text, "a definition would be replaced on this machine"
    assert f"! temp_dir_images = {here}/tmp\n" in text


def test_odd_names_are_quoted(here: Path) -> None:
    assert f'! msdir = "{here}/it\'s#1"\n' in text_of("spice_image", "it's#1", "b")
    with pytest.raises(UsageError, match="both kinds of quotes"):
        text_of("spice_image", "a'b\"", "b")


def test_program_search_covers_path_and_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "bin").mkdir()
    (here / "bin" / "wsclean-x").write_text("")
    (here / "bin" / "wsclean-x").chmod(0o755)
    monkeypatch.setenv("PATH", str(here / "bin"))
    assert f"! local_wsclean = {here}/bin/wsclean-x\n" in text_of(
        "spice_image", "a", "b", "--local_wsclean", "wsclean-x"
    )
    assert f"! local_wsclean = {here}/y.sif\n" in text_of("spice_image", "a", "b", "--local_wsclean", "y.sif")
    (here / "bin" / "y.sif").write_text("")
    (here / "bin" / "c.yaml").write_text("imager_only: true\nlocal_wsclean: y.sif\n")
    assert f"! local_wsclean = {here}/bin/y.sif\n" in text_of("spice_process", "--config", "bin/c.yaml", "a", "b", "F")


def test_records_lie_below_output(here: Path) -> None:
    first, options = translation("spice_image", "data/SB 1", "out", "--nchan", "3")
    assert first.path.parent.parent == here / "out" / "spice.runs"
    assert first.path.name == "spice_image.parset"
    assert options.job_name == first.path.parent.name
    assert options.job_name.startswith("SB_1-")
    assert translation("spice_image", "data/SB 1/", "out", "--nchan", "4")[1].job_name == options.job_name
    assert translation("spice_image", "data/SB 1", "out", "--ms_glob_pattern", "b*")[1].job_name != options.job_name
    assert translation("spice_image", "a", "out", "--job-dir", "records")[0].path.parent == here / "records"
    assert first.sections["layout"]["job_directory"].value == str(first.path.parent)


def test_command_line_overrides_file(here: Path) -> None:
    (here / "c.yaml").write_text("imager-only: true\nsize: 512\nrobust: 0\nhosted_wsclean: docker://a/b\n")
    words = ["spice_process", "--config", "c.yaml", "in", "out", "RACS_1", "--size", "64", "--local_wsclean", "x.sif"]
    made, options = translation(*words)
    assert made.parset["! size"] == "64"
    assert made.parset.entry("! robust").where == "c.yaml:3"
    assert "! hosted_wsclean" not in made.parset
    assert options.job_name.startswith("RACS_1-")
    assert made.copies == {"c.yaml": (here / "c.yaml").read_text()}


def test_imager_only_is_required(here: Path) -> None:
    with pytest.raises(UsageError, match="--imager_only is needed"):
        translation("spice_process", "in", "out", "F")
    assert translation("spice_process", "--imager-only", "in", "out", "F")[0].parset["! msdir"] == f"{here}/in"


def test_cluster_file_is_found_beside_config(here: Path) -> None:
    (here / "conf").mkdir()
    (here / "conf" / "c.yaml").write_text(
        "imager_only: true\nimager_dask_config: k.yaml\nimage_polarisation: {size: 7, auto_mask: 8}\n"
    )
    (here / "conf" / "k.yaml").write_text(
        "cluster_kwargs:\n  cores: 4\n  memory: 8GB\n  local_directory: /scratch\n  interface: ib0\n"
        "  log_directory: l\n"
    )
    made, options = translation("spice_process", "--config", "conf/c.yaml", "in", "out", "F")
    assert made.parset["image_i.control.cores"] == made.parset["image_polarisation.control.cores"] == "4"
    assert made.parset["image_i.control.memory_gb"] == "8"
    assert made.parset["! temp_dir_wsclean"] == "/scratch"
    assert made.parset["! beams_at_once"] == "0"
    assert made.parset["image_polarisation.argument.size"] == "7 7"
    assert made.parset["find_beams.control.auto_mask"] == "8"
    assert [str(warning) for warning in made.warnings] == ["conf/k.yaml: without effect here: interface"]
    assert set(made.copies) == {"c.yaml", "k.yaml"}
    log = made.sections["logging"]["log_file"].value
    assert log == f"{here}/l/{options.job_name}-{options.start_time}/pipeline.log"
    typed = translation("spice_process", "--imager-only", "--imager_dask_config", "conf/k.yaml", "in", "out", "F")[0]
    assert typed.parset["image_i.control.cores"] == "4"


def test_cluster_file_sets_slurm_options(here: Path) -> None:
    (here / "k.yaml").write_text(
        "cluster_class: dask_jobqueue.SLURMCluster\ncluster_kwargs:\n  cores: 36\n  name: spice\n  account: a 100%\n"
        "  job_extra_directives: ['--qos express']\n  job_script_prologue: ['module load x', 'export A=50%']\n"
        "adapt_kwargs: {maximum_jobs: 3}\n"
    )
    made, _ = translation("spice_process", "--imager-only", "--imager_dask_config", "k.yaml", "in", "out", "F")
    settings, findings = read_settings(made.path, Overrides(sections=made.sections))
    assert findings == []
    assert section_options(SlurmOptions, settings, "slurm") == SlurmOptions(
        account="a 100%",
        extra=("--qos", "express"),
        name_prefix="spice",
        prologue="module load x\nexport A=50%",
        array_limit=3,
    )
    assert settings.sections["remote"]["method"] == "slurm"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--nchan", "x", "a", "b"], "argument --nchan: is 'x'; an integer > 0 is needed"),
        (["--gridder", "idg-gpu", "a", "b"], "argument --gridder: is 'idg-gpu'; one of direct-ft, idg"),
        (["--num_beems", "1", "a", "b"], "unrecognized arguments: --num_beems b; did you mean '--num_beams'?"),
        (["--num", "1", "a", "b"], "unrecognized arguments: --num b"),
        (["a"], "the following arguments are required: datadir"),
        (["a", "b", "c"], "error: unrecognized arguments: c; see spice_image --help\n"),
        (["--hosted_wsclean", "docker://a", "--local_wsclean", "x", "a", "b"], "not allowed with argument"),
        (["--dry_run", "--check", "a", "b"], "not allowed with argument"),
    ],
)
def test_wrong_usage_exits_with_two(capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    with pytest.raises(SystemExit) as caught:
        read_words(["spice_image", *words])
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err
