"""The node side on real loop devices, filesystems and mounts."""
