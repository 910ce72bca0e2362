"""The settings of the operator, read, checked and typed."""
