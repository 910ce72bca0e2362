"""The operator's settings, read, checked and typed."""
