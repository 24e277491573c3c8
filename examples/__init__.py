"""Agencies that use the bus, as an agency would write them."""
