import re
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from DynamoFaultLibrary.errors import DeploymentError, Unready
from DynamoFaultLibrary.platforms.http import get_text, scrape
from DynamoFaultLibrary.platforms.metrics import samples
from DynamoFaultLibrary.platforms.readiness import Expectation, wait_until_ready

SOON = timedelta(seconds=0.1)
PATIENT = timedelta(seconds=5)


def nothing() -> None:
    pass


def instances(*numbers: int, endpoint: str = "generate") -> dict[str, Any]:
    return {"instances": [{"instance_id": number, "endpoint": endpoint} for number in numbers]}


def metrics(number: int) -> bytes:
    return f'# HELP up\ndynamo_component_uptime{{worker_id="{number:x}"}} 1.5\n'.encode()


def serve(loopback: Any, *workers: int) -> list[str]:
    loopback.answer("/health", instances(*workers))
    loopback.answer("/v1/models", {"data": [{"id": "tiny-model"}]})
    loopback.answer("/v1/completions", {"choices": []})
    for worker in workers:
        loopback.answer(f"/{worker}/metrics", metrics(worker))
    return [f"{loopback.url}/{worker}/metrics" for worker in workers]


def completions(loopback: Any) -> list[Any]:
    return [body for path, _, body in loopback.seen if path == "/v1/completions"]


def not_ready(loopback: Any, urls: list[str], responses: int = 1) -> str:
    with pytest.raises(DeploymentError) as raised:
        wait_until_ready(loopback.url, Expectation(urls, responses, SOON), nothing)
    message = str(raised.value)
    prefix = f"{loopback.url} was not ready within 0.1 s; last seen: "
    assert message.startswith(prefix)
    return message.removeprefix(prefix)


def test_all_metrics_that_are_told_are_there_beside_what_is_wrong_with_the_others(loopback: Any) -> None:
    """The first one that does not answer says nothing of those after it."""
    (url,) = serve(loopback, 1)
    nobody = f"{loopback.url}/not-there"
    loopback.answer("/not-there", {}, 404)
    texts, problems = scrape({"a": nobody, "b": url}, 5)
    assert texts == {"b": metrics(1).decode()}
    assert problems == [f"no metrics of a at {nobody}: HTTP Error 404: Not Found"]
    assert scrape({}, 5) == ({}, [])


def test_bytes_that_are_no_text_are_no_metrics(loopback: Any) -> None:
    loopback.answer("/metrics", b"requests 1\n\xff")
    texts, (problem,) = scrape({"a": f"{loopback.url}/metrics"}, 5)
    assert texts == {}
    assert problem.startswith(f"no metrics of a at {loopback.url}/metrics: 'utf-8' codec can't decode byte 0xff")


def test_a_page_in_the_place_of_metrics_is_an_error_not_a_number() -> None:
    texts = {"Frontend-0": "requests 2\nerrors 1\n", "Frontend-1": "<html>busy</html>"}
    with pytest.raises(Unready, match="what Frontend-1 tells as its metrics cannot be read: "):
        list(samples(texts))
    assert [(who, sample.value) for who, sample in samples({**texts, "Frontend-1": "requests 3"}, "requests")] == [
        ("Frontend-0", 2),
        ("Frontend-1", 3),
    ]


def test_a_frontend_that_knows_its_workers_and_answers_is_ready(loopback: Any) -> None:
    urls = serve(loopback, 0xABC, 0xDEF)
    assert wait_until_ready(loopback.url, Expectation(urls, 3, PATIENT), nothing) == "tiny-model"


def test_a_router_may_be_known_and_need_not(loopback: Any) -> None:
    (worker, router) = serve(loopback, 1, 2)
    expected = Expectation([worker], 1, PATIENT, others=[router, f"{loopback.url}/not-there"])
    assert wait_until_ready(loopback.url, expected, nothing) == "tiny-model"
    loopback.answer("/health", instances(1))
    assert wait_until_ready(loopback.url, expected, nothing) == "tiny-model"


