"""Migrations of the authority's database, run by the role that owns it."""
