"""The whole product, met from outside: the programs that users start, and no others."""
