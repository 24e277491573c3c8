"""Migrations of the registry's database, run by the role that owns it."""
