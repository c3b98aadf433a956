"""Bright sources as the stations see them: their visibilities times the beams of each baseline, in the exact residual.

The model of a channel holds apparent fluxes, of the mean beam. A source of apparent flux S gives S R_pq / R on the
baseline pq, R_pq = Tr(J_p J_q^H) / 2 times the loss by averaging, and R its mean over the channel's
visibilities with their imaging weights. To the model's visibilities V of the source, (R_pq / R - 1) V is added. This
sum is 0 at the source, so that the fluxes of the model keep their meaning.
Source: of the response, lofarpipe.imaging.beam.station; of the loss, exp(-2 (pi rate spread)^2) with the turns of the
baseline's phase per second or hertz and the standard deviation of the averaged times or frequencies, the second order
of any average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.station import BeamGrid, StationBeams
from lofarpipe.imaging.imager.beam_times import BeamTimes
from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.components import sky_position
from lofarpipe.imaging.imager.kernels import compiled_finite
from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.plan.smearing import EARTH_ROTATION_RAD_S, SPEED_OF_LIGHT_M_S

Plane = NDArray[np.float32]
Visibilities = NDArray[np.complex64]
Floats = NDArray[np.float64]
#: Jones matrices (station, 2, 2) of a set's stations at a time and a frequency, in a direction (ra, dec), rad.
Jones = Callable[[str, float, float, tuple[float, float]], NDArray[np.complex64]]

MOST_SOURCES = 30  # the brightest ones, which bounds the time
PLACE_PIXELS = 8  # sources within a square of this side share one evaluation of the beams
FREQUENCY_STEP = 0.02  # at most, between two evaluations, as a fraction; beams are linear between them
SAMPLES_AT_ONCE = 2_000_000  # visibilities predicted at a time


class BrightSource(NamedTuple):
    """A bright source: the rectangle of its pixels, from the pixel (y, x), and the pixel of its peak."""

    y: int
    x: int
    pixels: Plane
    peak: tuple[int, int]
    flux_jy: float


def bright_sources(model: Plane, limit_jy: float) -> list[BrightSource]:
    """Return the sources of a model above a flux, brightest first: connected pixels, across gaps of one pixel."""
    from scipy.ndimage import find_objects, label

    has_flux = model != 0
    near = has_flux.copy()
    near[1:] |= has_flux[:-1]
    near[:, 1:] |= near[:, :-1].copy()
    labels, count = label(near, np.ones((3, 3), bool))
    ys, xs = np.nonzero(has_flux)
    fluxes_jy = np.bincount(labels[ys, xs], model[ys, xs], count + 1)
    brightest = np.argsort(-fluxes_jy, kind="stable")[:MOST_SOURCES]
    boxes, sources = find_objects(labels), []
    for number in brightest:
        if fluxes_jy[number] >= limit_jy:
            rows, columns = boxes[number - 1]
            pixels = np.where(labels[rows, columns] == number, model[rows, columns], np.float32(0))
            peak = np.unravel_index(int(pixels.argmax()), pixels.shape)
            place = int(rows.start + peak[0]), int(columns.start + peak[1])
            sources.append(BrightSource(rows.start, columns.start, pixels, place, float(fluxes_jy[number])))
    return sources


def phase_rates(east: float, north: float, dec_rad: float) -> Floats:
    """Return the phases' turns per metre of (v, u, w), for a source at direction cosines l, m.

    The first row is of turns per second and hertz, by the Earth's rotation: with the hour angle H,
    du/dH = w cos(dec) - v sin(dec), dv/dH = u sin(dec), dw/dH = -u cos(dec). The second one is of turns per hertz.
    Source: Thompson, Moran & Swenson (2017), section 4.1.
    """
    outward = np.sqrt(1 - east**2 - north**2) - 1
    sin, cos = np.sin(dec_rad), np.cos(dec_rad)
    turning = np.array([-east * sin, north * sin - outward * cos, east * cos]) * EARTH_ROTATION_RAD_S
    return np.array([turning, [north, east, outward]]) / SPEED_OF_LIGHT_M_S


@compiled_finite
def response_of(
    origin: NDArray[np.float32],
    vuw_m: Floats,
    frequency_hz: float,
    nodes_hz: Floats,
    rates: Floats,
    beams: NDArray[np.complex64],
) -> complex:
    """Return the response of a baseline: its beam, interpolated in time and frequency, times the loss by averaging.

    ``beams`` (time, frequency, station, station) are of the frequencies ``nodes_hz``.
    """
    step_hz = nodes_hz[1] - nodes_hz[0]
    place = min(max((frequency_hz * origin[5] - nodes_hz[0]) / step_hz, 0.0), len(nodes_hz) - 1.0)
    node = min(int(origin[0]), beams.shape[0] - 2)
    later = origin[0] - node
    low = min(int(place), beams.shape[1] - 2)
    higher = place - low
    p, q = int(origin[1]), int(origin[2])
    first = (1 - higher) * beams[node, low, p, q] + higher * beams[node, low + 1, p, q]
    second = (1 - higher) * beams[node + 1, low, p, q] + higher * beams[node + 1, low + 1, p, q]
    turning = vuw_m[0] * rates[0, 0] + vuw_m[1] * rates[0, 1] + vuw_m[2] * rates[0, 2]
    delay_s = vuw_m[0] * rates[1, 0] + vuw_m[1] * rates[1, 1] + vuw_m[2] * rates[1, 2]
    spread = (turning * frequency_hz * origin[3]) ** 2 + (delay_s * origin[4]) ** 2
    loss = np.exp(-2 * np.pi**2 * spread)
    response: complex = ((1 - later) * first + later * second) * loss
    return response


@compiled_finite
def add_responses(
    origins: NDArray[np.float32],
    vuw_m: Floats,
    weights: NDArray[np.float32],
    frequencies_hz: Floats,
    nodes_hz: Floats,
    rates: Floats,
    beams: NDArray[np.complex64],
) -> tuple[float, float]:
    """Return the sum of the weighted responses, real part, and of the weights."""
    total, norm = 0.0, 0.0
    for row in range(len(origins)):
        for chan in range(len(frequencies_hz)):
            if weights[row, chan] > 0:
                response = response_of(origins[row], vuw_m[row], frequencies_hz[chan], nodes_hz, rates, beams)
                total += weights[row, chan] * response.real
                norm += weights[row, chan]
    return total, norm


@compiled_finite
def multiply_responses(
    origins: NDArray[np.float32],
    vuw_m: Floats,
    source: Visibilities,
    frequencies_hz: Floats,
    nodes_hz: Floats,
    rates: Floats,
    beams: NDArray[np.complex64],
    mean: float,
    vis: Visibilities,
) -> None:
    """Add (response / mean - 1) times a source's visibilities to ``vis``."""
    for row in range(len(origins)):
        for chan in range(len(frequencies_hz)):
            if source[row, chan] != 0:
                response = response_of(origins[row], vuw_m[row], frequencies_hz[chan], nodes_hz, rates, beams)
                vis[row, chan] += source[row, chan] * np.complex64(response / mean - 1)


