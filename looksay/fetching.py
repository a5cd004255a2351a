"""Pictures from the web: one request each, to public addresses only, bounded in size and time.

A URL may come from a page or from a model's user, so it must not become a way into the local network:
every address that a name stands for is checked, and the connection goes to the address that was checked
(a name that means something else a moment later gains nothing). Only where the URL itself says loopback
is loopback asked, at that port alone.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from looksay.errors import InputError

MAX_BYTES = 30_000_000
"""A 100-megapixel JPEG is about as large."""
TIMEOUT_S = 20.0
MAX_REDIRECTS = 5

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_url(name: str) -> bool:
    """Whether a word names something on the web rather than a file.

    >>> is_url("HTTPS://example.org/a.jpg"), is_url("photos/a.jpg")
    (True, False)
    """
    return name.lower().startswith(("http://", "https://"))


def fetch(
    url: str, *, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S, own: bool = True
) -> bytes:
    """The bytes of the image at `url`. Raises InputError: no image, too large, too slow, not public.

    No proxy, cookie or credential of the environment is used, since a proxy would look names up itself. `own`: a URL
    that says loopback is asked, for whoever types it sits here; a server's clients do not.
    """
    deadline = time.monotonic() + timeout_s
    typed = _split(url, url)
    try:
        # Redirects are followed here, not by the client: each hop is checked as the first was.
        with httpx.Client(trust_env=False, follow_redirects=False) as client:
            here = typed
            for _ in range(MAX_REDIRECTS + 1):
                answer = _ask(client, here, _addresses(here, typed, url, own), deadline)
                try:
                    if answer.is_redirect:
                        here = _split(urljoin(here.geturl(), answer.headers["location"]), url)
                        continue
                    return _body(answer, url, max_bytes, deadline)
                finally:
                    answer.close()
    except (httpx.TimeoutException, TimeoutError):
        raise InputError(f"{url} did not come within {timeout_s:g} seconds.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(f"{url} could not be fetched: {error or type(error).__name__}.") from None
    raise InputError(f"{url} redirects more than {MAX_REDIRECTS} times.")


def _split(url: str, typed: str) -> SplitResult:
    what = url if url == typed else f"{typed} redirects to {url}, which"
    try:
        parts = urlsplit(str(httpx.URL(url.strip())))  # names and paths in ASCII, as they travel
        port = parts.port
    except (ValueError, httpx.InvalidURL) as error:
        raise InputError(f"{what} is not an address: {error}.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise InputError(f"{what} is not an address of the web. Expected https://host/picture.jpg")
    if parts.username or parts.password:
        raise InputError(f"{parts.hostname}: a URL with a password in it is not fetched.")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _addresses(here: SplitResult, typed: SplitResult, url: str, own: bool) -> list[Address]:
    """What the host's name stands for. Raises InputError where one of them is not to be asked."""
    host = str(here.hostname)
    try:
        rows = socket.getaddrinfo(host, _port(here), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"{url}: there is no host {host!r}, or the network is down.") from None
    addresses = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
    same_place = own and (host, _port(here)) == (typed.hostname, _port(typed))
    for address in addresses:
        if is_public(address) or (same_place and _says_loopback(host)):
            continue
        hop = "" if here == typed else f", to which {url} redirects"
        raise InputError(
            f"{host} is {address}{hop}: an address in a private network, which is not fetched from. "
            "Save the picture and name the file."
        )
    return list(dict.fromkeys(addresses))


def _says_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also where IPv6 wraps an IPv4 address.

    >>> is_public(ipaddress.ip_address("::ffff:127.0.0.1"))
    False
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64 (RFC 6052)
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _ask(
    client: httpx.Client, here: SplitResult, addresses: list[Address], deadline: float
) -> httpx.Response:
    """The head of the answer from the first address that can be connected to."""
    for address in addresses:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        literal = f"[{address}]" if address.version == 6 else str(address)
        request = client.build_request(
            "GET",
            here._replace(netloc=f"{literal}:{_port(here)}", fragment="").geturl(),
            headers={
                "Host": here.netloc,
                "Accept": "image/*",
                # What is packed could unpack to any size.
                "Accept-Encoding": "identity",
                "User-Agent": "looksay",
            },
            timeout=httpx.Timeout(left_s, connect=min(left_s, 5.0)),
            extensions={"sni_hostname": here.hostname},
        )
        try:
            return client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if address == addresses[-1]:
                raise
    raise TimeoutError


def _body(answer: httpx.Response, url: str, max_bytes: int, deadline: float) -> bytes:
    if answer.status_code != 200:
        raise InputError(f"{url}: HTTP {answer.status_code} {answer.reason_phrase}".rstrip() + ".")
    kind = answer.headers.get("content-type", "nothing").partition(";")[0].strip().lower()
    if not kind.startswith("image/"):
        raise InputError(
            f"{url} is {kind}, no image. Expected the address of the picture itself, not of its page."
        )
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise InputError(f"{url} came packed, although it was asked for as it is.")
    limit = f"{url} is larger than {max_bytes / 1e6:.0f} MB."
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise InputError(limit)
    body = bytearray()
    for piece in answer.iter_raw():
        body += piece
        if len(body) > max_bytes:
            raise InputError(limit)
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)
