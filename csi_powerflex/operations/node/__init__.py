"""What each node RPC does. Independent of ``operations.controller``."""
