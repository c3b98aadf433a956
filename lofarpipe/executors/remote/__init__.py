"""The common part of Slurm and Dask: job orders, their leases, and the guard on the node."""
