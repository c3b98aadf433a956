"""Many fields with one command: the table, the run of each, the share of the machine."""
