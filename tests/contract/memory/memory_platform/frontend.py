"""What frontends of platform `memory` answer: the position engine's tokens, by a worker that can be reached."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from DynamoFaultLibrary.engines.sequence import token_at
from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.platforms.base import Deployment

if TYPE_CHECKING:
    from memory_platform.platform import Life, MemoryPlatform

TOKEN_S = 0.002


class Frontend(BaseHTTPRequestHandler):
    """One request: to ``/<platform>/<deployment>/v1/…``, or to ``/<platform>/undo`` with a recipe.

    A replica that ends hangs up; one that is stopped or cut off is waited for.
    """

    def __init__(self, platform: "MemoryPlatform", *arguments: Any) -> None:
        self.platform = platform
        super().__init__(*arguments)

    def log_message(self, *_: Any) -> None:
        """Replicas have logs of their own."""

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            deployment, front, workers = self._meant()
            ids = [{"endpoint": "generate", "instance_id": n} for n, worker in enumerate(workers) if not worker["exit"]]
            answers = {
                "health": {"status": "healthy", "instances": ids},
                "models": {"data": [{"id": deployment.model}]},
            }
            what = self.path.rpartition("/")[2]
            self._send(200, self.platform.counts(front) if what == "metrics" else json.dumps(answers[what]))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with suppress(ConnectionError):
            if not self.path.startswith(self.platform.path):
                self._send(410, "this is another memory")
            elif not self.path.endswith("/undo"):
                self._complete(body, is_chat=self.path.endswith("chat/completions"))
            else:
                try:
                    self._send(200, self.platform.undo(body))
                except RecoveryError as error:
                    self._send(409, str(error))

    def _complete(self, body: dict[str, Any], is_chat: bool) -> None:
        _, front, workers = self._meant()
        able = [worker for worker in workers if not self.platform.obstacle(front, worker)]
        if not able:
            self._send(503, "no worker can be reached")
            return
        worker, uuid = random.choice(able), str(uuid4())  # noqa: S311  # no secret
        front["replica"].log.write(
            f'request received request_id={uuid} x_request_id="{self.headers.get("x-request-id")}"'
        )
        worker["replica"].log.write(f"request received request_id={uuid}")
        front["requests"], worker["requests"] = front["requests"] + 1, worker["requests"] + 1
        prompt = len((body["messages"][-1]["content"] if is_chat else body["prompt"]).split())
        words = self._words(front, worker, range(prompt, prompt + body["max_tokens"]))
        usage = {"prompt_tokens": prompt, "completion_tokens": body["max_tokens"]}

        def answer(part: str, text: str, end: str | None, **more: Any) -> str:
            choice = {part: {"content": text}} if is_chat else {"text": text}
            choices = [{"index": 0, "finish_reason": end, **choice}]
            return json.dumps({"id": f"cmpl-{uuid}", "choices": choices, **more})

        if not body.get("stream"):
            self._send(200, answer("message", "".join(words), "length", usage=usage))
            return
        self._begin(200)
        for word in words:
            self.wfile.write(f"data: {answer('delta', word, None)}\n\n".encode())
        self.wfile.write(f"data: {answer('delta', '', 'length', usage=usage)}\n\ndata: [DONE]\n\n".encode())

    def _meant(self) -> "tuple[Deployment, Life, list[Life]]":
        """The deployment that the path names, its frontend, as soon as that runs, and its workers."""
        deployment = self.platform.deployments.get(self.path.split("/")[2])
        if deployment is None:
            raise ConnectionAbortedError
        front, workers = self.platform.sides(deployment)
        self._wait_for(front, front)
        return deployment, front, workers

    def _words(self, front: "Life", worker: "Life", positions: range) -> Iterator[str]:
        for position in positions:
            time.sleep(TOKEN_S)
            self._wait_for(front, worker)
            yield f" {token_at(position)}" if position > positions.start else str(token_at(position))

    def _wait_for(self, front: "Life", worker: "Life") -> None:
        while self.platform.obstacle(front, worker):
            if front["exit"] or worker["exit"]:
                raise ConnectionAbortedError
            time.sleep(self.platform.poll_s)

    def _begin(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def _send(self, status: int, text: str) -> None:
        self._begin(status)
        self.wfile.write(text.encode())
