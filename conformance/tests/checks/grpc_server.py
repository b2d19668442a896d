"""A gRPC server that speaks grpc.health.v1, on its C core; argv: port, port without the service, port with TLS, key, certificate."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def check(request, context):
    service = request[2:].decode()  # the only field is the name: tag, length, text
    if service == "unknown":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    if service == "slow":
        time.sleep(3)
    return {"down": NOT_SERVING, "garbled": b"\xff\xff", "large": SERVING * 500_000}.get(service, SERVING)


port, bare, tls, key, certificate = sys.argv[1:]
health = grpc.method_handlers_generic_handler(
    "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
)
server = grpc.server(ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((health,))
server.add_insecure_port(f"[::]:{port}")
pair = (open(key, "rb").read(), open(certificate, "rb").read())
server.add_secure_port(f"[::]:{tls}", grpc.ssl_server_credentials([pair]))
server.start()
other = grpc.server(ThreadPoolExecutor(2))
other.add_insecure_port(f"[::]:{bare}")
other.start()
server.wait_for_termination()
