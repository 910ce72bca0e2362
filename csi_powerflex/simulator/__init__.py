"""A PowerFlex gateway and its SDCs, simulated, with real block devices as volumes.

A stranger to the driver: it imports nothing of it."""
