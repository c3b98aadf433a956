"""Simulated sets as the programs see them: DP3 wrote the sky, EveryBeam reads the stations."""

import math

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.beam.station import StationBeams, equal_pair_weights, make_grid
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.simulation.sky import read_truth
from lofarpipe.programs.dp3 import predict_argv

SPEED_OF_LIGHT_M_S = 299_792_458.0


def column(path, *names):
    with ct.table(str(path), ack=False) as table:
        return [table.getcol(name) for name in names]


def direct_sum(uvw_m, frequencies_hz, truth):
    """Visibilities of the truth's point sources, (row, chan), by the measurement equation itself."""
    ra0, dec0 = map(math.radians, truth.phase_centre_deg)
    total = np.zeros((len(uvw_m), len(frequencies_hz)), complex)
    for source in truth.sources:
        ra, dec = math.radians(source.right_ascension_deg), math.radians(source.declination_deg)
        l_cosine = math.cos(dec) * math.sin(ra - ra0)
        m_cosine = math.sin(dec) * math.cos(dec0) - math.cos(dec) * math.sin(dec0) * math.cos(ra - ra0)
        n_less_1 = -(l_cosine**2 + m_cosine**2) / (1 + math.sqrt(1 - l_cosine**2 - m_cosine**2))
        delay_s = uvw_m @ np.array([l_cosine, m_cosine, n_less_1]) / SPEED_OF_LIGHT_M_S
        fluxes = np.array([source.flux_at_jy(hz) for hz in frequencies_hz])
        total += fluxes * np.exp(2j * np.pi * delay_s[:, None] * frequencies_hz)
    return total


def test_sky_without_beam_equals_the_direct_sum(silent_observation):
    truth = read_truth(silent_observation / "truth.json")
    data, uvw_m, first, second = column(truth.sets[0], "DATA", "UVW", "ANTENNA1", "ANTENNA2")
    expected = direct_sum(uvw_m, read_metadata(truth.sets[0]).frequencies_hz, truth)
    cross = first != second
    assert np.abs(expected).max() > 1
    assert np.abs(data[cross][:, :, 0] - expected[cross]).max() < 1e-4
    assert np.abs(data[cross][:, :, 3] - expected[cross]).max() < 1e-4
    assert np.abs(data[:, :, 1:3]).max() == 0  # unpolarised


def test_metadata_follow_settings(tiny_observation):
    truth = read_truth(tiny_observation / "truth.json")
    all_metadata = [read_metadata(path) for path in truth.sets]
    assert len(all_metadata) == 4  # 2 blocks of 2 subbands
    first = all_metadata[0]
    assert (first.telescope, first.antenna_set, first.has_lofar_beam) == ("LOFAR", "HBA_DUAL_INNER", True)
    assert first.phase_centre_rad == pytest.approx(truth.settings.phase_centre_rad)
    assert first.correlations == ("XX", "XY", "YX", "YY")
    assert first.nrows == 4 * 21  # slots * baselines of 6 stations, with autocorrelations
    assert first.timestep_s == pytest.approx(4.00556032)
    assert first.channel_width_hz == 195312.5 / 2
    assert {metadata.ref_frequency_hz for metadata in all_metadata} == set(truth.settings.subband_frequencies_hz())
    assert all_metadata[2].start_s - first.start_s == pytest.approx(3600)  # span between the two blocks


def test_weights_follow_sefd_table(tiny_observation):
    truth = read_truth(tiny_observation / "truth.json")
    (weights,) = column(truth.sets[0], "WEIGHT_SPECTRUM")
    # By hand: SEFD between 3600 Jy (120 MHz) and 2800 Jy (150 MHz), halved nowhere in an INNER set
    frequency_hz = truth.settings.subband_frequencies_hz()[0]
    sefd_jy = 3600 - 800 * (frequency_hz - 120e6) / 30e6
    sigma_jy = sefd_jy / math.sqrt(2 * 195312.5 / 2 * 4.00556032)
    assert weights == pytest.approx(np.full(weights.shape, sigma_jy**-2), rel=1e-5)
    assert truth.sefd_jy["CS001HBA0"][0] == pytest.approx(sefd_jy)


