"""A LOFAR HBA observation from nothing but a seed: stations, subbands, sky, thermal noise.

`settings` says what is observed, `stations` with what, `sky` what is there; `measurement_sets` writes the tables,
`truth` writes down what an image of them must show, `predict` has the DP3 command that puts the sky in.
"""
