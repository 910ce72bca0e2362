"""Logs, metrics, and the HTTP endpoint for metrics and liveness."""
