"""Delivery under other names."""

import os
import shutil
from pathlib import Path

import pytest

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct


@pytest.fixture(scope="module")
def plugin():
    return load_script("PipelineStep_copyFiles")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "job" / "fullband-MFS-image-pb.fits"
    path.parent.mkdir()
    path.write_bytes(os.urandom(100_000))
    return path


@pytest.fixture
def deliver(plugin, source, tmp_path):
    def deliver(*names, use_symlinks="True", hosts="[localhost]", input_file=None):
        texts = [str(name) for name in names]
        result = plugin.plugin_main(
            [], str(tmp_path), "out.mapfile", hosts, f"[{','.join(texts)}]", str(input_file or source), use_symlinks
        )
        assert list(result) == ["mapfile"]
        return DataMap.load(result["mapfile"]).data

    return deliver


def names_of(products):
    return [product.file for product in products]


def test_first_output_is_copied_and_rest_linked(deliver, source, tmp_path):
    first, second, third = tmp_path / "a" / "one.fits", tmp_path / "b" / "c" / "two.fits", tmp_path / "three.fits"
    products = deliver(first, second, third)
    assert not first.is_symlink()
    assert first.read_bytes() == source.read_bytes()
    assert [link.readlink() for link in (second, third)] == [first, first]
    assert names_of(products) == [str(first), str(second), str(third)]
    assert not any(product.skip for product in products)


@pytest.mark.parametrize("use_symlinks", ["True", "False"])
def test_stale_partial_copies_are_replaced(deliver, source, tmp_path, use_symlinks):
    (tmp_path / ".one.fits.part").symlink_to(source)
    (tmp_path / ".two.fits.part").write_text("half")
    (tmp_path / "new.fits").write_bytes(b"new")
    before = source.read_bytes()
    deliver(tmp_path / "one.fits", tmp_path / "two.fits", use_symlinks=use_symlinks, input_file=tmp_path / "new.fits")
    assert source.read_bytes() == before
    assert [path.read_bytes() for path in (tmp_path / "one.fits", tmp_path / "two.fits")] == [b"new", b"new"]
    assert list(tmp_path.glob(".*")) == []


def test_every_output_can_be_a_copy(deliver, source, tmp_path):
    deliver(tmp_path / "one.fits", tmp_path / "two.fits", use_symlinks="False")
    assert not (tmp_path / "two.fits").is_symlink()
    assert (tmp_path / "two.fits").read_bytes() == source.read_bytes()


def test_copy_survives_its_source(deliver, source, tmp_path):
    deliver(tmp_path / "one.fits", tmp_path / "two.fits")
    content = source.read_bytes()
    source.unlink()
    assert (tmp_path / "two.fits").read_bytes() == content


def test_empty_outputs_return_the_input(deliver, source):
    assert names_of(deliver()) == [str(source)]


def test_input_comes_from_mapfile(deliver, source, tmp_path):
    mapfile = tmp_path / "image_pb.mapfile"
    DataMap([DataProduct("localhost", str(source), False), DataProduct("localhost", "x", True)]).save(str(mapfile))
    deliver(tmp_path / "one.fits", input_file=mapfile)
    assert (tmp_path / "one.fits").read_bytes() == source.read_bytes()


def test_hosts_are_assigned_in_turn(deliver, tmp_path):
    products = deliver(*(tmp_path / f"{n}.fits" for n in range(3)), hosts="[n1, n2]")
    assert [product.host for product in products] == ["n1", "n2", "n1"]


def test_second_delivery_replaces_files_and_links(deliver, source, tmp_path):
    first, second = tmp_path / "one.fits", tmp_path / "two.fits"
    deliver(first, second)
    deliver(second, first)  # the link becomes a copy, and the copy a link
    assert not second.is_symlink()
    assert first.is_symlink()
    assert first.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("place", [0, 1])
def test_output_equal_to_input_preserves_input(deliver, source, tmp_path, place):
    names = [tmp_path / "one.fits"]
    names.insert(place, source)
    content = source.read_bytes()
    deliver(*names)
    assert not source.is_symlink()
    assert source.read_bytes() == (tmp_path / "one.fits").read_bytes() == content


