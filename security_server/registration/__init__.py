"""What the administrator has registered: clients, services and access rights."""
