"""The part that Slurm and Dask share: the order of a job, the lease of a job directory, the guard on the node."""
