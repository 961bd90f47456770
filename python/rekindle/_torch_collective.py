"""Operations among learners in several processes, by the backend gloo of torch.distributed."""

from __future__ import annotations

import datetime
from typing import Any

from rekindle._errors import ConfigError


def check() -> None:
    """Refuses several learners where torch is missing."""
    try:
        import torch.distributed
    except ImportError as error:
        raise ConfigError(
            "several learners in Ray add up their gradients by torch.distributed, and the package `torch` is not "
            "installed; install it on all nodes (`pip install torch`), or set `num_learners` to 1"
        ) from error
    if not torch.distributed.is_gloo_available():
        raise ConfigError("this build of torch has no gloo, which several learners in Ray need")


def open_store(host: str, timeout: float) -> Any:
    """Starts the store through which learners find each other within ``timeout`` seconds, in the process of the first."""
    from torch.distributed import TCPStore

    limit = datetime.timedelta(seconds=timeout)
    return TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=limit)


def join_store(host: str, port: int, timeout: float) -> Any:
    """Connects with the store of the first learner."""
    from torch.distributed import TCPStore

    limit = datetime.timedelta(seconds=timeout)
    return TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=limit)


class TorchCollective:
    """A member of a group of learners. All members call the same operations in the same order.

    A member that dies or closes its connections ends the current operation of the others with a
    ``RuntimeError`` of torch. One that hangs does so after ``timeout`` seconds. Connecting ends after the seconds
    ``connect``.
    """

    def __init__(
        self, store: Any, host: str, rank: int, size: int, *, connect: float, timeout: float
    ) -> None:
        from torch.distributed import ProcessGroupGloo

        self.rank = rank
        self.size = size
        options = ProcessGroupGloo._Options()
        # The address that Ray knows this machine by. The name of a host may stand for its loopback interface.
        options._devices = [ProcessGroupGloo.create_device(hostname=host)]
        options._timeout = datetime.timedelta(seconds=connect)
        self._timeout = datetime.timedelta(seconds=timeout)
        self._group: Any = ProcessGroupGloo(store, rank, size, options)

    def all_reduce_sum(self, floats: bytearray) -> None:
        """Replaces 32-bit floats by the sums over all members."""
        from torch.distributed import ReduceOp

        self._all_reduce(_tensor(floats, "float32"), ReduceOp.SUM)

    def broadcast(self, data: bytearray, root: int) -> None:
        """Replaces the bytes by those of the member ``root``."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = root
        options.timeout = self._timeout
        self._open().broadcast([_tensor(data, "uint8")], options).wait()

    def agree_max(self, flag: int) -> int:
        """Returns the largest number of all members."""
        import torch
        from torch.distributed import ReduceOp

        flags = torch.tensor([flag], dtype=torch.int64)
        self._all_reduce(flags, ReduceOp.MAX)
        return int(flags.item())

    def _all_reduce(self, tensor: Any, operation: Any) -> None:
        from torch.distributed import AllreduceOptions

        options = AllreduceOptions()
        options.reduceOp = operation
        options.timeout = self._timeout
        self._open().allreduce([tensor], options).wait()

    def abort(self, reason: str) -> None:
        """Closes the connections, which ends the operations of the others."""
        del reason
        group, self._group = self._group, None
        if group is not None:
            group.abort()

    def _open(self) -> Any:
        if self._group is None:
            raise RuntimeError("the group of learners has ended")
        return self._group


def _tensor(memory: bytearray, kind: str) -> Any:
    """Returns the memory as a tensor, without a copy."""
    import torch

    return torch.frombuffer(memory, dtype=getattr(torch, kind))
