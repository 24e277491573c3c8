"""The commands, one module for each word that follows `ristmik`."""
