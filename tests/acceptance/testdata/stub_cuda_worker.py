"""The position engine with a kernel launch for each token, on the stub driver that STUB_CUDA names."""

import ctypes
import os
from collections.abc import AsyncGenerator
from typing import Any

from dynamo.common.backend.run import run

from DynamoFaultLibrary.engines.position import PositionEngine

ARGUMENTS = [ctypes.c_void_p(1), 2, 3, 4, 5, 6, 7, 8, *map(ctypes.c_void_p, (9, 10, 11))]


class StubCudaEngine(PositionEngine):
    """Fails a request when its launch fails."""

    async def generate(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        async for chunk in super().generate(request, context):
            error = DRIVER.cuLaunchKernel(*ARGUMENTS)
            if error:
                raise RuntimeError(f"CUDA error {error}")
            yield chunk


DRIVER = ctypes.CDLL(os.environ["STUB_CUDA"])
if DRIVER.cuInit(0) or DRIVER.cuCtxSetCurrent(ctypes.c_void_p(1)):
    raise SystemExit("no CUDA")
run(StubCudaEngine)
