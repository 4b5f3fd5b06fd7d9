"""Which machine a host is."""

import functools
import ipaddress

__all__ = ["is_loopback"]


@functools.lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
