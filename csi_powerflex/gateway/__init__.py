"""The client of PowerFlex gateways, over HTTPS; implements the ports ``Array`` and ``Fleet`` of ``model.ports``."""
