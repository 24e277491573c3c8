"""Protobuf to our types and back; beside the services, nothing else knows protobuf."""
