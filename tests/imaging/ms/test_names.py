"""Names of measurement sets that files have in other letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.imaging.ms.inputs import check_sets
from lofarpipe.imaging.ms.names import other_case_hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("*.ms", "; capital letters differ: L1_SB000.MS is there, so write {here}/*.MS"),
        ("l1_sb*.ms", "; capital letters differ: L1_SB000.MS is there, so write {here}/l1_sb*.MS"),
        ("*sb001*", "; capital letters differ: L1_SB001.MS is there, so write {here}/L1_SB001.MS"),
        ("l1_SB000.MS", "; there is {here}/L1_SB000.MS"),
        ("*.tar", ""),
        ("[.ms", ""),
    ],
)
def test_different_letter_case_is_suggested(tmp_path: Path, name: str, hint: str) -> None:
    for other in ("L1_SB000.MS", "L1_SB001.MS"):
        (tmp_path / other).mkdir()
    assert other_case_hint(f"{tmp_path}/{name}") == hint.format(here=tmp_path)
    assert other_case_hint(f"{tmp_path}/nowhere/{name}") == ""


def test_check_suggests_matching_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.MS").mkdir()
    _, (pattern, name) = check_sets([f"{tmp_path}/*.ms", f"{tmp_path}/A.MS"])
    assert pattern.endswith(
        f"no measurement set matches this pattern; capital letters differ: a.MS is there, so write {tmp_path}/*.MS"
    )
    assert name == f"{tmp_path}/A.MS: no such measurement set; there is {tmp_path}/a.MS"
