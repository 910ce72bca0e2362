"""This Linux host: its commands, mounts, filesystems and block devices.

Knows nothing of PowerFlex or CSI."""
