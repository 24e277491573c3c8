"""Tests of the security server."""