def test_two_inputs_are_refused(deliver, tmp_path):
    with pytest.raises(PipelineError, match="names 2 files; exactly one"):
        deliver(tmp_path / "one.fits", input_file="[a,b]")


def test_missing_or_directory_input_is_refused(deliver, tmp_path):
    with pytest.raises(PipelineError, match=r"nowhere\.fits: no such file"):
        deliver(tmp_path / "one.fits", input_file=tmp_path / "nowhere.fits")
    with pytest.raises(PipelineError, match="is a directory; only a file can be copied"):
        deliver(tmp_path / "one.fits", input_file=tmp_path)


def test_directory_among_outputs_prevents_all_copies(deliver, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(PipelineError, match="taken is a directory; give the name of a file in it"):
        deliver(tmp_path / "one.fits", tmp_path / "taken")
    assert not (tmp_path / "one.fits").exists()


def test_full_disk_leaves_no_partial_copy(deliver, tmp_path, monkeypatch):
    def full(source, target, **kwargs):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(PipelineError, match=r"one\.fits: cannot be copied from .*: No space left on device"):
        deliver(tmp_path / "out" / "one.fits")
    assert list((tmp_path / "out").iterdir()) == []


def test_filesystem_without_links_is_an_error(deliver, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(PipelineError, match=r"two\.fits: cannot be linked .*; use_symlinks = False makes copies"):
        deliver(tmp_path / "one.fits", tmp_path / "two.fits")


# ---- before the run


def test_good_names_pass_the_check(plugin, tmp_path):
    assert plugin.plugin_check([], output_files=f"[{tmp_path}/new/one.fits]", hosts="[localhost]") == []
    assert plugin.plugin_check([], mapfile_dir="x") == []


def test_check_finds_all_problems_at_once(plugin, tmp_path):
    (tmp_path / "file").touch()
    names = f"[{tmp_path}, {tmp_path}/one, {tmp_path}/one, {tmp_path}/file/two]"
    twice, directory, below = plugin.plugin_check([], output_files=names)
    assert f"{tmp_path}/one occurs twice" in twice
    assert f"{tmp_path} is a directory" in directory
    assert f"{tmp_path}/file is a file, not a directory" in below


def test_check_refuses_tilde(plugin, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (problem,) = plugin.plugin_check([], output_files="[~/a.fits]")
    assert problem == f"output_files: ~ is not replaced in ~/a.fits; write {tmp_path}/a.fits"


def test_check_refuses_unwritable_directory(plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (problem,) = plugin.plugin_check([], output_files=f"[{tmp_path}/one.fits]")
    assert f"no permission to write in {tmp_path}" in problem


def test_check_refuses_unknown_use_symlinks(plugin):
    assert plugin.plugin_check([], use_symlinks="yes") == ["use_symlinks is 'yes'; True or False is needed"]


def test_input_mapfile_names_the_source(plugin, source, tmp_path):
    DataMap([DataProduct("h", str(source), False)]).save(tmp_path / "in.map")
    given = {"hosts": "[h]", "output_files": f"[{tmp_path}/new.fits]", "input_mapfile": str(tmp_path / "in.map")}
    for call in (plugin.plugin_dry_run, plugin.plugin_main):
        result = call([], mapfile_dir=str(tmp_path), filename="out.mapfile", use_symlinks="0", **given)
        assert names_of(DataMap.load(result["mapfile"]).data) == [str(tmp_path / "new.fits")]
    assert (tmp_path / "new.fits").read_bytes() == source.read_bytes()
    both = "input_file and input_mapfile are given; one of them names the file"
    assert plugin.plugin_check([], input_file=str(source), **given) == [both]
    del given["input_mapfile"]
    with pytest.raises(PipelineError, match="input_file is missing; name the file, or with input_mapfile a map"):
        plugin.plugin_main([], mapfile_dir=str(tmp_path), filename="out.mapfile", **given)
