"""lofar-clean, the imager of this package: its options, and its role in a step."""
