"""What the administrator of a security server does and is told."""
