"""A CSI driver for Dell PowerFlex, and a PowerFlex simulator to try it on.

Start reading at docs/design.md; in the code at ``app`` (what is wired to what) or at
``operations`` (what each RPC means).
"""

from csi_powerflex._version import __version__

__all__ = ["__version__"]
