"""The CSI services over gRPC: what surrounds each call, the methods, and the conversion of messages."""
