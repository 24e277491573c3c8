"""The sandbox instance: what it is made of, and how it is started and kept running."""
