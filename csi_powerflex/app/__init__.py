"""The composition root: settings in, a running process out. One module per role."""
