"""WSClean's options as documented in its help: flags, values, files and additions."""

from __future__ import annotations

import re

import pytest

from lofarpipe.programs.wsclean.build import VALUE_NOT_IN_HELP, WSCleanBuild, describe_build, run_briefly
from lofarpipe.programs.wsclean.checks import check_arguments
from lofarpipe.programs.wsclean.options import missing_files, option_words, polarization_names, settle_flags
from lofarpipe.programs.wsclean.program import adapt
from wsclean_stubs import make_stub

CLEANING = {"niter": "10", "channels-out": "2"}


@pytest.fixture(scope="module")
def build(wsclean) -> WSCleanBuild:
    return describe_build(wsclean)


def test_known_flags_take_no_value(build):
    """All of them in one call: one that took a value would take the flag behind it, and refuse that."""
    at_once = {"version", "log-time", "use-idg", "no-normalize-for-weighting"}  # the last is in the help only
    flags = [name for name, count in build.value_counts.items() if count == 0 and name not in at_once]
    assert len(flags) > 50
    assert "No input measurement sets given" in _answer(build, *(f"-{name}" for name in flags))


@pytest.mark.parametrize("name", VALUE_NOT_IN_HELP)
def test_undocumented_values_are_required(build, name):
    if name not in build.options:
        pytest.skip(f"this WSClean has no -{name}")
    assert build.value_counts[name] == 1
    assert "No input measurement sets given" not in _answer(build, f"-{name}")


def _answer(build: WSCleanBuild, *options: str) -> str:
    return run_briefly(build.path, ["-dry-run", *options])[1]


def test_flag_values_switch_flags(build):
    keywords = {"multiscale": "True", "no-dirty": "False", "fit-beam": "False", "name": "x"}
    assert settle_flags(keywords, ["-reorder", "-fit-beam", "a.ms"], build.value_counts) == (
        {"name": "x"},
        ["-multiscale", "-reorder", "a.ms"],
    )


def test_flag_removes_its_opposite(build):
    keywords = {"no-fit-beam": "True", "small-inversion": "True"}
    _, flags = settle_flags(keywords, ["-fit-beam", "-no-small-inversion", "-reorder"], build.value_counts)
    assert flags == ["-no-fit-beam", "-small-inversion", "-reorder"]


def test_job_gets_bare_flags(build):
    keywords, flags, _ = adapt({**CLEANING, "multiscale": "True"}, ["-join-channels", "a.ms"], build, 1, None)
    assert "multiscale" not in keywords
    assert flags == ["-multiscale", "-join-channels", "a.ms"]


def test_boolean_values_select_flags():
    keywords = {"predict": "True", "no-update-model-required": "False", "niter": "3"}
    assert option_words(keywords, ["-no-update-model-required", "-j", "2"]) == {
        "niter": ["3"],
        "predict": [],
        "j": ["2"],
    }


@pytest.mark.parametrize(
    ("keywords", "flags", "finding"),
    [
        (
            {"multiscale": "3"},
            [],
            "-multiscale is '3', and it is a flag, which takes no value; set it to True or False",
        ),
        ({"fits-mask": "True"}, [], "-fits-mask is 'True', and it takes a value, not True"),
        ({"gain": "True"}, [], "-gain is 'True', and it takes a value"),
        ({"beam-shape": "10 20"}, [], "-beam-shape takes 3 values, and has 2: '10 20'"),
        ({"data-column": ""}, [], "-data-column takes 1 value, and has none"),
        ({"weight": "briggs"}, [], "-weight takes 2 values, and has 1: 'briggs'"),
        ({"weight": "uniform 1"}, [], "-weight takes 1 value, and has 2"),
        ({"multiscale-scales": "[0,5]"}, [], "several in one are joined by commas: 0,5"),
        ({"multiscale-scales": "a,b"}, [], "-multiscale-scales is 'a,b'; numbers >= 0 joined by commas are needed"),
        ({"channel-division-frequencies": "foo"}, [], "numbers >= 0 joined by commas"),
        ({}, ["-data-column", "-reorder"], "-data-column takes 1 value, and has none"),
        ({}, ["-multiscale", "yes", "-reorder"], "-multiscale is 'yes', and it is a flag"),
        ({}, ["b.ms", "-reorder"], "-reorder: 'b.ms' stands before it, and WSClean takes all behind that for sets"),
    ],
)
def test_wrong_number_of_values_is_finding(build, keywords, flags, finding):
    (found,) = check_arguments(keywords, [*flags, *([] if "b.ms" in flags else ["a.ms"])], build, 0)
    assert finding in found


