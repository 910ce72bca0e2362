"""A client of the Kubernetes API that lists and watches objects. It knows nothing of volumes or of CSI."""
