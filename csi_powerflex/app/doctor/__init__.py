"""The doctor, one module for each role: it connects the checks and runs them once."""
