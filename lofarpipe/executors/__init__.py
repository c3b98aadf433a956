"""Execution of jobs: one contract (``jobs``), implemented by the executors in the folders here."""
