"""The summary at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lofarpipe.report.terminal import decimal_size_text, summary


def product(name: str, size_bytes: object = 1000, kind: str = "file") -> dict[str, object]:
    return {"path": f"/job/{name}", "bytes": size_bytes, "kind": kind}


def test_summary_shows_steps_products_and_quality(tmp_path: Path) -> None:
    products = [product("a.ms", 5e9, "table"), product("x-0000-image.fits"), product("x-MFS-image.fits", 23.6e6)]
    quality = {"rms": {"value": 0.00304, "unit": "Jy/beam"}, "source_count": {"value": 27, "unit": ""}, "other": 1}
    (tmp_path / "run.json").write_text(json.dumps({"products": products, "quality": quality}))
    (tmp_path / "report.html").touch()
    took = [("a", 5.0), ("b", 100.0), ("c", 1.0), ("d", 20.0)]
    assert summary(tmp_path, took, True) == [
        "product: /job/x-MFS-image.fits, 23.6 MB",
        "product: /job/x-0000-image.fits, 1 kB",
        "product: /job/a.ms, 5 GB",
        "quality: rms 3.04 mJy/beam, source count 27",
        "slowest: b 1 min 40 s, d 20 s, a 5.0 s",
        f"report: {tmp_path}/report.html",
    ]
    assert summary(tmp_path, took, False) == [f"report: {tmp_path}/report.html"]


def test_delivered_files_precede_the_image(tmp_path: Path) -> None:
    names = ["comparison.json", "x-0000-image.fits", "x-MFS-dirty.fits", "x-MFS-image-pb.fits", "x-MFS-image.fits"]
    products = [product("a.ms", kind="table"), *map(product, names)]
    products += [{"path": "/scratch/b.fits"}, {"path": "/archive/field.fits"}, {"path": "/d/in.ms", "kind": "table"}]
    record = {"products": products, "run": {"job_directory": "/job", "working_directory": "/scratch"}}
    assert [line.partition(",")[0].removeprefix("product: ") for line in summary(tmp_path, [], True, record)] == [
        *("/archive/field.fits", "/job/x-MFS-image-pb.fits", "/job/x-MFS-image.fits", "/job/comparison.json"),
        *("/job/x-MFS-dirty.fits", "/scratch/b.fits", "/job/x-0000-image.fits", "and 2 more products"),
    ]


def test_channel_image_precedes_its_residual(tmp_path: Path) -> None:
    names = ["x-I-dirty.fits", "x-I-image.fits", "x-I-residual.fits", "y-0001-image.fits"]
    record = {"products": [product(name) for name in names]}
    assert [line.partition(",")[0].removeprefix("product: /job/") for line in summary(tmp_path, [], True, record)] == [
        *("x-I-image.fits", "x-I-dirty.fits", "x-I-residual.fits", "y-0001-image.fits"),
    ]


def test_many_products_are_counted(tmp_path: Path) -> None:
    products = [product(f"{number}.fits") for number in range(20)]
    (tmp_path / "run.json").write_text(json.dumps({"products": products}))
    lines = summary(tmp_path, [], True)
    assert len(lines) == 8
    assert lines[-1] == "and 13 more products"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"products": 3, "quality": 3}', '{"products": [1, {"path": 2}, {}]}'])
def test_invalid_record_gives_no_summary(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert summary(tmp_path, [("a", 1.0)], True) == []


def test_known_record_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"products": [{"path": "/job/old"}]}')
    assert summary(tmp_path, [], True, {"products": [{"path": "/job/new"}]}) == ["product: /job/new"]
    assert summary(tmp_path, [], True, {}) == []


def test_odd_product_entry_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"products": [product("\x1b[2Ja", "big")]}))
    assert summary(tmp_path, [], True) == ["product: /job/a"]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (23.6e6, "23.6 MB"),
        (999.6e6, "1 GB"),
        (4.5e12, "4.5 TB"),
        (3e15, "3e+03 TB"),
    ],
)
def test_sizes_have_decimal_units(size_bytes: float, text: str) -> None:
    assert decimal_size_text(size_bytes) == text
