"""The first version of what the health system says."""
