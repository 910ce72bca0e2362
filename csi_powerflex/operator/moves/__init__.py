"""VolumeMove: a claim that no pod uses gets a volume of another class, with the same data and the same name."""