def test_noise_variance_agrees_with_weights(tiny_observation):
    truth = read_truth(tiny_observation / "truth.json")
    pulls = []
    for path in truth.sets:
        data, weights, first, second = column(path, "DATA", "WEIGHT_SPECTRUM", "ANTENNA1", "ANTENNA2")
        autos = first == second  # the sky has none
        pulls.append(data[autos] * np.sqrt(weights[autos]))
    values = np.concatenate(pulls).ravel()
    draws = np.concatenate([values.real, values.imag])  # 4 sets * 4 slots * 6 * 2 * 4 * 2 = 1536 of them
    assert draws.std() == pytest.approx(1, abs=0.07)  # 4 sigma of 1 / sqrt(2 * 1536)
    assert abs(draws.mean()) < 0.1


def test_autocorrelations_are_flagged(tiny_observation):
    truth = read_truth(tiny_observation / "truth.json")
    flags, first, second = column(truth.sets[0], "FLAG", "ANTENNA1", "ANTENNA2")
    assert flags[first == second].all()
    assert not flags[first != second].all()


def test_beam_at_the_centre_is_corrected_and_recorded(tiny_observation):
    truth = read_truth(tiny_observation / "truth.json")
    with ct.table(truth.sets[0], ack=False) as table:
        keywords = table.getcolkeywords("DATA")
    assert keywords["LOFAR_APPLIED_BEAM_MODE"] == "Full"
    assert keywords["LOFAR_APPLIED_BEAM_DIR"]["m1"]["value"] == pytest.approx(math.radians(48))


def test_everybeam_makes_beams_of_the_stations(tiny_observation):
    truth = read_truth(tiny_observation / "truth.json")
    metadata = read_metadata(truth.sets[0])
    time_s, frequency_hz = metadata.start_s, metadata.ref_frequency_hz
    centre_rad = truth.settings.phase_centre_rad
    beams = StationBeams(truth.sets[0])
    grid = make_grid(centre_rad, math.radians(3), math.radians(3), frequency_hz)
    power = beams.power(grid, time_s, frequency_hz, equal_pair_weights(6))
    middle = power.shape[0] // 2
    assert power[middle, middle] == pytest.approx(1, abs=1e-4)
    # Power falls monotonically to the east within the main lobe: where is it a half?
    east = slice(middle, middle + power.shape[0] * 5 // 12)
    half_width_deg = math.degrees(abs(np.interp(-0.5, -power[middle, east], grid.columns_l[east])))
    # by hand: 1.09 wavelength / 30.75 m is 4.23 deg at 144 MHz; at 79 degrees of elevation it grows by up to 2 %
    assert 2 * half_width_deg == pytest.approx(4.25, abs=0.15)


def test_equal_seeds_give_equal_bits(script, tiny, tiny_observation, tmp_path):
    made = script.main(str(tmp_path), **tiny)
    truth = read_truth(tiny_observation / "truth.json")
    again = made["sets"][1:-1].split(",")
    assert len(again) == len(truth.sets)
    for one, other in zip(truth.sets, again, strict=True):
        for first, second in zip(column(one, "DATA", "FLAG", "UVW"), column(other, "DATA", "FLAG", "UVW"), strict=True):
            assert (first == second).all()


def test_different_seed_changes_sky_and_noise(script, tiny, tiny_observation, tmp_path):
    made = script.main(str(tmp_path), **tiny | {"seed": "8", "nblocks": "1", "nsubbands": "1"})
    assert (tmp_path / "sky.skymodel").read_text() != (tiny_observation / "sky.skymodel").read_text()
    assert made["sets"].endswith("/SIM008_T0_SB225.MS]")


def test_prediction_never_averages_beams_over_time(tmp_path):
    argv = predict_argv("DP3", tmp_path / "a.MS", tmp_path / "sky", beam=True)
    assert "msout=." in argv  # an empty msout would mean the same to DP3, and is refused elsewhere
    assert not any("beam_interval" in argument for argument in argv)
    assert "applybeam.updateweights=False" in argv


def test_prediction_without_beam_corrects_none(tmp_path):
    argv = predict_argv("DP3", tmp_path / "a.MS", tmp_path / "sky", beam=False)
    assert "steps=[predict]" in argv
    assert not any("applybeam" in argument for argument in argv)
