"""What each RPC does. A call can be interrupted at any step and repeated with the same result.

This layer knows neither gRPC nor HTTP. ``controller`` and ``node`` are two halves that do not know each
other.
"""
