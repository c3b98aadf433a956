"""The names that third-party plugins and scripts import: mapfiles, parsets, exceptions, small utilities."""
