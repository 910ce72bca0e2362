"""Two PersistentVolumes of one volume: one in block mode for a data mover, one for its user.

Kubernetes knows an attached volume by driver, handle and node, and not by its PersistentVolume. If the second
one is attached where the first one still is, kubelet takes the volume as set up, and the pod does not start.
So only one of them may ever be attached, and the next one only after the one before is removed.
"""
