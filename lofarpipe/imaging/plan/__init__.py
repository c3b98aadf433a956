"""The imaging plan: size, averaging, smearing and their predicted losses."""
