"""VolumeImage: claims get a clone of an image, which is imported once for each pool."""
