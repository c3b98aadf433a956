"""The science of the imaging pipelines. Knows nothing of parsets, steps and jobs."""
