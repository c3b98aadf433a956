"""The predicted loss against real averaging: by brute force, and by imaging with DP3 and WSClean."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.beam.width import FieldBeam
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.plan.options import PlanOptions
from lofarpipe.imaging.plan.plan import group_observation, make_plan
from lofarpipe.imaging.plan.smearing import weighted_loss
from lofarpipe.imaging.weighting.weights import ImageWeighting, briggs_weights
from small_sets import C_M_S, SetShape, antenna_xyz_m, make_set, pairs, uvw_at

SUBSAMPLES = 12


def cross_baselines_m(shape):
    antenna1, antenna2 = pairs(shape)
    xyz_m = antenna_xyz_m(shape)
    return (xyz_m[antenna2] - xyz_m[antenna1])[antenna1 != antenna2]


def phases_turns(shape, times_s, frequency_hz, east, north):
    """u l + v m + w (n - 1) in turns, (time, baseline)."""
    n_minus_1 = math.sqrt(1 - east**2 - north**2) - 1
    uvw_m = uvw_at(shape, cross_baselines_m(shape), times_s)
    return uvw_m @ np.array([east, north, n_minus_1]) * (frequency_hz / C_M_S)


def kept_amplitude(shape, time_s, frequency_hz, width_hz, step_s, east, north):
    """Remaining amplitude of each baseline's visibility: the mean over a fine grid of times and frequencies."""
    offsets = (np.arange(SUBSAMPLES) + 0.5) / SUBSAMPLES - 0.5
    times_s = time_s + step_s * offsets
    mean = sum(
        np.exp(2j * np.pi * phases_turns(shape, times_s, frequency_hz + width_hz * offset, east, north)).mean(axis=0)
        for offset in offsets
    )
    centre = np.exp(-2j * np.pi * phases_turns(shape, np.array([time_s]), frequency_hz, east, north)[0])
    return (mean / SUBSAMPLES * centre).real


def brute_force_loss(shape, times_s, frequencies_hz, weights, width_hz, step_s, theta_rad, nangles=6):
    """Loss of the peak, mean over position angles; ``weights`` (time, baseline, chan)."""
    losses = []
    for angle in np.pi * np.arange(nangles) / nangles:
        east, north = math.sin(theta_rad) * math.sin(angle), math.sin(theta_rad) * math.cos(angle)
        kept = sum(
            (weights[row, :, chan] * kept_amplitude(shape, time_s, frequency_hz, width_hz, step_s, east, north)).sum()
            for row, time_s in enumerate(times_s)
            for chan, frequency_hz in enumerate(frequencies_hz)
        )
        losses.append(1 - kept / weights.sum())
    return float(np.mean(losses)), float(np.max(losses))


def imaged_weights(shape, times_s, frequencies_hz, npix, cellsize_deg, options):
    """Briggs weights of each visibility of the averaged data, and their uvw in wavelengths."""
    uvw_m = uvw_at(shape, cross_baselines_m(shape), times_s)
    uvw_lambda = uvw_m[:, :, None, :] * (frequencies_hz / C_M_S)[:, None]
    weights = briggs_weights(
        uvw_lambda[..., 0],
        uvw_lambda[..., 1],
        np.ones(uvw_lambda.shape[:-1]),
        ImageWeighting(
            npix,
            math.radians(cellsize_deg),
            options.robust,
            options.image_padding,
            options.minuv_lambda,
            options.maxuv_lambda,
        ),
    )
    return weights, uvw_lambda


@pytest.mark.parametrize("dec_deg", [5.0, 33.0, 55.0, 80.0])
@pytest.mark.parametrize(("width_hz", "step_s"), [(97656.25, 8.0), (195312.5, 16.0), (400e3, 4.0), (30e3, 40.0)])
def test_formula_predicts_averaging_loss(dec_deg, width_hz, step_s):
    """HBA edge of a 3.15 deg field, with real Briggs weights, at four declinations."""
    shape = SetShape(nantennas=14, dec_rad=math.radians(dec_deg))
    times_s = shape.start_s + np.linspace(-12_000, 12_000, 10)
    frequencies_hz = np.array([132e6, 144e6, 160e6])
    weights, uvw_lambda = imaged_weights(shape, times_s, frequencies_hz, (3072, 3072), 0.00208, PlanOptions())
    theta_rad = math.radians(3.1503)
    simulated, worst = brute_force_loss(shape, times_s, frequencies_hz, weights, width_hz, step_s, theta_rad)
    predicted = weighted_loss(
        uvw_lambda.reshape(-1, 3),
        np.broadcast_to(frequencies_hz, weights.shape).ravel(),
        weights.ravel(),
        theta_rad,
        shape.dec_rad,
        width_hz,
        step_s,
        nangles=6,
    )
    assert predicted.total == pytest.approx(simulated, rel=0.02)
    assert predicted.worst_angle == pytest.approx(worst, rel=0.02)


