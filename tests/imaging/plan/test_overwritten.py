"""Names of outputs that belong to other files; each is one line of the check."""

import pytest

from lofarpipe.imaging.plan.checks import ProtectedFiles, overwritten_findings
from lofarpipe.programs.wsclean.options import FILES

FITS, XML, METADATA = (
    b"SIMPLE  =                    T",
    b'<?xml version="1.0"?>',
    b"nrOfOutput_SkyImage_=1\nOutput_SkyImage_[0].size=1",
)


def put(path, content=b"text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


@pytest.fixture
def find(tmp_path):
    """Return the findings about a name for the image, or for another option."""
    job, ms = tmp_path / "job", tmp_path / "a.MS"
    for folder in (job, ms):
        folder.mkdir()
    run = ProtectedFiles([put(tmp_path / "image.parset")], [str(job), str(tmp_path / "work")], [str(ms)], FILES)
    usual = {"image_rootname": f"{job}/fullband"}

    def find(path, name="image_output_filenames", **more):
        text = f"[{path}]" if name == "image_output_filenames" else str(path)
        return overwritten_findings(usual | {name: text} | more, run)

    return find


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("image.parset", "is a parset, or the configuration, of this run"),
        ("a.MS", "is an input"),
        ("a.MS/table.dat", "is within the input"),
        ("job/plan.json", "is a product of this run"),
        ("job/report.html", "is a product of this run"),
        ("job/logs/a.fits", "is a product of this run"),
        ("work/copies/a.MS", "is a product of this run"),
        ("job/fullband-MFS-image-pb.fits", "is a product of this run, which begins with image_rootname"),
    ],
)
@pytest.mark.parametrize("option", ["image_output_filenames", "images_metadata_file", "sip_file"])
def test_files_of_the_run_are_protected(find, tmp_path, option, name, why):
    (line,) = find(tmp_path / name, option)
    assert line.startswith(f"{option}: {tmp_path / name} {why}")
    assert line.endswith("; name another")


@pytest.mark.parametrize("key", ["spectral_index", "reference_skymodel", "clean.argument.fits-mask"])
def test_fits_inputs_are_protected(find, tmp_path, key):
    path = put(tmp_path / "map.fits", FITS)
    assert find(path, **{key: path}) == [f"image_output_filenames: {path} is an input ({key}); name another"]


@pytest.mark.parametrize(
    ("option", "content", "is_taken"),
    [
        ("image_output_filenames", b"my notes", False),
        ("image_output_filenames", b"", False),
        ("image_output_filenames", FITS, True),
        ("sip_file", FITS, False),
        ("sip_file", XML, True),
        ("images_metadata_file", b"a = 1", False),
        ("images_metadata_file", METADATA, True),
    ],
)
def test_only_own_products_are_replaced(find, tmp_path, option, content, is_taken):
    path = put(tmp_path / "there", content)
    assert bool(find(path, option)) is not is_taken


def test_unreadable_file_is_protected(find, tmp_path, monkeypatch):
    path = put(tmp_path / "there", FITS)

    def refuse(self, *mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert find(path) == [f"image_output_filenames: {path} is there, and is no FITS file; name another"]


def test_links_are_resolved(find, tmp_path):
    (tmp_path / "link.fits").symlink_to(tmp_path / "image.parset")
    assert "is a parset" in find(tmp_path / "link.fits")[0]


def test_free_names_pass(find, tmp_path):
    assert find(f"{tmp_path}/out/a.fits, {tmp_path}/job/b.fits") == []
    assert find("none", "sip_file") == []


def test_repeated_output_name_is_refused(find, tmp_path):
    path = tmp_path / "a.fits"
    (line,) = find(f"{path}, {path}")
    assert line == f"image_output_filenames: {path} is named by image_output_filenames already; name another"
    assert "already" in find(path, sip_file=str(path))[0]


def test_input_mask_is_protected_from_images(find, tmp_path):
    mask = put(tmp_path / "job/fullband-MFS-mask.fits", FITS)
    (line,) = find(tmp_path / "a.fits", **{"clean.argument.fits-mask": mask})
    assert line.startswith(f"clean.argument.fits-mask: {mask} may be overwritten, for it begins with image_rootname")


def test_delivered_links_count_as_two_names(find, tmp_path):
    first, second = tmp_path / "first.fits", tmp_path / "second.fits"
    header = "SIMPLE  =                    T"
    first.write_text(header)
    second.symlink_to(first)
    assert find(f"{first}, {second}") == []
