"""Cubes of channel images: their beams, the convolution to a common one, the writer, and the weights of planes."""
