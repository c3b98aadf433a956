"""For machines: run record, LTA feedback, SIP, checksums, comparison, RO-Crate."""
