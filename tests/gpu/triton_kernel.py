"""A Triton kernel of our own; in a module, since Triton reads its source."""

import torch
import triton
import triton.language as tl


@triton.jit
def _double(x, y, n, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(y + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)


def double(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    _double[(triton.cdiv(x.numel(), 256),)](x, y, x.numel(), block=256)
    return y
