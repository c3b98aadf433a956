"""Names of images, cubes and weights of a beam, both ways."""

import pytest

from lofarpipe.imaging.cubes.names import BeamName, ProductName, read_product, read_root


@pytest.mark.parametrize("field", ["CDFS_2_5", "image7", "beam07.contcube", "a.contcube.beam03", "image.restored.i.x"])
@pytest.mark.parametrize("beam", [0, 7, 35, 107])
def test_names_are_read_back(field, beam):
    name = BeamName(field, beam)
    assert read_root(f"/out/{name.root}") == name
    assert read_product(f"/out/{name.cube('Q')}") == ProductName(name, "image", "restored", "Q")
    assert read_product(name.weights("V", "residual")) == ProductName(name, "weights", "residual", "V")


def test_names_follow_the_documentation():
    name = BeamName("CDFS_2_5", 4)
    assert name.root == "image.CDFS_2_5.contcube.beam04"
    assert name.cube("I") == "image.restored.i.CDFS_2_5.contcube.beam04.conv.fits"
    assert name.weights("U", "residual") == "weights.residual.u.CDFS_2_5.contcube.beam04.conv.txt"


@pytest.mark.parametrize(
    "other",
    ["image.CDFS.contcube.beam04-0000-image.fits", "weights.restored.i.A.contcube.beam04.conv.fits", "notes.txt"],
)
def test_foreign_files_are_no_products(other):
    assert read_product(other) is None


def test_foreign_root_is_refused():
    with pytest.raises(ValueError, match=r"image_root is '/out/wsclean'; its name must be image"):
        read_root("/out/wsclean")
