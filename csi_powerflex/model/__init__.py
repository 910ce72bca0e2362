"""The values that the driver works with, and the ports to arrays, transports and stores.

It knows neither gRPC nor HTTP nor the host. The array side and the node side share only this package.
"""
