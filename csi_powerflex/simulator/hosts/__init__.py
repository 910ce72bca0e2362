"""The simulated hosts and their data: files, loop devices and links."""
