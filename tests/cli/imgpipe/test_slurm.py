"""imgpipe with nodes = 'slurm': cores, memory, environment and how many jobs are in the queue."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imgpipe_site import TOML, ImgpipeSite
from slurm_cluster import Cluster

pytestmark = pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")


def test_slurm_runs_image_jobs(slurm: Cluster, tmp_path: Path) -> None:
    site = ImgpipeSite(tmp_path)
    site.make_sets("A.MS", "B.MS")
    site.write(TOML.replace("j = 1\n", ""))
    site.stub('case "$*" in *.MS) echo "$MARK $*" >>calls ;; esac')
    (tmp_path / "env.sh").write_text((tmp_path / "env.sh").read_text() + "export MARK=sourced\nfalse\n")
    heavy = "nodes = 'slurm'\nslurm_nodes = 1\nmax_concurrent = 1\nresources.heavy = {cpus = 1, mem = '300MB'}\n"
    site.write((tmp_path / "img.toml").read_text().replace("[worker]\n", f"[worker]\n{heavy}"))
    printed = site.run("img.toml", "A.MS", "B.MS")
    assert "2 of 2 images made" in printed
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert all(call.startswith("sourced ") and " -j 1 " in call and " -abs-mem 0.2" in call for call in calls)