@pytest.mark.parametrize(
    ("keywords", "flags"),
    [
        ({"multiscale": "True", "multiscale-scales": "0,5,12.5", "multiscale-scale-bias": "0.7"}, []),
        ({"local-rms-window": "25", "local-rms-method": "rms", "nosmallinversion": "True"}, ["-local-rms"]),
        ({"weight": "briggs -0.5", "beam-shape": "10 20 -30", "pol": "xx,yy"}, ["-weight", "natural"]),
        ({"taper-gaussian": "30asec", "size": "100 100", "shift": "14h00m00s 48d00m00s"}, []),
    ],
)
def test_right_values_are_accepted(build, keywords, flags):
    assert check_arguments(keywords, [*flags, "a.ms"], build, 0) == []


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"fit-spectral-pol": "2"}, "-fit-spectral-pol fits joined channels only; add -join-channels"),
        ({"deconvolution-channels": "2"}, "-deconvolution-channels needs a spectral fit"),
        ({"niter": "0", "save-source-list": "True"}, "-save-source-list: niter is 0"),
        (
            {"niter": "1", "save-source-list": "True", "join-channels": "True"},
            "-save-source-list of several channels needs a spectral fit",
        ),
        ({"niter": "1", "save-source-list": "True", "pol": "IV"}, "-save-source-list: pol is I,V"),
        (
            {"auto-mask": "5", "auto-threshold": "5"},
            "-auto-threshold is 5, and -auto-mask 5; the first must be smaller",
        ),
        ({"pol": "I", "join-polarizations": "True"}, "-join-polarizations: pol is I, one polarization"),
        ({"pol": "QU", "link-polarizations": "I"}, "-link-polarizations: I is not among pol, Q,U"),
        ({"pol": "Z"}, "-pol is 'Z'; polarizations are needed, such as I, IQUV or XX,YY"),
        ({"pol": "I,QX"}, "-pol is 'I,QX'; polarizations"),
    ],
)
def test_option_needs_companion(build, options, finding):
    (found,) = check_arguments(options, ["a.ms"], build, 0)
    assert finding in found


@pytest.mark.parametrize(
    ("text", "names"), [("IQUV", ["I", "Q", "U", "V"]), ("xx,yy", ["XX", "YY"]), ("XXYY", ["XX", "YY"]), ("", ["I"])]
)
def test_polarization_text_gives_list(text, names):
    assert polarization_names({"pol": [text]}) == names


# ---- added options


@pytest.mark.parametrize("keywords", [{"niter": "0"}, {"fit-beam": "True"}])
def test_dirty_image_gets_psf(build, keywords):
    _, flags, notices = adapt(keywords, ["a.ms"], build, 1, None)
    assert "-make-psf" in flags
    assert "niter is 0" in notices[-1]


@pytest.mark.parametrize(
    "keywords",
    [
        {"niter": "5"},
        {},
        *({"niter": "0", name: "True"} for name in ("make-psf", "make-psf-only", "predict", "theoretic-beam")),
        {"niter": "0", "beam-size": "60"},
    ],
)
def test_cleaned_image_gets_no_extra_psf(build, keywords):
    _, flags, notices = adapt(keywords, ["a.ms"], build, 1, None)
    assert flags.count("-make-psf") == ("make-psf" in keywords)
    assert notices == []


def test_polarizations_are_joined_for_cleaning(build):
    _, flags, notices = adapt({**CLEANING, "pol": "IQUV"}, ["-join-channels", "a.ms"], build, 1, None)
    assert flags == ["-join-polarizations", "-join-channels", "a.ms"]
    assert "pol is I,Q,U,V" in notices[0]


