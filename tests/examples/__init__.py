"""The agencies' own systems."""
