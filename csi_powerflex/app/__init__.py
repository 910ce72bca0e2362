"""The processes, one module for each role: it connects the parts and runs them."""
