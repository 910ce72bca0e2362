"""What only another kernel shows: scenarios that run in an emulated machine, as root. See ``run``."""
