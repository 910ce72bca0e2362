"""The ways from a node to its volumes; implements ``model.node.NodeTransport``."""
