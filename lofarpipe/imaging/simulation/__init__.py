"""Simulation of a LOFAR HBA observation from a seed: stations, subbands, sky, thermal noise.

`stations` has the settings and stations, `sky` the sources and their true fluxes; `observation` writes the sets, with
subtables from `tables`, and has the DP3 command that predicts the sky.
"""
