"""The server's credentials: every caller shows a certificate, and new files are used from the next handshake on."""

import grpc

from gpuwarden.core.tls import Pem, Rotating


def server_credentials(rotating: Rotating) -> grpc.ServerCredentials:
    """For `add_secure_port`. Open connections stay as they are when files change."""
    given = [rotating.newest()]

    def newest() -> grpc.ServerCertificateConfiguration | None:
        pem = rotating.newest()
        if pem == given[0]:
            return None
        given[0] = pem
        return _configuration(pem)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given[0]), newest, require_client_authentication=True  # type: ignore[arg-type]  # None means "as before"; the stubs do not know
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], root_certificates=pem.ca)
