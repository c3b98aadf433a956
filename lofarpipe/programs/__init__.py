"""DP3, WSClean and other programs: arguments, checks, log reading, outputs."""
