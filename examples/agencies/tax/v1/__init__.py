"""The first version of what the tax system says."""
