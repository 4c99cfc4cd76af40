"""The position engine: a Dynamo worker whose next token is a function of its position.

A request that migrates carries the tokens it has so far to the next worker. Since the token at position ``p`` is
always the same one, whichever worker makes it, the whole answer is known beforehand: a token that was lost, repeated
or reordered by a migration shows up as a break in the sequence. Start it with
``python -m DynamoFaultLibrary.engines.position --model-path DIR``; the usual ``DYN_*`` variables select discovery
and planes.
"""

import argparse
import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo.common.backend.engine import (
    EngineConfig,
    GenerateChunk,
    GenerateRequest,
    LLMEngine,
    LlmRegistration,
)
from dynamo.common.backend.health_check import build_health_check_payload
from dynamo.common.backend.run import run
from dynamo.common.backend.worker import WorkerConfig

from DynamoFaultLibrary.engines.model import CONTEXT_LENGTH, START
from DynamoFaultLibrary.engines.sequence import token_at

if TYPE_CHECKING:
    from dynamo._core import Context

logger = logging.getLogger("position_engine")


class PositionEngine(LLMEngine):  # type: ignore[misc]  # ai-dynamo ships no types for its base class
    """Streams ``token_at(position)`` at a fixed pace; `token_time` is in seconds."""

    def __init__(self, model_path: str, model_name: str, token_time: float) -> None:
        self.model_path = model_path
        self.model_name = model_name
        self.token_time = token_time

    @classmethod
    async def from_args(cls, argv: list[str] | None = None) -> tuple["PositionEngine", WorkerConfig]:
        """Parse the command line into an engine and its worker configuration."""
        parser = argparse.ArgumentParser(prog="DynamoFaultLibrary.engines.position", description=__doc__)
        parser.add_argument("--model-path", required=True, help="model directory with a tokenizer")
        parser.add_argument("--model-name", help="served name; default: the directory's name")
        parser.add_argument("--token-time", type=float, default=0.006, help="seconds a token (default: %(default)s)")
        parser.add_argument("--component", default="backend", help="Dynamo component (default: %(default)s)")
        args = parser.parse_args(argv)
        name = args.model_name or Path(args.model_path).name
        config = WorkerConfig(
            **_runtime_options(),
            component=args.component,
            model_name=args.model_path,
            served_model_name=name,
            enable_kv_routing=False,
        )
        return cls(args.model_path, name, args.token_time), config

    async def start(self, worker_id: int) -> EngineConfig:
        """Register at once: there is nothing to load."""
        logger.info("position engine ready as worker %d", worker_id)
        return EngineConfig(
            model=self.model_path,
            served_model_name=self.model_name,
            llm=LlmRegistration(context_length=CONTEXT_LENGTH, kv_cache_block_size=16, total_kv_blocks=65536),
        )

    async def health_check_payload(self) -> dict[str, Any]:
        """A one-token request, for the runtime's own health check."""
        payload: dict[str, Any] = build_health_check_payload(bos_token_id=START)
        return payload

    async def generate(self, request: GenerateRequest, context: "Context") -> AsyncGenerator[GenerateChunk, None]:
        """Stream the tokens of the positions after the prompt, one each `token_time` seconds."""
        start = len(request["token_ids"])
        count = (request.get("stop_conditions") or {}).get("max_tokens") or 16
        logger.info("request_id=%s start=%d count=%d", context.id(), start, count)
        clock = asyncio.get_running_loop()
        due = clock.time()
        for i in range(count):
            due += self.token_time
            await asyncio.sleep(max(0.0, due - clock.time()))
            if context.is_stopped():
                logger.info("request_id=%s cancelled after %d of %d tokens", context.id(), i, count)
                yield {"token_ids": [], "index": 0, "finish_reason": "cancelled"}
                return
            chunk: GenerateChunk = {"token_ids": [token_at(start + i)], "index": 0}
            if i == count - 1:
                chunk["finish_reason"] = "length"
                chunk["completion_usage"] = {
                    "prompt_tokens": start,
                    "completion_tokens": count,
                    "total_tokens": start + count,
                }
            yield chunk
        logger.info("request_id=%s done", context.id())

    async def cleanup(self) -> None:
        """Nothing to release."""


def _runtime_options() -> dict[str, Any]:
    """Discovery and planes as Dynamo's own workers read them from the environment."""
    return {
        "namespace": os.environ.get("DYN_NAMESPACE", "dynamo"),
        "discovery_backend": os.environ.get("DYN_DISCOVERY_BACKEND", "etcd"),
        "request_plane": os.environ.get("DYN_REQUEST_PLANE", "tcp"),
        "event_plane": os.environ.get("DYN_EVENT_PLANE"),
    }


if __name__ == "__main__":
    run(PositionEngine)
