"""What the operator writes: read, validated and typed once, at the edge."""
