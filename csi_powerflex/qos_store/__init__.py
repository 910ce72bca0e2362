"""Where the requested QoS limits of volumes are kept; implements ``model.ports.QosStore``."""
