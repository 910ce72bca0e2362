"""The data plane of NVMe hosts: an NVMe/TCP target in user space, over the files of the volumes."""
