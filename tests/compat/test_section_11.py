"""The golden traces: every command, argument by argument, and every map."""

import os
from pathlib import Path

import pytest

from magic_script import MAGIC
from recording_site import Site

AVERAGE = (
    "avg.freqresolution=97656.25 avg.timeresolution=8.0 avg.type=average msin=@/data/L1_SB00{n}.MS"
    " msin.datacolumn=DATA msout.overwrite=True msout.storagemanager=Dysco msout.storagemanager.databitrate=0"
    " msout.writefullresflag=False numthreads=2 steps=[avg] msout=@/work/p/L1_SB00{n}.average"
)


AVERAGED = "[@/work/p/L1_SB001.average,@/work/p/L1_SB002.average,@/work/p/L1_SB003.average]"


CONCAT = (
    "msin.datacolumn=DATA msout.overwrite=True msout.storagemanager=Dysco msout.storagemanager.databitrate=0"
    f" msout.writefullresflag=False steps=[] msin={AVERAGED} msout=@/work/p/L1_SB003.dpppconcat"
)


WSCLEAN = (
    "-weighting-rank-filter 3 -weight briggs 0.0 -threshold 0.0 -temp-dir @/run/p -size 6000 6000 -scale 0.00208"
    " -pol IQUV -padding 1.4 -niter 100000 -name @/run/p/fullband -minuv-l 80 -mgain 0.65 -mem 90 -maxuv-l 7000"
    " -local-rms-window 50 -local-rms-method rms-with-min -link-polarizations I -j 20 -idg-mode cpu -channels-out 4"
    " -auto-threshold 0.5 -auto-mask 3.3 -no-update-model-required -reorder -fit-beam -join-channels -use-idg"
    " -grid-with-beam -use-differential-lofar-beam @/work/p/L1_SB003.dpppconcat"
)


PLOTS = ["plot_uvcov", "plot_im_high_i", "plot_im_high_v", "make_source_list"]


RECIPES = ["do_magic", "average", "dpppconcat", "wsclean_high_deep", *PLOTS]


MAPS = ["create_ms_map", "combine_mapfile", "do_magic", "do_magic.groupmap", "do_magic.single", "average", *PLOTS]


MAPS += ["combine_mapfile_deep", "dpppconcat", "wsclean_high_deep_image_i", "wsclean_high_deep_image_v"]


