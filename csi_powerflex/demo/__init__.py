"""A small container orchestrator that walks a volume through its life.

It meets the driver as Kubernetes does: as processes and through CSI."""
