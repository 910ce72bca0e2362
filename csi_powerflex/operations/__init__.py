"""The use cases: each may be cut anywhere and repeated to the same end.

Knows neither gRPC nor HTTP."""
