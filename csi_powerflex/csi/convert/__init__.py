"""CSI messages to the driver's values, and back."""
