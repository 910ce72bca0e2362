"""VolumeRevert: a claim gets the data of one of its snapshots, in place."""
