"""The loop: run, kinds of steps, recipe, jobs of a step, dry run, clean-up."""
