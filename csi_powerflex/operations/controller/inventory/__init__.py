"""What the arrays have of a cluster's volumes and snapshots, next to what Kubernetes knows of them."""
