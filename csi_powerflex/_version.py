"""The version, in one place and static, so that a build needs no git."""

__version__ = "0.1.0"
