"""VolumeExport: the data of a claim or a snapshot become an image, in a file or on a server."""
