"""Recipe steps: output names, maps, and the jobs that come of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.config import Overrides, load_settings
from lofarpipe.engine.recipe import output_file, prepare
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import JobResult, Resources
from lofarpipe.pipeline.steps import Step
from lofarpipe.programs.find import find_executable
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.utilities import files_of
from pipeline_runner import run_pipeline

MACHINE = Resources(cores=4, memory_gb=16.0)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(Path("run.parset"), Overrides())
    settings.mapfile_dir.mkdir(parents=True)
    return settings


def _map(folder, name, *files, skip=()):
    path = folder / name
    DataMap([DataProduct("localhost", file, i in skip) for i, file in enumerate(files)]).save(str(path))
    return str(path)


def _step(arguments=None, **control):
    control = {"executable": "/bin/true", **control}
    return Step("average", "average", "recipe", "executable_args", control, arguments or {})


def _prepare(step, settings, machine=MACHINE):
    return prepare(step, {}, settings, machine)


@pytest.mark.parametrize(
    ("infile", "name"),
    [
        ("/d/L1_SB001.MS", "/w/L1_SB001.x"),
        ("/d/L1.pre.MS", "/w/L1.pre.x"),
        ("/d/plain", "/w/plain.x"),
        ("42", "/w/42.x"),
        ("[/d/L1_SB001.average,/d/L1_SB003.average]", "/w/L1_SB003.x"),
        ("[/d/foo]", "/w/foo].x"),
    ],
)
def test_input_name_gives_output_name(infile, name):
    assert output_file(Path("/w"), infile, "x") == name


def test_outputs_get_configured_ending(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    prepared = _prepare(_step(mapfile_in=mapfile, inputkey="msin", output_ending=".ms"), settings)
    assert prepared.outputs.data[0].file == f"{settings.job_workdir}/a.average.ms"
    assert prepared.output_mapfile == settings.mapfile_dir / "average.mapfile"


def test_default_outputs_and_suffixes(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS", skip=[1])
    prepared = _prepare(_step(mapfile_in=mapfile, inputkey="msin", outputsuffixes="[-psf.fits]"), settings)
    workdir = settings.job_workdir
    assert [(p.file, p.skip) for p in prepared.outputs.data] == [
        (f"{workdir}/a.average", False),
        (f"{workdir}/b.average", True),
    ]
    assert prepared.output_mapfile == settings.mapfile_dir / "average.mapfile"
    assert dict(prepared.suffix_outputs) == {
        "average-psf.fits.mapfile": settings.mapfile_dir / "average-psf.fits.mapfile"
    }
    assert [planned.place for planned in prepared.jobs] == [0]


def test_inplace_saves_first_input_map(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS")
    prepared = _prepare(_step(mapfile_in=mapfile, inputkey="msin", inplace="True"), settings)
    outputs = _finish(prepared, failed={"average/001"})
    assert outputs["mapfile"] == mapfile
    assert [(p.file, p.skip) for p in DataMap.load(mapfile).data] == [("/d/a.MS", False), ("/d/b.MS", True)]


def test_mapfile_out_names_outputs_unsaved(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS", skip=[0])
    named = _map(tmp_path, "out", "/o/1", "/o/2")
    before = Path(named).read_text()
    step = _step({"x": "y"}, mapfile_in=mapfile, inputkey="in", mapfile_out=named, outputkey="out")
    prepared = _prepare(step, settings)
    assert [(p.file, p.skip) for p in prepared.outputs.data] == [("/o/1", True), ("/o/2", False)]
    assert prepared.jobs[0].job.argv == ("/bin/true", "--x=y", "--in=/d/b.MS", "--out=/o/2")
    assert _finish(prepared)["mapfile"] == named
    assert Path(named).read_text() == before


def test_mapfiles_out_are_saved_again(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS")
    first, second = _map(tmp_path, "o1", "/o/1", "/o/2"), _map(tmp_path, "o2", "/p/1", "/p/2")
    prepared = _prepare(_step(mapfile_in=mapfile, inputkey="in", mapfiles_out=f"[{first},{second}]"), settings)
    assert _finish(prepared, failed={"average/000"})["mapfile"] == first
    assert DataMap.load(second).data[0].skip


def test_tokens_are_replaced_by_place(settings, tmp_path):
    sets = _map(tmp_path, "sets", "/d/a.MS", "/d/b.MS", "/d/c.MS", skip=[1])
    steps = _map(tmp_path, "steps", "4.0", "8.0", "16.0", "32.0")
    step = _step({"msin": "ms", "time": "t"}, mapfiles_in=f"[{sets},{steps}]", inputkeys="[ms,t]", args_format="lofar")
    jobs = _prepare(step, settings).jobs
    assert [planned.job.argv[1:] for planned in jobs] == [("msin=/d/a.MS", "time=4.0"), ("msin=/d/c.MS", "time=16.0")]
    assert [planned.job.name for planned in jobs] == ["average/000", "average/002"]


def test_map_passed_by_name(settings, tmp_path):
    sets, other = _map(tmp_path, "sets", "/d/a.MS"), _map(tmp_path, "other", "x")
    step = _step(
        {"flags": "[ms, m]"},
        mapfiles_in=f"[{sets},{other}]",
        inputkeys="[ms,m]",
        mapfiles_as_string=f"[{other}]",
    )
    assert _prepare(step, settings).jobs[0].job.argv == ("/bin/true", "/d/a.MS", other)


def test_jobs_share_machine(settings, tmp_path):
    mapfile = _map(tmp_path, "in", *[f"/d/{i}.MS" for i in range(8)])
    share = next(p.job for p in _prepare(_step(mapfile_in=mapfile, inputkey="in"), settings).jobs)
    assert (share.cores, share.memory_gb) == (1, 4.0)
    two = next(p.job for p in _prepare(_step(mapfile_in=mapfile, inputkey="in", max_per_node="2"), settings).jobs)
    assert (two.cores, two.memory_gb, two.max_per_node) == (2, 8.0, 2)
    asked = _step(mapfile_in=mapfile, inputkey="in", cores="3", memory_gb="5.5", gpus="1", nthreads="7")
    job = _prepare(asked, settings).jobs[0].job
    assert (job.cores, job.memory_gb, job.gpus, job.env["OMP_NUM_THREADS"]) == (3, 5.5, 1, "7")
    alone = _prepare(_step(mapfile_in=_map(tmp_path, "one", "/d/1.MS"), inputkey="in"), settings).jobs[0].job
    assert (alone.cores, alone.memory_gb, alone.env["OMP_NUM_THREADS"]) == (4, 16.0, "4")


def test_step_environment_reaches_job(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    job = _prepare(_step(mapfile_in=mapfile, inputkey="in", environment="{A: b, HOME: /x}"), settings).jobs[0].job
    assert (job.env["A"], job.env["HOME"], job.env["OPENBLAS_NUM_THREADS"]) == ("b", "/x", "1")


def test_arguments_are_written_to_parset(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    step = _step({"b": "2", "a": "1"}, mapfile_in=mapfile, inputkey="msin", parsetasfile="True", args_format="lofar")
    (planned,) = _prepare(step, settings).jobs
    path = settings.job_workdir / "a.MS.parset"
    assert planned.job.argv[1] == str(path)
    assert planned.files == {path: "a=1\nb=2\nmsin=/d/a.MS\n"}


def test_script_job_has_description_file(settings, tmp_path):
    (tmp_path / "mine.py").write_text("def main(*args, **kwargs): pass\n")
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    step = _step(
        {"flags": "[ms]", "threshold": "5"},
        mapfile_in=mapfile,
        inputkey="ms",
        nodescript="python_plugin",
        executable=str(tmp_path / "mine.py"),
        parsetasfile="True",
    )
    (planned,) = _prepare(step, settings).jobs
    spec = Path(planned.job.argv[-1])
    call = json.loads(planned.files[spec])
    assert call["args"] == [str(settings.job_workdir / "a.MS.parset"), "/d/a.MS"]
    assert call["kwargs"] == {"threshold": "5"}
    assert call["result"] == str(planned.result)


def test_temporary_directory_belongs_to_one_job(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS")
    step = _step(
        {"temp-dir": "/scratch", "size": "10 10", "flags": "[ms]"},
        mapfile_in=mapfile,
        inputkey="ms",
        executable="wsclean",
        args_format="wsclean",
        program="wsclean",
    )
    first, second = (planned.job for planned in _prepare(step, settings).jobs)
    assert first.tempdir != second.tempdir
    assert first.tempdir.parent == Path("/scratch")
    assert str(first.tempdir) in first.argv


@pytest.mark.parametrize(
    ("hosts", "message"),
    [(["localhost"], "validation of data mapfiles failed: 2 entries in .*, 1 in"), (["x", "y"], "hosts must agree")],
)
def test_output_map_must_fit(settings, tmp_path, hosts, message):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS")
    named = tmp_path / "out"
    DataMap([DataProduct(host, "/o", False) for host in hosts]).save(str(named))
    with pytest.raises(PipelineError, match=message):
        _prepare(_step(mapfile_in=mapfile, inputkey="in", mapfile_out=str(named)), settings)


def test_shorter_map_is_refused_by_name(settings, tmp_path):
    sets, steps = _map(tmp_path, "sets", "/d/a.MS", "/d/b.MS"), _map(tmp_path, "steps", "4.0")
    with pytest.raises(PipelineError, match=r"differ in length: 2 in .*/sets, 1 in .*/steps \(key t\)"):
        _prepare(_step(mapfiles_in=f"[{sets},{steps}]", inputkeys="[ms,t]"), settings)


def test_step_without_input_map_is_refused(settings):
    with pytest.raises(PipelineError, match=r"it has no input map; set control.mapfile_in"):
        _prepare(_step(), settings)


def test_missing_program_names_step(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    with pytest.raises(PipelineError, match=r"step 'average', control.executable: .*nowhere"):
        _prepare(_step(mapfile_in=mapfile, inputkey="in", executable="nowhere"), settings)
    with pytest.raises(PipelineError, match=r"no executable; set it"):
        find_executable("", "executable_args", settings)


def test_program_in_site_scripts_is_found(settings, tmp_path, monkeypatch):
    (tmp_path / "a" / "scripts").mkdir(parents=True)
    script = tmp_path / "a" / "scripts" / "mine.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    config = tmp_path / "pipeline.cfg"
    config.write_text(
        f"[DEFAULT]\nruntime_directory = {tmp_path}\nworking_directory = {tmp_path}\n"
        f"recipe_directories = [{tmp_path}/a]\n"
    )
    assert find_executable("mine.sh", "executable_args", load_settings(Path("x"), Overrides())) == script


def _finish(prepared, failed=(), values=None):
    results = [
        JobResult(p.job.name, int(p.job.name in failed), 1.0, 2.5, 0.5, 10.0, p.job.log, p.job.argv)
        for p in prepared.jobs
    ]
    return prepared.finish(results, dict.fromkeys(failed, "exited with 1"))


def test_results_become_maps(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS", "/d/b.MS")
    outputs = _finish(_prepare(_step(mapfile_in=mapfile, inputkey="in"), settings), failed={"average/001"})
    codes = DataMap.load(outputs["returncode.mapfile"]).data
    assert [(p.file, p.skip) for p in codes] == [("0", False), ("1", True)]
    assert [p.file for p in DataMap.load(outputs["ok.mapfile"]).data] == ["True"]
    assert DataMap.load(outputs["job_duration.mapfile"]).data[0].file == "2.500"
    assert [p.skip for p in DataMap.load(outputs["mapfile"]).data] == [False, True]


DP3 = {"program": "dp3", "args_format": "lofar", "executable": "DP3", "inputkey": "msin"}


@pytest.mark.parametrize("is_listed", [True, False])
def test_step_lists_products_on_request(settings, tmp_path, is_listed):
    control = {**DP3, "mapfile_in": _map(tmp_path, "in", "/d/a.MS"), "list_products": str(is_listed)}
    prepared = _prepare(_step({"msin": "msin", "msout": "/o/b.MS"}, **control), settings)
    (planned,) = prepared.jobs
    result = JobResult("average/000", 0, 1.0, 2.5, 0.5, 10.0, planned.job.log, (), outputs=("/o/b.MS", "/o/a,b"))
    outputs = prepared.finish([result], {})
    assert ("products.mapfile" in outputs) is is_listed
    if is_listed:
        (listed,) = DataMap.load(outputs["products.mapfile"]).data
        assert files_of(listed.file) == ["/o/b.MS", "/o/a,b"]


def test_products_keep_places_of_failed_and_skipped_inputs(settings, tmp_path):
    mapfile = tmp_path / "in.mapfile"
    DataMap([DataProduct("localhost", f"/d/{name}.MS", name == "b") for name in "abc"]).save(str(mapfile))
    control = {**DP3, "mapfile_in": str(mapfile), "list_products": "True"}
    prepared = _prepare(_step({"msin": "msin", "msout": "/o/x.MS"}, **control), settings)
    names = [planned.job.name for planned in prepared.jobs]
    results = [JobResult(name, 0, 1.0, 2.5, 0.5, 10.0, tmp_path, (), outputs=(f"/o/{name}",)) for name in names]
    outputs = prepared.finish(results, {names[0]: "exited with 1"})
    products = DataMap.load(outputs["products.mapfile"]).data
    assert [(files_of(product.file), product.skip) for product in products] == [
        ([], True),
        ([], True),
        ([f"/o/{names[1]}"], False),
    ]


@pytest.mark.parametrize("names", [["b.MS"], []])
def test_lenient_run_lists_existing_products(settings, tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
    control = {**DP3, "mapfile_in": _map(tmp_path, "in", "/d/a.MS"), "list_products": "True"}
    step = _step({"msin": "msin", "msout": f"{tmp_path}/b.MS"}, **control)
    outputs = _finish(_prepare(step, replace(settings, lenient=True)))
    (listed,) = DataMap.load(outputs["products.mapfile"]).data
    assert files_of(listed.file) == [f"{tmp_path}/{name}" for name in names]


def test_program_log_can_fail_job(settings, tmp_path):
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    step = _step(mapfile_in=mapfile, inputkey="msin", program="dp3", args_format="lofar", executable="DP3")
    prepared = _prepare(step, settings)
    log = tmp_path / "log"
    result = JobResult("average/000", 0, 1.0, 2.0, 0.5, 10.0, log, ())
    log.write_text("all is well\n")
    assert prepared.failure_of(result) is None
    log.write_text("*** WARNING: the following parset keywords were not used ***\n   - avg.timestp\n")
    assert "avg.timestp" in prepared.failure_of(result)
    assert prepared.failure_of(JobResult("average/000", 3, 1.0, 2.0, 0.5, 10.0, log, ())).startswith("exited with 3")


@pytest.mark.parametrize(
    ("program", "text", "said"),
    [
        ("dp3", "RuntimeError: Key steps unknown\n", ": DP3 says: Key steps unknown; the step needs this key: add it"),
        ("dp3", "nothing known\n", ""),
        ("", "/x/a.py:3: RuntimeError: std::bad_alloc\n", ": std::bad_alloc; it ran out of memory"),
        ("", "a.MS: has no rows, so there is nothing to image; leave it out\n", ""),
        ("", "", ""),
    ],
)
def test_failure_hint_matches_last_error(settings, tmp_path, program, text, said):
    mapfile = _map(tmp_path, "in", "/d/a.MS")
    keys = {"program": program, "args_format": "lofar"} if program else {}
    prepared = _prepare(_step(mapfile_in=mapfile, inputkey="msin", executable="DP3", **keys), settings)
    log = tmp_path / "log"
    log.write_text(text)
    reason = prepared.failure_of(JobResult("average/000", 1, 1.0, 2.0, 0.5, 10.0, log, ()))
    assert reason.startswith(f"exited with 1 after 2.0 s{said}")
    assert bool(said) == (": " in reason)
    assert prepared.failure_of(JobResult("average/000", 0, 1.0, 2.0, 0.5, 10.0, log, ())) is None


def test_script_without_jobs_gives_empty_maps(tmp_path: Path) -> None:
    (tmp_path / "none.mapfile").write_text("[]")
    (tmp_path / "measure.py").write_text('OUTPUTS = ("flux",)\n\n\ndef main(image):\n    return {"flux": 1}\n')
    steps = "\n".join(
        f"{name}.control.type = pythonplugin\n{name}.control.executable = {tmp_path}/measure.py\n"
        f"{name}.control.mapfile_in = {source}\n{name}.control.inputkey = image\n{name}.argument.flags = [image]"
        for name, source in (("one", f"{tmp_path}/none.mapfile"), ("two", "one.output.flux.mapfile"))
    )
    (tmp_path / "a.parset").write_text(f"pipeline.steps = [one, two]\n{steps}\n")
    done = run_pipeline(tmp_path, "a.parset")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "mapfiles" / "one.flux.mapfile").read_text().strip() == "[]"
