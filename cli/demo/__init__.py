"""`ristmik demo`: the story, chapter by chapter."""
