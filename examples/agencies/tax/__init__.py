"""The tax board's client: it asks the population register about a taxpayer."""
