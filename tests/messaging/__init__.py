"""Messages: what is signed, what is believed."""
