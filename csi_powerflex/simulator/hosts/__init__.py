"""The simulated hosts and the data they see: files, loop devices and links."""
