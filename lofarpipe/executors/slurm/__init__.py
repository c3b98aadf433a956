"""Jobs through Slurm, in arrays."""
