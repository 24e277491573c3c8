"""What verification compares with the entries: a module for each thing beside them."""
