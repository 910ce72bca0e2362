"""VolumeCopy: claims get a full, independent copy of a claim or VolumeSnapshot."""
