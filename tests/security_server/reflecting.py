"""A system that answers reflection about one service, in one or both versions."""

import grpc

from security_server.reflection import METHODS, Reflection, reflection_handler

OWN = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")


class Reflecting(grpc.GenericRpcHandler):
    def __init__(self, description, methods=METHODS, listed=None):
        names = listed or (*description.grpc_services, *OWN)
        self._handler = reflection_handler(Reflection(names, description.pool).answers)
        self._methods = methods
        self.asked = []
        self.address = ""

    def service(self, handler_call_details):
        method = handler_call_details.method.removeprefix("/")
        self.asked.append(method)
        return self._handler if method in self._methods else None
