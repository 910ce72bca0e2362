"""The client of PowerFlex gateways, over HTTPS; implements ``Array`` and ``Fleet`` of ``model.ports``."""
