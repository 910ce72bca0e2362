"""What each controller and group controller RPC does. Independent of ``operations.node``."""
