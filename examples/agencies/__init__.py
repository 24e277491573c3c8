"""Three agencies' own gRPC systems, as they were before there was a bus.

Nothing here imports the bus: the registers answer whoever calls them, and the tax
board's client adds metadata keys to an ordinary generated stub.
"""
