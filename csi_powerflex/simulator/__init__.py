"""A simulated PowerFlex gateway with simulated SDCs. Its volumes are real block devices.

The simulator is independent of the driver and imports nothing from it."""