@pytest.mark.parametrize(
    ("more", "flags"),
    [
        ({"pol": "I"}, ["-join-channels"]),
        ({"pol": "IQUV", "niter": "0"}, ["-join-channels"]),
        ({"pol": "IQUV", "link-polarizations": "I"}, ["-join-channels"]),
        ({"pol": "IQUV"}, []),
        ({"pol": "IQUV", "channels-out": "1"}, ["-join-channels"]),
    ],
)
def test_simple_polarizations_are_not_joined(build, more, flags):
    assert "-join-polarizations" not in adapt({**CLEANING, **more}, [*flags, "a.ms"], build, 1, None)[1]


def test_idg_cleans_polarizations_jointly(wsclean, tmp_path):
    with_idg = describe_build(make_stub(tmp_path, wsclean, parts=("EveryBeam", "IDG", "WGridder")))
    keywords = {"gridder": "idg", "pol": "iquv", "niter": "10", "size": "512 512"}
    assert check_arguments(keywords, ["a.ms"], with_idg, 0) == []
    _, flags, notices = adapt(keywords, ["a.ms"], with_idg, 1, None)
    assert "-join-polarizations" in flags
    assert "WSClean with IDG" in notices[0]


@pytest.mark.parametrize("local_rms", [{"local-rms": "True"}, {"local-rms-window": "25"}])
def test_version_3_1_gets_multiscale_workaround(build, local_rms):
    keywords = {"niter": "10", "multiscale": "True", **local_rms}
    _, flags, notices = adapt(keywords, ["a.ms"], build, 1, None)
    assert ("-no-multiscale-fast-subminor" in flags) == (build.version == (3, 1, 0)) == bool(notices)
    _, flags, notices = adapt({**keywords, "no-multiscale-fast-subminor": "True"}, ["a.ms"], build, 1, None)
    assert flags.count("-no-multiscale-fast-subminor") == 1
    assert notices == []


def test_newer_version_needs_no_multiscale_workaround(wsclean, tmp_path):
    newer = describe_build(make_stub(tmp_path, wsclean, version="3.4"))
    _, flags, _ = adapt({"niter": "10", "multiscale": "True"}, ["-local-rms", "a.ms"], newer, 1, None)
    assert "-no-multiscale-fast-subminor" not in flags


@pytest.mark.parametrize(("size", "is_added"), [("108 12", True), ("32 200", True), ("108 36", False)])
def test_small_images_disable_small_inversion(build, size, is_added):
    _, flags, notices = adapt({"niter": "9", "size": size}, ["a.ms"], build, 1, None)
    assert ("-no-small-inversion" in flags) is is_added is bool(notices)


def test_single_channel_drops_spectral_fit(build):
    keywords = {"niter": "10", "channels-out": "1", "fit-spectral-pol": "2", "deconvolution-channels": "2"}
    keywords, flags, notices = adapt(keywords, ["-join-channels", "a.ms"], build, 1, None)
    assert {"fit-spectral-pol", "deconvolution-channels"}.isdisjoint(keywords)
    assert flags == ["a.ms"]
    assert "none to join" in notices[0]


# ---- files


def test_missing_named_files_are_found(tmp_path):
    (tmp_path / "mask.fits").touch()
    (tmp_path / "first-0000-psf.fits").touch()
    there = {"fits-mask": ["mask.fits"], "reuse-psf": ["first"], "aterm-config": [str(tmp_path / "mask.fits")]}
    assert missing_files(there, tmp_path) == []
    absent = {
        "casa-mask": ["my.mask"],
        "reuse-psf": ["second"],
        "apply-facet-solutions": ["a.h5,mask.fits", "amplitude000"],
        "restore": ["mask.fits", "model.fits", "out.fits"],
    }
    findings = dict(missing_files(absent, tmp_path))
    assert sorted(findings) == ["a.h5", "model.fits", "my.mask", "second"]
    assert findings["second"].startswith(f"-reuse-psf: there is no {tmp_path}/second*-psf.fits; name one")
    assert re.match(rf"-casa-mask: there is no {tmp_path}/my.mask; name one", findings["my.mask"])
