"""What the verbs that ask a controller share: where it is, whether it decides, and its errors in words."""

from typing import Final

import grpc

from gpuwarden.core.address import Address

SERVER: Final = Address("127.0.0.1", 7443)
DEADLINE_S: Final = 10.0
_DETAILS_KEY: Final = "grpc-status-details-bin"  # the controller's own words come with it
_HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"  # HealthCheckResponse{status: SERVING}; the plain install has no stubs of it


def serving(channel: grpc.Channel, timeout_s: float) -> bool:
    """Whether the controller's decider is alive. Raises grpc.RpcError where nobody answers."""
    check = channel.unary_unary(_HEALTH, request_serializer=bytes, response_deserializer=bytes)
    return bool(check(b"", timeout=timeout_s) == _SERVING)


def explained(why: grpc.Call, server: Address) -> str:
    """What went wrong and what to do about it."""
    said = why.details()
    if any(key == _DETAILS_KEY for key, _ in why.trailing_metadata() or ()):
        return f"refused ({why.code().name}): {said}"
    match why.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"no controller answers at {server}; is it running, is --server its `listen` address, does it take the certificate of --tls? ({said})"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{server} did not answer within {DEADLINE_S:.0f} s; what was asked may still take effect: see gpuwarden status"
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"{server} is not a controller that knows this request: {said}"
        case code:
            return f"{server} answered {code.name}: {said}"
