"""Jobs of the data mover: what they may do, how far they are, and how they ended."""
