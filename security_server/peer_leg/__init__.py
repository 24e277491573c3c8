"""Security server to security server: streams, frames, and who is at the other end."""
