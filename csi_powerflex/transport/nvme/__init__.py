"""NVMe/TCP: the connections of this host to PowerFlex systems, and the devices of volumes on them."""
