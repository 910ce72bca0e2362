"""The CSI edge: the only place that knows gRPC."""
