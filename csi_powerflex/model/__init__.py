"""What the driver talks about: frozen values and the ports they travel through.

Knows neither gRPC nor HTTP nor the host: the array side and the node side meet here.
"""
