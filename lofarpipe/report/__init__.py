"""Reporters: who shows the events of a run to people."""
