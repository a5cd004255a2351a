"""What backends that compute here share: the device and precision to use, and batches that are halved when
one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from looksay.errors import BackendError, InputError, LooksayError

T = TypeVar("T")
R = TypeVar("R")

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")


def check(device: str, dtype: str) -> None:
    """Raise InputError for a device or precision that there is not."""
    for what, value, valid in (("device", device, DEVICES), ("dtype", dtype, DTYPES)):
        if value not in valid:
            raise InputError(f"{what} = {value!r} is unknown. Expected one of: {', '.join(valid)}.")


def device_for(wanted: str) -> str:
    """cpu, cuda or mps. Raises BackendError where the wanted one is not here."""
    import torch

    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[wanted]:
        usable = ", ".join(name for name, is_there in there.items() if is_there)
        raise BackendError(
            f"device = {wanted!r}, but torch {torch.__version__} finds none here. Usable: {usable}."
        )
    return wanted


def dtype_for(wanted: str, device: str) -> Any:
    """The torch dtype: float32 on a CPU and bfloat16 elsewhere, unless another is wanted."""
    import torch

    name = wanted if wanted != "auto" else "float32" if device == "cpu" else "bfloat16"
    return getattr(torch, name)


def in_halves(
    work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], shrink: Callable[[int], None]
) -> Iterator[tuple[T, R | None, str]]:
    """Each item with its result, or None and what went wrong. A batch that fails is halved, down to the item
    that is at fault; `shrink(n)` is told that memory ran out, and that n items are tried next."""
    try:
        results = work(items)
    except Exception as error:  # transformers raises anything on what it cannot take
        fault, no_memory = reason(error), out_of_memory(error)
    else:
        yield from ((item, result, "") for item, result in zip(items, results, strict=True))
        return
    # Outside the except clause, so that the failed batch's tensors are gone before the next try.
    half = len(items) // 2
    if no_memory:
        shrink(half)
    if half:
        yield from in_halves(work, items[:half], shrink)
        yield from in_halves(work, items[half:], shrink)
    else:
        yield items[0], None, fault


def out_of_memory(error: Exception) -> bool:
    import torch

    # torch has an exception of its own on CUDA; CPU and MPS raise a plain RuntimeError that says so.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "allocate memory" in said
    )


def free_bytes(device: Any) -> int | None:
    """Memory that is free on a GPU; None where it cannot be asked, or is the machine's own."""
    import torch

    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def empty_cache(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def reason(error: Exception) -> str:
    """A fault as the user reads it."""
    if isinstance(error, LooksayError):
        return str(error)
    if out_of_memory(error):
        return (
            "out of memory even for one photo. Take a smaller model, or hold its weights in 4 bit: "
            "--quantize nf4."
        )
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
