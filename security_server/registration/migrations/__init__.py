"""How the tables of schema "server" came to be, one revision after the other."""
