"""Images and their quality: statistics, source fits, comparison, plots."""
