"""Small requests to frontends and health endpoints: the standard library is enough, and quick to import."""

import json
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_text(url: str, timeout: float, headers: Mapping[str, str] | None = None) -> str:
    """Body of a GET; `timeout` is in seconds.

    Raises:
        OSError: no connection, no answer in time, an answer that breaks off, or a status other than 2xx.
    """
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310
    return _body(request, timeout).decode()


def get_json(url: str, timeout: float) -> Any:
    """`get_text`, parsed.

    Raises:
        OSError: as `get_text`.
        ValueError: the body is not JSON.
    """
    return json.loads(get_text(url, timeout))


def post_json(url: str, body: Any, timeout: float) -> Any:
    """Answer to a POST of JSON, parsed.

    Raises:
        OSError: as `get_text`.
        ValueError: the answer is not JSON.
    """
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    return json.loads(_body(request, timeout))


def scrape(urls: Mapping[str, str], timeout_s: float) -> tuple[dict[str, str], list[str]]:
    """Metrics by the names that `urls` have, and what is wrong with the others; all are asked at once."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    with ThreadPoolExecutor(len(urls) or 1) as threads:
        answers = {name: threads.submit(get_text, url, timeout_s) for name, url in urls.items()}
    for name, answer in answers.items():
        try:
            texts[name] = answer.result()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"no metrics of {name} at {urls[name]}: {error}")
    return texts, problems


def _body(request: urllib.request.Request, timeout: float) -> bytes:
    """What is no HTTP, or ends in its midst, is as good as no answer: whoever sends it may have been killed."""
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return bytes(answer.read())
    except HTTPException as error:
        raise ConnectionError(f"not a whole answer: {error!r}") from error
