"""The state of a run on disk: journal, history, up-to-date rule, fingerprints, in-place safety, lock."""
