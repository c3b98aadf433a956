"""What a run was: its record, its repetition, and its package for archives."""
