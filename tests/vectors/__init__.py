"""Verifiers and vectors that share nothing with the product."""
