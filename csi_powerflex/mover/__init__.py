"""The data mover: copies disks, imports images and exports them. It runs in an image of its own."""
