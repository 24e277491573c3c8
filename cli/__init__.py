"""The ristmik command."""
