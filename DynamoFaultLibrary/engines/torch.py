"""The torch engine: the position engine with a decoding step on the GPU before each token.

The tokens are the position engine's, so that a lost, repeated or reordered one is seen after a migration; the decoder's
are thrown away. A step that fails ends its request with an error, as an engine's does. Start it with
``python -m DynamoFaultLibrary.engines.torch --model-path DIR``; without a GPU it decodes on the CPU.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dynamo.common.backend.engine import EngineConfig, GenerateChunk, GenerateRequest
from dynamo.common.backend.run import run

from DynamoFaultLibrary.engines.position import PositionEngine

if TYPE_CHECKING:
    from dynamo._core import Context

    from DynamoFaultLibrary.engines.decoder import Decoder

logger = logging.getLogger("torch_engine")


class TorchEngine(PositionEngine):
    """One step at a time, in a thread of its own: the worker stays responsive while the GPU works."""

    decoder: "Decoder"

    async def start(self, worker_id: int) -> EngineConfig:
        """Load the decoder, and register when its first step has worked."""
        self.thread = ThreadPoolExecutor(1, "decoder")
        self.decoder = await asyncio.get_running_loop().run_in_executor(self.thread, self._load)
        logger.info("decoding on %s", self.decoder.device)
        return await super().start(worker_id)

    @staticmethod
    def _load() -> "Decoder":
        # PyTorch takes seconds to import, and only here is it needed
        from DynamoFaultLibrary.engines.decoder import Decoder

        return Decoder()

    async def generate(self, request: GenerateRequest, context: "Context") -> AsyncGenerator[GenerateChunk, None]:
        """Stream as the position engine does, each token after a step of the decoder."""
        loop = asyncio.get_running_loop()
        cache = await loop.run_in_executor(self.thread, self.decoder.begin)
        used = 0
        async for chunk in super().generate(request, context):
            for token in chunk["token_ids"]:
                used += 1
                await loop.run_in_executor(self.thread, self.decoder.step, token, cache, used)
            yield chunk

    async def cleanup(self) -> None:
        """End the thread."""
        self.thread.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    run(TorchEngine)
