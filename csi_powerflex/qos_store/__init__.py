"""Where wishes for a volume's quality of service are kept; implements ``model.ports.Wishes``."""
