"""`ristmik doctor`: looking at an instance, and saying how to mend it."""
