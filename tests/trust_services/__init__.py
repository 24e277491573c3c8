"""Tests of trust_services."""
