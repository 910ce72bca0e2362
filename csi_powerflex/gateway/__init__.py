"""The client of the PowerFlex gateway: the only place that speaks HTTP.

Implements the ports of ``model.ports``."""
