"""The science of the imaging pipelines, independent of parsets, steps and jobs."""
