"""An information system and its own security server."""
