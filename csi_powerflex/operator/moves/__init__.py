"""VolumeMove: a claim that no pod uses gets a volume of another class, with its data and its name."""
