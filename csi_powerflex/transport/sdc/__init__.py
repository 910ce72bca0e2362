"""Volumes through the PowerFlex SDC: the kernel module scini and its tool drv_cfg."""
