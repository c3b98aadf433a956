"""Job directories for tests of the report: small ones with everything in them, and large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from made_images import BEAM_DEG, CELL_DEG, write_image

BEGAN_S = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
HOSTILE = "<script>alert(1)</script>"
SIDE = 96
WIDE_CELL_DEG = 0.1


def write_journal(job: Path, events: list[dict[str, Any]]) -> None:
    """Write events as a journal; those without a time get that of the run's start."""
    job.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"time_s": BEGAN_S, **event}) for event in events]
    (job / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))


def job_events(step: str, place: int, log: Path, start_s: float, **facts: Any) -> list[dict[str, Any]]:
    """Start and end of a job of 10 s with 1.5 cores and 0.5 GB, unless ``facts`` differ."""
    job = {"step": step, "job": f"{step}/{place:03d}", "log": str(log), "node": "node1", "start_s": start_s}
    job |= {"label": facts.pop("label", f"L1_SB{place:03d}.MS"), "cores": 2, "memory_gb": 4.0}
    done = {"exit_code": 0, "duration_s": 10.0, "cpu_s": 15.0, "max_rss_mb": 500.0, "problem": None, **facts}
    end_s = start_s + done["duration_s"]
    return [
        {"event": "job_started", "time_s": start_s, "pid": 1, **job},
        {"event": "job_done", "time_s": end_s, **job, **done},
    ]


def finished_run(job: Path, label: str = HOSTILE) -> list[dict[str, Any]]:
    """The events of a run with a plugin, a step of three jobs, one of them failed, and a step of one."""
    events: list[dict[str, Any]] = [
        {"event": "run_started", "job": label, "version": "0.1.0", "host": "node1", "executor": "local", "cores": 4,
         "memory_gb": 16.0, "steps": ["create", "average", "image"], "argv": ["genericpipeline.py", label]},
        {"event": "plugin_done", "time_s": BEGAN_S + 1, "step": "create", "duration_s": 1.0},
        {"event": "step_started", "time_s": BEGAN_S + 1, "step": "average", "type": "dp3", "jobs": 3},
    ]  # fmt: skip
    for place in range(3):
        log = write_log(job, f"average/{place:03d}", f"reading {label}\n")
        failed = {"exit_code": 134, "problem": f"exited with 134: {label}"} if place == 1 else {}
        events += job_events("average", place, log, BEGAN_S + 1, label=label, **failed)
    events += [
        {"event": "step_done", "time_s": BEGAN_S + 11, "step": "average", "jobs": 3, "failed": 1, "duration_s": 10.0},
        {"event": "warning", "text": f"the input is {label}"},
        {"event": "notice", "text": "wgridder is used"},
        {"event": "step_started", "time_s": BEGAN_S + 11, "step": "image", "type": "wsclean", "jobs": 1},
        *job_events("image", 0, write_log(job, "image/000", "cleaning\n"), BEGAN_S + 11),
        {"event": "step_done", "time_s": BEGAN_S + 21, "step": "image", "jobs": 1, "failed": 0, "duration_s": 10.0},
        {"event": "run_ended", "time_s": BEGAN_S + 21, "ok": True, "problem": None, "signal": None},
    ]
    commands = [f"average/{place:03d}: DP3 'msin={label}'" for place in range(3)]
    (job / "commands.txt").write_text("\n".join([*commands, "image/000: wsclean -size 96 96"]) + "\n")
    return events


def write_log(job: Path, name: str, text: str) -> Path:
    """Write the log of a job."""
    path = job / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"### cd /w && run {name}\n{text}")
    return path


def write_images(job: Path) -> None:
    """Write a flat-noise image with one source north-east of the middle, its beam, and the corrected image."""
    job.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    width = BEAM_DEG / CELL_DEG / 2.355
    source = np.exp(-0.5 * ((x + 20) ** 2 + (y - 10) ** 2) / width**2)
    flat = np.random.default_rng(3).normal(0, 1e-3, (SIDE, SIDE)) + source
    beam = np.exp(-(x**2 + y**2) / (2 * 30.0**2))
    beam[0, 0] = np.nan
    # A field so wide that the curvature of the sky shows; the beam covers as many pixels as ever.
    wide = {"CDELT1": -WIDE_CELL_DEG, "CDELT2": WIDE_CELL_DEG, "BMAJ": 8 * WIDE_CELL_DEG, "BMIN": 4 * WIDE_CELL_DEG}
    write_image(job / "fullband-MFS-image.fits", flat, **wide)
    write_image(job / "fullband-MFS-image-pb.fits", flat / beam, **wide)
    write_image(job / "fullband-MFS-primary-beam.fits", beam, without=("BMAJ", "BMIN", "BPA"), **wide)


