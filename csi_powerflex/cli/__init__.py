"""The command line: a command for each role, and its options."""
