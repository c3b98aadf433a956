"""Where jobs run: one contract (``jobs``), and the executors that keep it: ``local``, ``slurm``, ``dask_executor``."""
