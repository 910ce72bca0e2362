"""A small container orchestrator that takes a volume through its whole life.

It uses the driver as Kubernetes does: it starts processes and calls CSI."""
