"""Kubernetes' own storage suites, run against the driver in the cluster of the end-to-end tests."""
