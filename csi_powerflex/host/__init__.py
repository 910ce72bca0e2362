"""This Linux host: its commands, mounts, filesystems and block devices. It does not know PowerFlex or CSI."""