DATAMAPS = {
    f"do_magic.datamap_{name}" for name in ("single", "timestep", "freqstep", "deep_high_size", "nchansout_clean1")
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Return the site after the image pipeline has run on three sets."""
    before, here = Path.cwd(), tmp_path_factory.mktemp("image")
    os.chdir(here)
    site = Site(here)
    for n in (1, 2, 3):
        (site.here / "data" / f"L1_SB00{n}.MS").mkdir()
    site.script("magic.py", MAGIC)
    for name in ("plot_uvcov.py", "plot_image.py", "make_source_list.py"):
        site.script(name)
    try:
        assert site.run((Path(__file__).parent / "golden.parset").read_text()) == 0
    finally:
        os.chdir(before)
    return site


def test_programs_get_recorded_arguments(image):
    """DP3 and WSClean get byte-ordered keywords, added words last, WSClean's reversed and in front."""
    commands = [" ".join(args) for args in image.args("show")]
    assert sorted(commands[:3]) == [AVERAGE.format(n=n) for n in (1, 2, 3)]
    assert commands[3:] == [CONCAT, WSCLEAN]
    assert {call["env"]["OMP_NUM_THREADS"] for call in image.calls("show")} == {"8"}
    assert {call["cwd"] for call in image.calls()} == {str(image.here / "work/p")}


def test_size_text_becomes_two_arguments(image):
    """The map entry ``6000 6000``."""
    args = image.args("show")[-1]
    place = args.index("-size")
    assert args[place : place + 4] == ["-size", "6000", "6000", "-scale"]


def test_scripts_get_recorded_arguments(image):
    """``main`` gets text, by position and by name."""
    inspection = "@/run/p/results/inspection"
    picture = "fullband-MFS-{}-image-pb"
    assert image.args("plot_uvcov.py") == [[AVERAGED, f"{inspection}/uv_coverage.png"]]
    assert image.args("plot_image.py") == [
        [f"@/run/p/{picture.format(s)}.fits", f"@/work/p/{picture.format(s)}.plot_im_high_{s.lower()}", inspection]
        for s in "IV"
    ]
    name = picture.format("I")
    assert image.args("make_source_list.py") == [[f"@/run/p/{name}.fits", f"@/work/p/{name}.make_source_list"]]
    assert image.calls("make_source_list.py")[0]["kwargs"] == {
        "adaptive_rmsbox": "True",
        "atrous_do": "False",
        "compare_dir": str(image.here / "run/p/results/inspection"),
        "rmsbox": "(60,20)",
        "threshisl": "4.0",
        "threshpix": "5.0",
    }


def test_run_writes_recorded_maps_and_parsets(image):
    """One parset per recipe step; the maps of steps, of results and of the script, and no others."""
    results = [f"{step}.{key}" for step in RECIPES for key in ("ok", "returncode", "job_duration", "monitor_stats")]
    found = {path.name for path in (image.here / "run/p/mapfiles").iterdir()}
    assert found == {f"{name}.mapfile" for name in (*MAPS, *results)} | DATAMAPS
    assert {path.stem for path in (image.here / "run/p/parsets").iterdir()} == set(RECIPES)
    assert image.map("dpppconcat") == [("@/work/p/L1_SB003.dpppconcat", False)]


# ---- 11.1, the idioms of the initial subtraction

SUBTRACT = """
pipeline.steps = [make, all, wsclean_high, mask_high, together, model, sourcedb, subtract]
make.control.kind        = plugin
make.control.type        = createMapfile
make.control.method      = mapfile_from_folder
make.control.mapfile_dir = input.output.mapfile_dir
make.control.filename    = make.mapfile
make.control.folder      = @/data
make.control.pattern     = L1*.MS
all.control.kind         = plugin
all.control.type         = createMapfile
all.control.method       = mapfile_all_to_one
all.control.mapfile_in   = make.output.mapfile
all.control.mapfile_dir  = input.output.mapfile_dir
all.control.filename     = all.mapfile
wsclean_high.control.type           = executable_args
wsclean_high.control.executable     = @/bin/show
wsclean_high.control.args_format    = wsclean
wsclean_high.control.outputsuffixes = [-image.fits, -model.fits]
wsclean_high.control.mapfile_in     = make.output.mapfile
wsclean_high.control.inputkey       = msfile
wsclean_high.control.outputkey      = name
wsclean_high.argument.flags         = [-reorder, -fit-beam, msfile]
wsclean_high.argument.size          = 100 100
wsclean_high.argument.weight        = briggs 0.0
mask_high.control.type       = pythonplugin
mask_high.control.executable = @/my/scripts/mask.py
mask_high.argument.flags     = [wsclean_high.output.wsclean_high-image.fits.mapfile, outputkey]
mask_high.argument.rmsbox    = (60,20)
together.control.kind        = plugin
together.control.type        = compressMapfile
together.control.mapfile_in  = wsclean_high.output.wsclean_high-model.fits.mapfile
together.control.mapfile_dir = input.output.mapfile_dir
together.control.filename    = together.mapfile
model.control.type       = pythonplugin
model.control.executable = @/my/scripts/model.py
model.control.mapfiles_in = [all.output.mapfile, together.output.mapfile]
model.control.inputkeys   = [ms, models]
model.control.outputkey   = out
model.argument.flags      = [models, ms, out]
sourcedb.control.type        = executable_args
sourcedb.control.executable  = @/bin/show
sourcedb.control.args_format = lofar
sourcedb.control.mapfile_in  = model.output.mapfile
sourcedb.control.inputkey    = in
sourcedb.control.outputkey   = out
sourcedb.argument.format     = <
sourcedb.argument.append     = False
sourcedb.argument.outtype    = blob
subtract.control.type       = dppp
subtract.control.inplace    = True
subtract.control.mapfile_in = make.output.mapfile
subtract.control.inputkey   = msin
subtract.argument.msout     = .
subtract.argument.msout.datacolumn = SUBTRACTED_DATA_HIGH
subtract.argument.steps     = [subtract]
"""


def test_initial_subtraction_idioms_work(site):
    """Section 11.1: list literals, the output name first, bases without ``.fits``, ``<`` in a value, inplace."""
    (site.here / "data" / "L1_SB001.MS").mkdir()
    site.script("mask.py")
    site.script("model.py")
    assert site.run(SUBTRACT) == 0
    wsclean = (
        "-name @/work/p/L1_SB001.wsclean_high -weight briggs 0.0 -size 100 100 -reorder -fit-beam @/data/L1_SB001.MS"
    )
    model = "@/work/p/L1_SB001.wsclean_high-model.fits"
    assert [" ".join(args) for args in site.args("show")] == [
        wsclean,
        "append=False format=< outtype=blob in=@/work/p/L1_SB001.model out=@/work/p/L1_SB001.sourcedb",
        "msout=@/data/L1_SB001.MS msout.datacolumn=SUBTRACTED_DATA_HIGH steps=[subtract] msin=@/data/L1_SB001.MS",
    ]
    image = "@/work/p/L1_SB001.wsclean_high-image"
    assert site.args("mask.py") == [[f"{image}.fits", f"{image}.mask_high"]]
    assert site.args("model.py") == [[f"[{model}]", "['@/data/L1_SB001.MS']", "@/work/p/L1_SB001.model"]]
    assert site.map("wsclean_high-model.fits") == [(model, False)]
