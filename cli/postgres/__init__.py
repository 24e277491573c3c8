"""A private PostgreSQL for machines without a database server."""
