"""The Allen Telescope Array: its uvh5 files, sessions, combined sets, images and reports."""
