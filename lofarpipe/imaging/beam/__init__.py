"""The station beam: formula, EveryBeam, beams over a band, applied beams."""
