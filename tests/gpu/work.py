"""The process under test: does one kind of GPU work again and again, and says of each round how it went.

Run by run.py as ``python3 work.py KIND``. One JSON object a line: ``ready`` after the warm-up, then an answer to each
line of standard input: ``round`` (the error, if any), ``launches N`` (microseconds a launch).
"""

import json
import os
import sys
import time
from collections.abc import Callable

import torch

SIZE = 512


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def eager() -> Callable[[], None]:
    x = torch.ones(SIZE, device="cuda")
    return lambda: check(torch.relu(x + 1).sum() == 2 * SIZE)


def cublas() -> Callable[[], None]:
    a = torch.ones(SIZE, SIZE, device="cuda")
    return lambda: check((a @ a)[0, 0] == SIZE)


def compiled() -> Callable[[], None]:
    x = torch.ones(SIZE, device="cuda")
    function = torch.compile(lambda v: torch.relu(v * 3 - 1) + v)
    function(x)
    return lambda: check(function(x).sum() == 3 * SIZE)


def triton() -> Callable[[], None]:
    import triton_kernel

    x = torch.ones(SIZE, device="cuda")
    return lambda: check(triton_kernel.double(x).sum() == 2 * SIZE)


def cuda_graph() -> Callable[[], None]:
    x = torch.ones(SIZE, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            x * 2
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2

    def play() -> None:
        x.fill_(3)
        graph.replay()
        check(y.sum() == 6 * SIZE)

    return play


def replay_only() -> Callable[[], None]:
    """A graph's launch alone: nothing else is called that could fail in its place."""
    x = torch.ones(SIZE, device="cuda")
    graph = torch.cuda.CUDAGraph()
    x * 2
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        y = x * 2

    def replay(inputs: tuple[torch.Tensor, torch.Tensor] = (x, y)) -> None:  # which the graph needs to live
        graph.replay()

    return replay


def allocate() -> Callable[[], None]:
    """Fresh memory, not the allocator's cache."""

    def make() -> None:
        torch.cuda.empty_cache()
        torch.empty(64 << 20, dtype=torch.uint8, device="cuda")

    return make


def pinned_copy() -> Callable[[], None]:
    host = torch.ones(SIZE).pin_memory()
    back = torch.empty(SIZE).pin_memory()

    def copy() -> None:
        device = host.to("cuda", non_blocking=True)
        back.copy_(device, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        if back.sum() != SIZE:
            raise AssertionError("wrong")

    return copy


def pageable_copy() -> Callable[[], None]:
    host = torch.ones(SIZE)
    return lambda: check(host.to("cuda").cpu().sum() == SIZE)


def pin() -> Callable[[], None]:
    """Registered by hand: PyTorch's allocator keeps pinned memory, and would ask for none."""
    runtime, memory = torch.cuda.cudart(), torch.ones(1 << 20)

    def register() -> None:
        torch.cuda.check_error(int(runtime.cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)))
        torch.cuda.check_error(int(runtime.cudaHostUnregister(memory.data_ptr())))

    return register


def streams() -> Callable[[], None]:
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    x = torch.ones(SIZE, device="cuda")

    def cross() -> None:
        with torch.cuda.stream(first):
            y = x * 2
        second.wait_stream(first)
        with torch.cuda.stream(second):
            z = y + 1
        second.synchronize()
        check(z.sum() == 3 * SIZE)

    return cross


def events() -> Callable[[], None]:
    def time_one() -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        end.record()
        end.synchronize()
        check(begin.elapsed_time(end) >= 0)

    return time_one


def synchronise() -> Callable[[], None]:
    return torch.cuda.synchronize


def cudnn() -> Callable[[], None]:
    image, weights = torch.ones(1, 1, 8, 8, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda")
    return lambda: check(torch.nn.functional.conv2d(image, weights)[0, 0, 0, 0] == 9)


def attention() -> Callable[[], None]:
    q = torch.ones(1, 4, 64, 64, device="cuda", dtype=torch.bfloat16)
    return lambda: check(torch.nn.functional.scaled_dot_product_attention(q, q, q)[0, 0, 0, 0] == 1)


def nccl() -> Callable[[], None]:
    """This process and one other, a GPU each; the parent asks both for each round."""
    import torch.distributed as dist

    rank = int(os.environ["RANK"])
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", rank=rank, world_size=2)
    x = torch.zeros(SIZE, device="cuda")

    def reduce() -> None:
        dist.all_reduce(x)
        torch.cuda.synchronize()
        check(x.sum() == 0)

    return reduce


def second_gpu() -> Callable[[], None]:
    """Work on both GPUs; a fault is to hit the second one alone, and the first one is to stay healthy."""
    x, y = torch.ones(SIZE, device="cuda:0"), torch.ones(SIZE, device="cuda:1")

    def both() -> None:
        if (x + 1).sum().item() != 2 * SIZE:
            os._exit(70)  # the healthy GPU was hit
        check((y + 1).sum() == 2 * SIZE)

    return both


def cupy() -> Callable[[], None]:
    import cupy

    x = cupy.ones(SIZE)
    return lambda: check((x + 1).sum() == 2 * SIZE)


def jax() -> Callable[[], None]:
    import jax.numpy as jnp

    x = jnp.ones(SIZE)
    return lambda: check((x + 1).sum() == 2 * SIZE)


KINDS = {
    "eager kernels": eager,
    "cuBLAS": cublas,
    "cuDNN": cudnn,
    "attention": attention,
    "torch.compile": compiled,
    "Triton": triton,
    "CUDA graph": cuda_graph,
    "CUDA graph, replay alone": replay_only,
    "allocation": allocate,
    "pinned asynchronous copies": pinned_copy,
    "pageable copies": pageable_copy,
    "pinning": pin,
    "streams": streams,
    "events": events,
    "synchronise": synchronise,
    "CuPy": cupy,
    "JAX": jax,
    "NCCL all-reduce": nccl,
    "second GPU of a process": second_gpu,
}


def check(condition: object) -> None:
    if not bool(condition):
        raise AssertionError("the GPU computed something wrong")


def attempt(work: Callable[[], object]) -> str:
    """Empty when it went well, else the error. A wrong result is an error too."""
    try:
        work()
    except Exception as error:  # whatever the framework makes of a CUDA error
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def launches(count: int) -> None:
    """Microseconds that Python takes to launch a tiny kernel, best of five."""
    x = torch.ones(1, device="cuda")
    best = None
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(count):
            x.add_(1)
        took = (time.perf_counter() - began) / count * 1e6
        torch.cuda.synchronize()
        best = took if best is None else min(best, took)
    say(us=best)


def main() -> None:
    kind = sys.argv[1]
    work = KINDS[kind]()
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    say(ready=True, pid=os.getpid(), gpu=torch.cuda.get_device_name(), torch=torch.__version__)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "round":
            say(error=attempt(work))
        elif command == "launches":
            launches(int(arguments[0]))
    if kind == "NCCL all-reduce":
        os._exit(0)  # a communicator that has failed may not be destroyed


if __name__ == "__main__":
    main()
