"""A daemon's metrics page."""

from urllib.error import URLError
from urllib.request import urlopen

import pytest
from services.port import free_port

from gpuwarden.core.address import Address
from gpuwarden.core.metrics import serve_metrics


def test_the_page_tells_version_and_part_and_ends_when_closed() -> None:
    listen = Address("127.0.0.1", free_port())
    close = serve_metrics("limiter", listen)
    with urlopen(f"http://{listen}/metrics", timeout=5.0) as page:
        text = page.read().decode()
    close()
    assert 'gpuwarden_build_info{part="limiter",version="' in text
    with pytest.raises(URLError):
        urlopen(f"http://{listen}/metrics", timeout=5.0)
