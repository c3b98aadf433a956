"""Reporters: output of run events to terminal, logs, page and notifications."""
