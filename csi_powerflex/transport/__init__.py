"""The ways from a node to its volumes: finding the block device of a volume, and waiting for it.

To add one, see ``model.transport``.
"""