@pytest.mark.parametrize("max_peak_smearing", [0.02, 0.05, 0.10])
def test_plan_predicts_its_averaging_loss(tmp_path, max_peak_smearing):
    """From sets on disk, sampled, to the loss of a source at the image's edge in the averaged data."""
    shape = SetShape(nantennas=14, ntimes=1200, timestep_s=4.0, nchan=16, channel_width_hz=25e3)
    metadata = read_metadata(make_set(tmp_path / "a.MS", shape))
    beam = FieldBeam(2.0, 2.0, "formula", "made up")
    options = PlanOptions(max_peak_smearing=max_peak_smearing, image_padding=1.2)
    plan = make_plan(group_observation([metadata]), beam, options)
    edge = plan.losses["image_edge"]

    step = plan.steps.time.step
    middle_s = shape.times_s[: len(shape.times_s) // step * step].reshape(-1, step).mean(axis=1)
    frequencies_hz = shape.frequencies_hz.reshape(-1, plan.steps.frequency.step).mean(axis=1)
    cellsize_deg = options.cellsize_highres_deg
    weights, _ = imaged_weights(shape, middle_s, frequencies_hz, plan.sizes[0].high, cellsize_deg, options)
    some = slice(None, None, max(1, len(middle_s) // 12))  # weights from all times, the sum over a few
    simulated, worst = brute_force_loss(
        shape, middle_s[some], frequencies_hz, weights[some], plan.freqstep_hz, plan.timestep_s, edge.distance_rad
    )
    assert plan.steps.frequency.step * plan.steps.time.step > 1
    assert edge.averaged.total == pytest.approx(simulated, rel=0.10)
    assert worst < max_peak_smearing
    assert simulated > max_peak_smearing / 8  # and the data are not kept finer than need be


def fill_with_one_source(path, shape, east, north):
    """Write the visibilities of a point source of 1 Jy, as the middle of each sample sees it."""
    with ct.table(path, readonly=False, ack=False) as table:
        uvw_m = table.getcol("UVW")
        turns = uvw_m @ np.array([east, north, math.sqrt(1 - east**2 - north**2) - 1]) / C_M_S
        visibilities = np.exp(2j * np.pi * turns[:, None] * shape.frequencies_hz)
        unpolarised = np.zeros((*visibilities.shape, 4), np.complex64)
        unpolarised[..., 0] = unpolarised[..., 3] = visibilities
        table.putcol("DATA", unpolarised)


def image_peak(path, root, size, options, row, column):
    """Image with WSClean, without cleaning, and return the value at a pixel."""
    from astropy.io import fits

    width, height = size
    command = ["wsclean", "-quiet", "-j", "2", "-name", str(root), "-size", str(width), str(height), "-niter", "0"]
    command += ["-scale", f"{options.cellsize_highres_deg}", "-weight", "briggs", f"{options.robust}", "-use-wgridder"]
    command += ["-padding", f"{options.image_padding}", "-minuv-l", f"{options.minuv_lambda}"]
    command += ["-maxuv-l", f"{options.maxuv_lambda}", "-pol", "I", "-no-update-model-required", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:]
    return float(fits.getdata(f"{root}-image.fits")[0, 0, row, column])


@pytest.mark.skipif(shutil.which("wsclean") is None, reason="wsclean is not installed")
def test_imaging_shows_the_predicted_loss(tmp_path):
    """A source near the image's edge, imaged by WSClean from the input and from its average by DP3.

    Near: within a few pixels of the edge itself WSClean 3.1's gridder loses up to 7 % of a source by itself.
    """
    shape = SetShape(nantennas=14, ntimes=400, timestep_s=4.0, nchan=32, channel_width_hz=20e3)
    path = make_set(tmp_path / "input.MS", shape, with_data=True)
    options = PlanOptions(image_padding=1.2, max_peak_smearing=0.10, gridder="wgridder")
    plan = make_plan(group_observation([read_metadata(path)]), FieldBeam(1.5, 1.5, "formula", "made up"), options)
    width, height = plan.sizes[0].high
    cell_rad = math.radians(options.cellsize_highres_deg)
    inset = width // 20
    near_edge_rad = math.asin((width // 2 - inset) * cell_rad)
    predicted = plan.predictor.loss_at(near_edge_rad, plan.steps.frequency.step, plan.steps.time.step).added
    ratios = []
    for row, column in ((height // 2, inset), (inset, width // 2)):
        fill_with_one_source(path, shape, -(column - width // 2) * cell_rad, (row - height // 2) * cell_rad)
        averaged = str(tmp_path / f"averaged{row}.MS")
        dp3 = [str(Path(sys.executable).parent / "DP3.py"), f"msin={path}", f"msout={averaged}", "steps=[avg]"]
        dp3 += ["avg.type=averager", f"avg.freqresolution={plan.freqstep_hz}", f"avg.timeresolution={plan.timestep_s}"]
        subprocess.run(dp3, check=True, capture_output=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
        peaks = [
            image_peak(one, tmp_path / f"image{number}", plan.sizes[0].high, options, row, column)
            for number, one in enumerate((path, averaged))
        ]
        assert peaks[0] == pytest.approx(1.0, abs=0.01)  # the source is where it should be, and whole
        ratios.append(peaks[1] / peaks[0])
    lost = 1 - float(np.mean(ratios))
    assert predicted == pytest.approx(lost, rel=0.2)
    assert 0.02 < lost < options.max_peak_smearing
    assert 1 - min(ratios) < options.max_peak_smearing
