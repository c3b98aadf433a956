"""Resources, staging and disk space of jobs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lofarpipe.config import Overrides, load_settings
from lofarpipe.engine.recipe import RecipePlan, prepare
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.resources import Admission
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.steps import Step
from lofarpipe.programs.find import find
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.disk import Need
from wsclean_stubs import make_stub

MACHINE = Resources(cores=8, memory_gb=16.0, gpus=2)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return load_settings(Path("run.parset"), Overrides())


def site(settings, lenient, method):
    """Return settings with another method of running jobs."""
    sections = {**settings.sections, "remote": {**settings.sections["remote"], "method": method}} if method else {}
    return replace(settings, lenient=lenient, sections=sections or settings.sections)


@pytest.fixture
def planned(settings, tmp_path):
    """Return a function that builds the jobs of a step for some products."""

    def build(
        arguments, products=("/d/a.ms",), machine=MACHINE, lenient=False, numbers=None, entry="", method="", **control
    ):
        mapfile = tmp_path / "in.mapfile"
        DataMap([DataProduct("localhost", product, False) for product in products]).save(str(mapfile))
        keys = {"executable": "/bin/true", "mapfile_in": str(mapfile), "inputkey": "ms", **control}
        step = Step("average", "average", "recipe", "executable_args", keys, arguments)
        prepared = prepare(step, {}, site(settings, lenient, method), machine, entry)
        return prepared.numbered(numbers).jobs if numbers else prepared.jobs

    return build


def dp3(**arguments):
    return {"msin": "ms", "msout": "/o/new.ms", "steps": "[]", **arguments}


DP3 = {"program": "dp3", "args_format": "lofar"}
WSCLEAN = {"program": "wsclean", "args_format": "wsclean", "executable": "wsclean"}


@pytest.fixture
def wsclean():
    try:
        find("wsclean")
    except PipelineError as err:
        pytest.skip(str(err))
    return WSCLEAN


@pytest.mark.parametrize(
    ("control", "count", "cores", "memory_gb"),
    [
        ({}, 1, 8, 16.0),
        ({}, 4, 2, 4.0),
        ({}, 100, 1, 2.0),
        ({"max_per_node": "2"}, 100, 4, 8.0),
        ({"cores": "4"}, 100, 4, 8.0),  # two at a time
        ({"cores": "16"}, 100, 16, 16.0),  # alone
        ({"memory_gb": "7"}, 100, 4, 7.0),
        ({"memory_gb": "64"}, 100, 8, 64.0),
        ({"gpus": "1"}, 100, 4, 8.0),
        ({"gpus": "2", "cores": "3"}, 100, 3, 16.0),
    ],
)
def test_job_gets_cores_and_memory(planned, control, count, cores, memory_gb):
    jobs = planned({}, [f"/d/{number}.ms" for number in range(count)], **control)
    assert len(jobs) == count
    assert {(one.job.cores, one.job.memory_gb) for one in jobs} == {(cores, memory_gb)}


def test_dp3_gets_number_of_threads(planned):
    (one,) = planned(dp3(), cores="3", **DP3)
    assert "numthreads=3" in one.job.argv
    assert (one.job.cores, one.job.env["OMP_NUM_THREADS"]) == (3, "3")
    (told,) = planned(dp3(numthreads="5"), **DP3)
    assert (told.job.cores, "numthreads=5" in told.job.argv) == (5, True)


def test_wsclean_gets_threads_and_memory(planned, wsclean):
    argv = planned({"flags": "[ms]"}, cores="3", memory_gb="10", **wsclean)[0].job.argv
    assert argv[argv.index("-j") + 1] == "3"
    assert argv[argv.index("-abs-mem") + 1] == "9.00"  # 0.9 of it
    assert planned({"flags": "[-j, 5, ms]"}, **wsclean)[0].job.cores == 5


def test_hybrid_idg_gets_gpu(planned, wsclean, tmp_path):
    stub = make_stub(tmp_path / "idg", find("wsclean"), parts=("IDG", "WGridder"))
    keys = {**wsclean, "executable": str(stub)}
    arguments = {"gridder": "idg", "idg-mode": "hybrid", "flags": "[ms]"}
    jobs = planned(arguments, [f"/d/{number}.ms" for number in range(9)], **keys)
    assert {(one.job.gpus, one.job.cores) for one in jobs} == {(1, 4)}  # two at a time: there are two
    assert planned(arguments, gpus="2", **keys)[0].job.gpus == 2
    assert planned({**arguments, "idg-mode": "cpu"}, **keys)[0].job.gpus == 0
    assert planned(arguments, lenient=True, **keys)[0].job.gpus == 0
    (asked,) = planned(arguments, machine=Resources(8, 16.0), **keys)
    with pytest.raises(PipelineError, match="average/000: needs 1 CUDA devices, and this machine has 0"):
        Admission([asked.job], Resources(8, 16.0))


def test_task_type_has_defaults(settings, tmp_path):
    mapfile = tmp_path / "in.mapfile"
    DataMap([DataProduct("localhost", "/d/a.ms", False)]).save(str(mapfile))
    keys = {"executable": "/bin/true", "mapfile_in": str(mapfile), "inputkey": "ms", "cores": "3"}
    task = {"cores": "2", "memory_gb": "1.5", "gpus": "1"}
    step = Step("average", "average", "recipe", "executable_args", keys, {}, task)
    (one,) = prepare(step, {}, settings, MACHINE).jobs
    assert (one.job.cores, one.job.memory_gb, one.job.gpus) == (3, 1.5, 1)


@pytest.mark.parametrize(
    ("method", "asked", "given"),
    [
        ("", {}, (8, 16.0)),
        ("slurm", {}, (4, 6.0)),
        ("slurm", {"cores": "2", "memory_gb": "3"}, (2, 3.0)),
        ("slurm", {"queue_cores": "64", "queue_memory_gb": "1500"}, (8, 16.0)),
    ],
)
def test_queue_gets_resources_of_step(planned, method, asked, given):
    (planned_job,) = planned({}, method=method, **{"queue_cores": "4", "queue_memory_gb": "6", **asked})
    assert (planned_job.job.cores, planned_job.job.memory_gb) == given


def test_lenient_runs_share_machine(planned):
    assert planned(dp3(numthreads="5"), lenient=True, **DP3)[0].job.cores == 8


def test_new_set_is_staged(planned, settings):
    one = planned(dp3(msout="out/new.ms"), **DP3)[0].job
    directory = settings.job_workdir / "out"
    assert one.staged.destination == directory
    assert one.staged.directory == directory / ".new.ms.average-000.incomplete"
    assert one.staged.expected == f"{directory}/new.ms"
    assert "msout=out/new.ms" in one.argv  # what people see
    assert f"msout={one.staged.directory}/new.ms" in one.staged.argv
    assert [a for a in one.argv if not a.startswith("msout=")] == [
        a for a in one.staged.argv if not a.startswith("msout=")
    ]


def test_each_job_has_own_stage(planned):
    stages = {one.job.staged.directory for one in planned(dp3(), ["/d/a.ms", "/d/b.ms"], **DP3)}
    assert len(stages) == 2


def test_job_number_names_job_and_files(planned, settings, wsclean):
    first, second = planned(dp3(), ["/d/a.ms", "/d/b.ms"], numbers={0: 7}, entry="average@3", **DP3)
    assert [(one.place, one.job.name, one.job.label) for one in (first, second)] == [
        (0, "average/007", "/d/a.ms"),
        (1, "average/001", "/d/b.ms"),
    ]
    assert first.job.log == settings.job_directory / "logs/average@3/007.log"
    assert first.job.staged.directory.name == ".new.ms.average-007.incomplete"
    (image,) = planned({"name": "/o/x", "flags": "[ms]"}, numbers={0: 7}, **wsclean)
    assert image.job.tempdir.name.endswith("-average-007")
    (script,) = planned({"flags": "[ms]"}, numbers={0: 7}, nodescript="python_plugin", executable=__file__)
    assert script.result == settings.job_directory / "jobs/average/007.result.json"
    assert [path.name for path in script.files] == ["007.json"]


def test_long_names_are_cut(planned):
    stage = planned(dp3(msout=f"/o/{'n' * 250}"), **DP3)[0].job.staged
    assert len(stage.directory.name) < 255
    assert stage.argv[-2].endswith("n" * 250) or any(text.endswith("n" * 250) for text in stage.argv)


@pytest.mark.parametrize(
    ("count", "lenient", "is_in_file"), [(20, False, False), (100, False, True), (100, True, False)]
)
def test_long_list_of_sets_goes_into_file(planned, settings, count, lenient, is_in_file):
    sets = f"[{','.join(f'/data/{n:0200d}.ms' for n in range(count))}]"
    (one,) = planned(dp3(msin=sets), **DP3, lenient=lenient)
    path = settings.job_directory / "jobs/average/000.parset"
    assert (f"msin={sets}" in one.job.argv) is not is_in_file
    assert one.files == ({path: f"msin={sets}\n"} if is_in_file else {})
    if is_in_file:
        assert one.job.argv[:2] == ("/bin/true", str(path))
        assert "msout=/o/new.ms" in one.job.argv
        assert one.job.staged.argv[1] == str(path)
        assert len(one.job.command_line()) < 3000
    assert one.arguments[1]["msin"] == sets  # what decides whether it is done


def test_output_in_long_list_is_not_staged(planned):
    sets = f"[/o/new.ms,{','.join(f'/data/{n:0200d}.ms' for n in range(100))}]"
    (one,) = planned(dp3(msin=sets), **DP3)
    assert one.job.argv[1].endswith("000.parset")
    assert one.job.staged is None


@pytest.mark.parametrize("values", [["a" * 140_000], ["b" * 60_000] * 40])
def test_oversized_arguments_are_refused(planned, values):
    with pytest.raises(PipelineError, match=r"step 'average': the arguments of average/000 have \d+ bytes.* a file: "):
        planned({f"key{number}": value for number, value in enumerate(values)})


def test_known_program_is_watched(planned):
    (one,) = planned(dp3(), max_rise="3", min_converged="0.5", **DP3)
    assert one.job.watch == {"program": "dp3", "min_converged": "0.5", "max_stalled": "1.0"}  # its own limits alone
    assert planned(dp3(), lenient=True, **DP3)[0].job.watch == {}
    assert planned({})[0].job.watch == {}


def test_images_are_staged(planned, wsclean):
    one = planned({"name": "/o/x", "flags": "[ms]"}, **wsclean)[0].job
    assert (one.staged.directory, one.staged.expected) == (Path("/o/.x.average-000.incomplete"), "/o/x-*.fits")
    assert one.staged.argv[one.staged.argv.index("-name") + 1] == "/o/.x.average-000.incomplete/x"
    (below,) = planned({"name": "/o/x/", "flags": "[ms]"}, **wsclean)
    assert below.job.staged.directory == Path("/o/x/..average-000.incomplete")
    assert "/o/x/..average-000.incomplete/" in below.job.staged.argv


def test_images_are_staged_elsewhere_and_renamed(planned, wsclean, tmp_path):
    control = {**wsclean, "stage_dir": str(tmp_path), "rename": r"[-psf\.fits$=>, x-=>y-]"}
    (one, other) = [
        found.job.staged
        for found in planned({"name": "/o/x", "temp-dir": str(tmp_path)}, ["/d/a.ms", "/d/b.ms"], **control)
    ]
    assert (one.destination, one.landing) == (Path("/o"), Path("/o/.x.average-000.incomplete"))
    assert one.directory.parent == tmp_path
    assert one.directory != other.directory
    assert one.argv[one.argv.index("-name") + 1] == f"{one.directory}/x"
    assert one.argv[one.argv.index("-temp-dir") + 1] not in (str(one.directory), str(tmp_path))
    assert (one.final_name("x-psf.fits"), one.final_name("x-image.fits")) == ("", "y-image.fits")
    (by_ssh,) = planned({"name": "/o/x"}, method="ssh", **control)
    assert (by_ssh.job.staged.directory, by_ssh.job.staged.landing) == (Path("/o/.x.average-000.incomplete"), None)


def test_known_products_have_their_final_names(planned, wsclean):
    arguments = {"name": "/o/x", "niter": "1", "size": "100 100"}
    (one,) = planned(arguments, **wsclean, rename=r"[-psf\.fits$=>, ^x-=>x-V-]")
    plan = SimpleNamespace(control=SimpleNamespace(text=lambda _: "wsclean"))
    names = [f"/o/x-V-{kind}.fits" for kind in ("image", "dirty", "model", "residual")]
    assert RecipePlan.known_products(plan, one) == names


def test_place_names_keep_machine_variables(planned, wsclean):
    (one,) = planned({"name": "/o/x", "temp-dir": "$(A)/w"}, **wsclean, stage_dir="$B")
    assert str(one.job.tempdir).startswith("$(A)/w/")
    assert str(one.job.staged.directory).startswith("$B/")


def test_dry_wsclean_expects_no_images(planned, wsclean):
    (one,) = planned({"name": "/o/x", "flags": "[-dry-run, ms]"}, **wsclean)
    assert one.job.staged.expected == ""


@pytest.mark.parametrize(
    ("arguments", "control"),
    [
        (dp3(), {"args_format": "lofar"}),  # not a known program
        (dp3(msout="."), DP3),
        (dp3(), {**DP3, "lenient": True}),
        (dp3(), {**DP3, "parsetasfile": "True"}),
        (dp3(), {"args_format": "lofar", "nodescript": "python_plugin", "executable": __file__}),
    ],
)
def test_unsuitable_outputs_are_not_staged(planned, arguments, control):
    assert planned(arguments, **control)[0].job.staged is None


def test_wsclean_temporary_files_avoid_input_directory(planned, wsclean, settings):
    one = planned({"flags": "[ms]"}, **wsclean)[0].job
    assert one.tempdir.parent == settings.job_workdir
    assert one.argv[one.argv.index("-temp-dir") + 1] == str(one.tempdir)
    assert planned({"flags": "[-temp-dir, /scratch, ms]"}, **wsclean)[0].job.tempdir is None
    assert planned({"flags": "[ms]"}, lenient=True, **wsclean)[0].job.tempdir is None
    assert planned(dp3(), **DP3)[0].job.tempdir is None


def test_step_declares_needed_space(planned, tmp_path):
    assert planned(dp3(), disk_gb="2.5", **DP3)[0].needs() == [
        Need(tmp_path / "run", 2.5e9, "the outputs", is_given=True)
    ]
    named = tmp_path / "out.mapfile"
    DataMap([DataProduct("localhost", "/o/p/a.ms", False)]).save(str(named))
    assert planned({}, disk_gb="1", mapfile_out=str(named))[0].needs() == [
        Need(Path("/o/p"), 1e9, "the outputs", is_given=True)
    ]


def test_unknown_space_needs_nothing(planned):
    assert planned({})[0].needs() == []
    assert planned(dp3(), **DP3)[0].needs() == []  # there is no such set
    assert planned(dp3(), lenient=True, **DP3)[0].needs() == []
