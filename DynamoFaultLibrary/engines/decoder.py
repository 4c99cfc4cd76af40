"""A small transformer that decodes on the GPU when there is one, so that a worker makes the calls a real one makes.

Its weights are random and its logits are thrown away: what matters is that each token needs copies, kernels, cuBLAS and
a wait, and that a failed one raises. Needs PyTorch and nothing else of this package.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, LAYERS, WINDOW, VOCABULARY = 256, 4, 4, 256, 8192


class Layer(nn.Module):  # type: ignore[misc]  # PyTorch is not there where types are checked
    """Attention over the last `WINDOW` tokens, then two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, cache: Tensor, used: int) -> Tensor:
        """One token `x` of shape (width); `cache` is (2, heads, window, width of a head), `used` places of it count."""
        query, key, value = self.qkv(self.first(x)).view(3, HEADS, WIDTH // HEADS)
        place = (used - 1) % WINDOW
        cache[0, :, place], cache[1, :, place] = key, value
        seen = cache[:, :, : min(used, WINDOW)]
        attended = functional.scaled_dot_product_attention(query[:, None], seen[0], seen[1])
        x = x + self.out(attended.reshape(WIDTH))
        return x + self.down(functional.gelu(self.up(self.second(x))))


class Decoder:
    """Decodes single tokens; `device` is ``cuda`` where there is one, else ``cpu``."""

    def __init__(self) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(0)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH).to(self.device)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS)).to(self.device)
        self.step(0, self.begin(), 1)

    def begin(self) -> Tensor:
        """The cache of a new request."""
        return torch.zeros(LAYERS, 2, HEADS, WINDOW, WIDTH // HEADS, device=self.device)

    @torch.inference_mode()  # type: ignore[untyped-decorator]  # the same
    def step(self, token: int, cache: Tensor, used: int) -> int:
        """The likeliest token after the `used`-th one, which is `token`.

        Raises:
            RuntimeError: a CUDA call failed, or what came back is no number.
        """
        x = self.embedding(torch.tensor(token, device=self.device))
        for index, layer in enumerate(self.layers):
            x = layer(x, cache[index], used)
        logits = x @ self.embedding.weight.T
        best, score = int(logits.argmax().item()), float(logits.max().item())
        if math.isnan(score):
            raise RuntimeError(f"the decoder on {self.device} computed no number")
        return best
