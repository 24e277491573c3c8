"""The first version of what the population system says."""
