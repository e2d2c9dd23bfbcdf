"""PyTorch's weight files from before version 1.6, which are no zip archives, read range by range.

Such a file is five pickles (magic number, protocol, the writing machine, the tensors, the order of
their storages) and then every storage's bytes behind its length. Opening reads the pickles alone.
They are a stranger's: the unpickler knows how tensors are rebuilt and refuses every other name.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from ptv2_scale.runtime.errors import UserError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


# Named tuples: a pickle can set attributes of what it has made, and these take none.
class _Storage(NamedTuple):
    key: str
    dtype: torch.dtype
    numel: int
    first: int  # of a view into the storage


class _Stored(NamedTuple):
    storage: _Storage
    first: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def extent(self) -> int:
        """Elements of the storage from this tensor's first to its last."""
        steps = zip(self.shape, self.stride, strict=True)
        return 1 + sum((size - 1) * step for size, step in steps) if self.numel() else 0

    def numel(self) -> int:
        return math.prod(self.shape)


def unreadable(path: Path, reason: str) -> UserError:
    """The error for a pickled file that cannot be read."""
    return UserError(f"{path}: not a readable file of tensors: {reason}. Use a safetensors copy.")


class LegacyFile:
    """An old pytorch_model*.bin file; only the ranges asked for are read.

    Raises:
        UserError: it is damaged, or asks for more than tensors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._tensors, self._offsets = _parse(file, path.stat().st_size)
        except Exception as error:
            # What a damaged file leads to has no common class.
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise unreadable(path, reason) from None

    def names(self) -> list[str]:
        """Names of its tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, without reading it."""
        return self._tensors[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Dtype of one tensor, without reading it."""
        return self._tensors[name].storage.dtype

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor."""
        count = max(0, min(stop, self._tensors[name].numel()) - start)
        values = torch.empty(count, dtype=self.dtype(name))
        self.read_into(name, start, values)
        return values

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """Read elements from `start` on into `target` [n], on the CPU and of the tensor's dtype.

        Of a transposed tensor all elements are read for that.
        """
        tensor, count = self._tensors[name], target.numel()
        if tensor.stride == _contiguous(tensor.shape):
            self._read_elements(tensor.storage, tensor.first + start, target)
            return
        spread = torch.empty(tensor.extent(), dtype=target.dtype)
        self._read_elements(tensor.storage, tensor.first, spread)
        whole = spread.as_strided(tensor.shape, tensor.stride).reshape(-1)
        target.copy_(whole[start : start + count])

    def _read_elements(self, storage: _Storage, start: int, target: Tensor) -> None:
        content = target.view(torch.uint8).numpy().data
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._offsets[storage.key] + start * target.itemsize)
            while content:
                read = file.readinto(content)
                if not read:
                    raise unreadable(self._path, "it has become shorter since it was opened")
                content = content[read:]


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _parse(file: BinaryIO, size: int) -> tuple[dict[str, _Stored], dict[str, int]]:
    if _plain(file) != _MAGIC_NUMBER or _plain(file) != _PROTOCOL:
        raise ValueError("it is not a file of torch.save")
    if not _plain(file)["little_endian"]:
        raise ValueError("a big-endian machine wrote it")
    unpickler = _Unpickler(file, encoding="utf-8")
    loaded: Any = unpickler.load()
    if not isinstance(loaded, dict):
        raise ValueError("it holds no table of named tensors")
    offsets = _offsets(file, _plain(file), unpickler.storages, size)
    return {str(k): v for k, v in dict.items(loaded) if isinstance(v, _Stored)}, offsets


def _plain(file: BinaryIO) -> Any:
    return _Unpickler(file, encoding="utf-8").load()


def _offsets(
    file: BinaryIO, keys: Sequence[str], storages: dict[str, _Storage], size: int
) -> dict[str, int]:
    offsets: dict[str, int] = {}
    at = file.tell()
    for key in keys:
        file.seek(at)
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storages[key].numel:
            raise ValueError(f"a storage has {numel} elements instead of {storages[key].numel}")
        offsets[key] = at + 8
        at += 8 + numel * storages[key].dtype.itemsize
    if at > size or offsets.keys() != storages.keys():
        raise ValueError(f"it ends too early, its tensors need {at} bytes and it has {size}")
    return offsets


class _Unpickler(pickle.Unpickler):
    """Makes tables of `_Stored`; nothing else can be named, so nothing else can be run."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name: the ways to rebuild a tensor, storage types, OrderedDict."""
        if module in ("torch", "torch.cuda") and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in _REBUILD:
            rebuild = _REBUILD[name]
            # Made anew each time: a pickle could set attributes of a function that stays.
            return lambda *arguments: rebuild(*arguments)
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, which is no part of a tensor and is refused"
        )

    def persistent_load(self, identity: Any) -> _Storage:
        """The storage that a pickle refers to."""
        kind, dtype, key, _, numel, view = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"it refers to {kind!r}, which is no storage")
        whole = _Storage(str(key), dtype, _natural(numel), 0)
        if self.storages.setdefault(whole.key, whole) != whole:
            raise pickle.UnpicklingError(f"storage {key} is described in two ways")
        return whole._replace(first=_natural(view[1])) if view else whole


def _natural(number: Any) -> int:
    if not isinstance(number, int) or number < 0:
        raise pickle.UnpicklingError(f"{number!r} where a size was expected")
    return number


def _tensor(storage: Any, first: Any, shape: Any, stride: Any, *rest: Any) -> _Stored:
    """`rest`: whether it required a gradient, its hooks, and conjugate or negative bits."""
    if not isinstance(storage, _Storage) or any(rest[2:]):
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    made = _Stored(
        storage,
        storage.first + _natural(first),
        tuple(_natural(size) for size in shape),
        tuple(_natural(step) for step in stride),
    )
    if made.first + made.extent() > storage.numel:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return made


_REBUILD: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_parameter": lambda tensor, *_: tensor,
}
