"""Calibration with reference sources: flux scale, gains, delays, bandpass, and solution tables."""
