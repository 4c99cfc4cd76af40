"""Where requests go: a URL taken apart once, with all that its requests have in common."""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from DynamoFaultLibrary.errors import LoadError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL_CHARACTERS = "/%:@!$&'()*+,;=~-._"
"""What a path keeps as it is; everything else is percent-encoded."""


@dataclass(frozen=True)
class Address:
    """A URL for requests."""

    host: str
    """Name or address, an IPv6 address without brackets."""
    port: int
    is_tls: bool
    path: str
    head: bytes
    """First line and first headers of a POST to it."""
    authorization: str = ""
    """Header of that name: the user and the password that the URL has."""

    @property
    def origin(self) -> tuple[str, int, bool]:
        """What connections are shared by."""
        return self.host, self.port, self.is_tls

    @property
    def url(self) -> str:
        """It again, without user and password and without a slash at the end."""
        return f"{'https' if self.is_tls else 'http'}://{self}{self.path.rstrip('/')}"

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, url: str) -> "Address":
        """Take `url` apart. A path is kept, a user and a password go into the header ``authorization``.

        Raises:
            LoadError: requests cannot be sent there.
        """
        parts = _split(url)
        host = _host(url, parts)
        port = _port(url, parts) or _DEFAULT_PORTS[parts.scheme]
        path = quote(parts.path.rstrip("/"), _URL_CHARACTERS) or "/"
        shown = _bracketed(host.partition("%")[0])  # the zone of an IPv6 address means something on this machine only
        headers = [
            f"POST {path} HTTP/1.1",
            "host: " + (shown if port == _DEFAULT_PORTS[parts.scheme] else f"{shown}:{port}"),
        ]
        authorization = ""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {b64encode(user.encode()).decode()}"
            headers.append(f"authorization: {authorization}")
        head = "".join(line + "\r\n" for line in headers).encode()
        return cls(host, port, parts.scheme == "https", path, head, authorization)


def split_login(url: str) -> tuple[str, str]:
    """A valid URL without user and password, and these as it has them: they are never to be written anywhere."""
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    return (urlunsplit(parts._replace(netloc=place)), login) if login else (url, "")


def with_login(url: str, login: str) -> str:
    """The inverse of `split_login`."""
    return url.replace("//", f"//{login}@", 1) if login else url


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refuse(url: str, why: str) -> LoadError:
    shown = re.sub(r"//.*@", "//", url)  # what stands before an @ may be a password, also where the rest is no address
    return LoadError(f"needs an address such as http://127.0.0.1:8000, not '{shown}': {why}")


def _split(url: str) -> SplitResult:
    if not (url.isprintable() and " " not in url):
        raise _refuse(url, "it has a space or a character that cannot be printed")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refuse(url, f"{error}") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise _refuse(url, "it does not begin with http:// or https://")
    if parts.query or parts.fragment:
        raise _refuse(url, "nothing can follow its path, neither '?' nor '#'")
    return parts


def _host(url: str, parts: SplitResult) -> str:
    if not parts.hostname:
        raise _refuse(url, "it names no host")
    if parts.hostname.isascii():
        return parts.hostname
    try:
        return parts.hostname.encode("idna").decode()
    except UnicodeError as error:
        raise _refuse(url, "its host is not a name") from error


def _port(url: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError as error:
        raise _refuse(url, "its port is not a number from 1 to 65535") from error
    if port == 0:
        raise _refuse(url, "its port is not a number from 1 to 65535")
    return port