class EveryBeamJones:
    """Jones matrices of stations by EveryBeam; the telescopes of the sets are loaded once."""

    def __init__(self) -> None:
        self._telescopes: dict[str, StationBeams] = {}

    def __call__(
        self, path: str, time_s: float, frequency_hz: float, direction_rad: tuple[float, float]
    ) -> NDArray[np.complex64]:
        """Return the matrices (station, 2, 2) of a set at a time and a frequency, in a direction (ra, dec)."""
        if path not in self._telescopes:
            self._telescopes[path] = StationBeams(path)
        point = BeamGrid(*direction_rad, nodes=1, node_l=1e-4, node_m=1e-4)
        return self._telescopes[path].jones(point, time_s, frequency_hz)[:, 0, 0]


class StationResponses:
    """The hook of the major cycle: changes a model's visibilities to those of the stations' own beams."""

    def __init__(
        self,
        channels: Sequence[Channel],
        gridder: Gridder,
        times: Sequence[BeamTimes],
        centre_rad: tuple[float, float],
        limit_jy: float,
        jones: Jones,
    ):
        self.channels, self.gridder, self.times = channels, gridder, times
        self.centre_rad, self.limit_jy, self.jones = centre_rad, limit_jy, jones
        self._beams: dict[tuple[int, int, int], tuple[NDArray[np.complex64], float]] = {}
        self.sources: set[tuple[int, int]] = set()  # places of the sources, for the log

    def __call__(self, pol: int, chan: int, model: Plane, vis: Visibilities) -> None:
        """Change the visibilities (row, chan) of a model's plane; of Stokes I, the first parameter."""
        channel = self.channels[chan]
        if pol > 0 or channel.count == 0 or channel.origins is None:
            return
        for source in bright_sources(model, self.limit_jy):
            self._add_source(chan, channel, source, vis)

    def _add_source(self, chan: int, channel: Channel, source: BrightSource, vis: Visibilities) -> None:
        place = source.peak[0] // PLACE_PIXELS, source.peak[1] // PLACE_PIXELS
        self.sources.add(place)
        east, north = self._direction((place[0] + 0.5) * PLACE_PIXELS, (place[1] + 0.5) * PLACE_PIXELS)
        rates = phase_rates(east, north, self.centre_rad[1])
        nodes_hz = frequency_nodes(channel.band.low_hz, channel.band.high_hz)
        jones, mean = self._response(chan, channel, place, (east, north), nodes_hz, rates)
        beams = pair_beams(jones)
        rows = max(1, SAMPLES_AT_ONCE // len(channel.frequencies_hz))
        for start in range(0, len(vis), rows):
            part = slice(start, start + rows)
            source_vis = self._predict(channel, source, part)
            multiply_responses(
                channel.origins[part],  # type: ignore[index]
                channel.vuw_m[part],
                source_vis,
                channel.frequencies_hz,
                nodes_hz,
                rates,
                beams,
                mean,
                vis[part],
            )

    def _direction(self, y: float, x: float) -> tuple[float, float]:
        """Return the direction cosines l, m of a pixel."""
        gridder = self.gridder
        return -(x - gridder.nx // 2) * gridder.cell_rad, (y - gridder.ny // 2) * gridder.cell_rad

    def _response(
        self,
        chan: int,
        channel: Channel,
        place: tuple[int, int],
        cosines: tuple[float, float],
        nodes_hz: Floats,
        rates: Floats,
    ) -> tuple[NDArray[np.complex64], float]:
        """Return the stations' Jones matrices (time, frequency, station, 4) at a place, and their mean response."""
        key = (chan, *place)
        if key not in self._beams:
            east, north = (np.array(cosine) for cosine in cosines)
            ra_deg, dec_deg = sky_position(east, north, *self.centre_rad)
            direction_rad = float(np.radians(ra_deg)), float(np.radians(dec_deg))
            jones = self._evaluate(nodes_hz, direction_rad)
            total, norm = add_responses(
                channel.origins,  # type: ignore[arg-type]
                channel.vuw_m,
                channel.weights,
                channel.frequencies_hz,
                nodes_hz,
                rates,
                pair_beams(jones),
            )
            self._beams[key] = jones, total / norm
        return self._beams[key]

    def _evaluate(self, nodes_hz: Floats, direction_rad: tuple[float, float]) -> NDArray[np.complex64]:
        matrices = [
            [self.jones(times.path, float(time_s), float(hz), direction_rad) for hz in nodes_hz]
            for times in self.times
            for time_s in times.times_s
        ]
        stations = max(len(one) for row in matrices for one in row)
        jones = np.zeros((len(matrices), len(nodes_hz), stations, 4), np.complex64)
        for time, row in enumerate(matrices):
            for frequency, one in enumerate(row):
                jones[time, frequency, : len(one)] = one.reshape(len(one), 4)
        return jones

    def _predict(self, channel: Channel, source: BrightSource, part: slice) -> Visibilities:
        rows = Channel(channel.band, channel.frequencies_hz, channel.vuw_m[part], [], channel.weights[part])
        return self.gridder.predict_window(rows, source.y, source.x, source.pixels)


def pair_beams(jones: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return Tr(J_p J_q^H) / 2 of all pairs (time, frequency, station, station) of Jones matrices (..., station, 4)."""
    return np.asarray(0.5 * (jones @ np.conj(np.swapaxes(jones, -1, -2))), np.complex64)


def frequency_nodes(low_hz: float, high_hz: float) -> Floats:
    """Return evenly spaced frequencies of a band, two at least."""
    count = max(2, int(np.ceil((high_hz / low_hz - 1) / FREQUENCY_STEP - 1e-6)) + 1)
    return np.linspace(low_hz, high_hz, count)
