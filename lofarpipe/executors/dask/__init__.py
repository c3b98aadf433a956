"""Jobs on workers of Dask: on a cluster of nodes reached by ssh, or through a queue."""