def test_a_process_may_be_several_workers_of_which_it_names_one(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/health", instances(1, 7, 8))
    assert wait_until_ready(loopback.url, Expectation(urls, 1, PATIENT, unnamed=2), nothing) == "tiny-model"
    for known, seen in (((1, 7), "and 0 that are gone, and 1 of 2 more"), ((1, 7, 8, 9), "and 1 that are gone")):
        loopback.answer("/health", instances(*known))
        with pytest.raises(DeploymentError, match=f"1 of 1 workers known to the frontend, {seen}"):
            wait_until_ready(loopback.url, Expectation(urls, 1, SOON, unnamed=2), nothing)


def test_so_many_good_responses_in_a_row_are_asked_for(loopback: Any) -> None:
    urls = serve(loopback, 1)
    wait_until_ready(loopback.url, Expectation(urls, 4, PATIENT), nothing)
    assert completions(loopback) == [{"model": "tiny-model", "prompt": "ready ?", "max_tokens": 1}] * 4


def test_a_bad_response_starts_the_row_again(loopback: Any) -> None:
    urls = serve(loopback, 1)
    good = loopback.routes["/v1/completions"]

    def second_is_bad(handler: Any) -> None:
        if len(completions(loopback)) == 2:
            handler.send_error(503)
        else:
            good(handler)

    loopback.routes["/v1/completions"] = second_is_bad
    wait_until_ready(loopback.url, Expectation(urls, 3, PATIENT), nothing)
    assert len(completions(loopback)) == 2 + 3


def test_a_worker_that_the_frontend_does_not_know_is_waited_for(loopback: Any) -> None:
    urls = serve(loopback, 1, 2)
    loopback.answer("/health", instances(1))
    assert not_ready(loopback, urls) == "1 of 2 workers known to the frontend, and 0 that are gone"
    assert completions(loopback) == []


def test_a_worker_that_is_gone_must_be_forgotten(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/health", instances(1, 9))
    assert not_ready(loopback, urls) == "1 of 1 workers known to the frontend, and 1 that are gone"


def test_a_worker_without_an_id_in_its_metrics_is_not_known(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/1/metrics", b"up 1\n")
    assert not_ready(loopback, urls) == "0 of 1 workers known to the frontend, and 1 that are gone"


def test_two_workers_that_share_an_id_are_not_two(loopback: Any) -> None:
    urls = serve(loopback, 1)
    assert not_ready(loopback, urls * 2).startswith("1 of 2 workers known")


def test_other_endpoints_than_generate_do_not_count(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/health", instances(1, endpoint="clear_kv_blocks"))
    assert not_ready(loopback, urls).startswith("0 of 1 workers known")


def test_a_frontend_without_a_model_is_not_ready(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/v1/models", {"data": []})
    assert not_ready(loopback, urls) == "0 models in /v1/models"


def test_a_frontend_that_answers_badly_is_not_ready(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/v1/completions", b"no workers", status=503)
    assert re.fullmatch("status 503 of .*/v1/completions: no workers", not_ready(loopback, urls))


def test_a_health_page_that_is_no_json_is_not_ready(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/health", b"<html>")
    assert not_ready(loopback, urls).startswith("JSONDecodeError: ")


def test_a_frontend_that_does_not_listen_is_not_ready() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(DeploymentError, match=rf"{url} was not ready within 0.1 s; last seen: URLError: .*refused"):
            wait_until_ready(url, Expectation([], 1, SOON), nothing)


def test_a_frontend_that_becomes_ready_is_waited_for(loopback: Any) -> None:
    urls = serve(loopback, 1)
    loopback.answer("/health", instances())
    looks: list[int] = []

    def third_time() -> None:
        looks.append(1)
        if len(looks) == 3:
            loopback.answer("/health", instances(1))

    assert wait_until_ready(loopback.url, Expectation(urls, 1, PATIENT), third_time) == "tiny-model"
    assert len(looks) == 3


def test_waiting_ends_at_once_when_hope_is_lost(loopback: Any) -> None:
    urls = serve(loopback, 1)

    def dead() -> None:
        raise DeploymentError("'Worker-0' ended while the deployment came up")

    with pytest.raises(DeploymentError, match="'Worker-0' ended"):
        wait_until_ready(loopback.url, Expectation(urls, 1, PATIENT), dead)
    assert loopback.seen == []


def test_a_proxy_of_the_environment_is_not_used(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    urls = serve(loopback, 1)
    assert wait_until_ready(loopback.url, Expectation(urls, 1, PATIENT), nothing) == "tiny-model"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npart", b"nonsense\r\n\r\n"])
def test_an_answer_that_breaks_off_is_none(answer: bytes) -> None:
    """A frontend that is killed while it answers: the error of Python's HTTP client went through all keywords."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve_once, daemon=True).start()
        with pytest.raises(OSError, match="not a whole answer"):
            get_text(f"http://127.0.0.1:{server.getsockname()[1]}/", 5)
