"""Tests of the ristmik command and of the sandbox it starts."""
