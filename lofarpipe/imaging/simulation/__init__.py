"""A LOFAR HBA observation from nothing but a seed: stations, subbands, sky, thermal noise.

`settings` says what is observed, `stations` with what, `sky` what is there and what an image of it must show;
`observation` writes the sets, with the subtables of `tables`, and has the DP3 command that puts the sky in.
"""
