"""Reading what a Kubernetes cluster has for volumes: PersistentVolumes, claims, snapshots and nodes."""
