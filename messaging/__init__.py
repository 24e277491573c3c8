"""One exchanged message."""
