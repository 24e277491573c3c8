"""Who belongs: registration and the global configuration."""