def fact(value: Any, unit: str = "") -> dict[str, Any]:
    """A number as quality.json has it."""
    return {"value": value, "unit": unit, "source": "by hand"}


def write_facts(job: Path, label: str = HOSTILE) -> None:
    """Write plan.json, quality.json, comparison.json and run.json."""
    quality = {
        "image": str(job / "fullband-MFS-image.fits"),
        "image_pb": str(job / "fullband-MFS-image-pb.fits"),
        "rms": fact(1e-3, "Jy/beam"),
        "expected_thermal_noise": fact(0.8e-3, "Jy/beam"),
        "measured_over_expected": fact(1.25),
        "dynamic_range": fact(1000.4),
        "beam_major": fact(80.0, "arcsec"),
        "beam_minor": fact(40.0, "arcsec"),
        "source_count": fact(1),
        "integration_time": fact(3600.0, "s"),
        "flagged_fraction": fact(None),
        "versions": ["WSClean version 3.1"],
    }
    loss = {"distance_deg": 0.2, "averaged": {"total": 0.02, "worst_angle": 0.03}, "input": {"total": 0.01}}
    plan = {
        "summary": ["Image 96 x 96 pixels."],
        "warnings": [label],
        "quantities": {"cellsize_deg": {"value": 0.002, "unit": "deg", "source": label, "reason": "as asked for"}},
        "predicted_loss": {"explanation": "what is lost", "image_edge": loss | {"added_by_averaging": 0.01}},
    }
    source = {"name": label, "distance_deg": 0.1, "flux_jy": 1.0, "measured_jy": 1.02, "ratio": 1.02}
    source |= {"ratio_error": 0.01, "east_arcsec": 0.5, "north_arcsec": -0.2, "offset_arcsec": 0.54}
    source |= {"peak_loss": 0.01, "peak_loss_error": 0.002, "signal_to_noise": 900.0, "found": True}
    lost = {"name": "gone", "distance_deg": 0.2, "flux_jy": 0.5, "found": False}
    comparison = {"reference": label, "kind": "a sky model", "frequency_hz": 144e6}
    comparison |= {"summary": {"measured": 1, "median_ratio": 1.02}, "sources": [source, lost]}
    option = {"name": "robust", "value": label, "source": "command line", "meaning": "Briggs robustness"}
    checksum = {"algorithm": "sha256", "method": "sampled", "value": "abc"}
    record = {
        "options": [option],
        "configuration": {"values": [{"section": "remote", "key": "cores", "value": "0", "source": "built in"}]},
        "inputs": [{"path": label, "kind": "table", "bytes": 1234, "checksum": checksum}],
        "products": [
            {"path": "/d/image.fits", "kind": "file", "bytes": 99, "checksum": {"method": "full", "value": "d"}}
        ],
        "software": {"runner": {"name": "genericpipeline", "version": "0.1.0", "path": "/p"}, "programs": []},
    }
    for name, content in (("quality", quality), ("plan", plan), ("comparison", comparison), ("run", record)):
        (job / f"{name}.json").write_text(json.dumps(content))


def whole_job(job: Path, label: str = HOSTILE) -> Path:
    """A job directory with everything that the report shows."""
    write_images(job)
    write_facts(job, label)
    write_journal(job, finished_run(job, label))
    return job


def large_run(job: Path, subbands: int = 244, steps: int = 6, log_bytes: int = 30_000) -> Path:
    """A job directory with this many jobs in each of so many steps, eight at a time, with logs of a real size."""
    line = "Progress of a program, and what it read from L123456_SB000_uv.MS in this part of its work\n"
    text = line * (log_bytes // len(line))
    names = [f"step_{number}" for number in range(steps)]
    events: list[dict[str, Any]] = [
        {"event": "run_started", "job": "large", "steps": names, "cores": 64, "memory_gb": 256.0}
    ]
    commands = []
    now_s = BEGAN_S
    for name in names:
        events.append({"event": "step_started", "time_s": now_s, "step": name, "type": "dp3", "jobs": subbands})
        for place in range(subbands):
            log = write_log(job, f"{name}/{place:03d}", text)
            start_s = now_s + 12.0 * (place // 8)
            events += job_events(name, place, log, start_s, label=f"/data/field/L123456_SB{place:03d}_uv.MS")
            commands.append(
                f"{name}/{place:03d}: DP3 numthreads=8 msin=/data/field/L123456_SB{place:03d}_uv.MS msout=."
            )
        now_s += 12.0 * (subbands // 8 + 1)
        events.append({"event": "step_done", "time_s": now_s, "step": name, "jobs": subbands, "failed": 0})
    events.append({"event": "run_ended", "time_s": now_s, "ok": True})
    write_journal(job, events)
    (job / "commands.txt").write_text("\n".join(commands) + "\n")
    return job
