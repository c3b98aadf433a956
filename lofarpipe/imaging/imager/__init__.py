"""A wide-field imager: visibilities in, cleaned images out. Needs the packages ducc0 and numba, no program."""
