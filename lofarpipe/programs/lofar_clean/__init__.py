"""lofar-clean, the imager of this package: its options, and what a step knows of it."""
