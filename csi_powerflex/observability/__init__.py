"""Logs and metrics, in one place each."""
