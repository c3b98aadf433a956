"""The station beam: formula, EveryBeam, beams of a band, beams that were applied."""
