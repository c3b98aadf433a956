"""Parset text to checked steps: compose, load, control keys, options, references, checks, plugins."""
