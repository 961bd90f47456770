"""Learners in a Ray cluster, which share the updates of the one in this process."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

import rekindle
from rekindle import _torch_collective
from rekindle._torch_collective import TorchCollective

logger = logging.getLogger("rekindle")

# Seconds in which Ray starts the actors of learners.
_START = 120.0
# Seconds in which learners that have started connect. If one is lost meanwhile, the others wait as long.
_CONNECT = 10.0
# How often learners try to connect before training ends.
_ATTEMPTS = 10


def prepare_actor(folders: list[str]) -> None:
    """Lets this actor find the modules that the program finds, and its kernels use one thread for each assigned CPU."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    os.environ.setdefault("REKINDLE_NUM_THREADS", str(max(1, int(cpus))))


def _here(rank: int) -> str:
    """The key that a learner sets when it begins to connect."""
    return f"here/{rank}"


@ray.remote(max_restarts=0, max_task_retries=0)
class Learner:
    """Takes a share in the updates of the first learner, in a process of its own."""

    def __init__(self, settings: dict[str, Any], device: str, folders: list[str]) -> None:
        prepare_actor(folders)
        # Takes seconds, for which the others would wait.
        _torch_collective.check()
        self._training = rekindle.train(settings, device=device)
        self._collective: TorchCollective | None = None

    def host(self) -> str:
        """Returns the address of this node, once the actor runs."""
        return ray.util.get_node_ip_address()

    def join(self, host: str, port: int, rank: int, size: int, timeout: float) -> None:
        """Connects with the other learners. An earlier group ends."""
        self._abort("a new group begins")
        own_host = ray.util.get_node_ip_address()
        store = _torch_collective.join_store(host, port, _CONNECT)
        store.set(_here(rank), "")
        self._collective = TorchCollective(
            store, own_host, rank, size, connect=_CONNECT, timeout=timeout
        )
        self._training.join(self._collective)

    def serve(self, message: bytes) -> bytes:
        """Takes a share in an update, and returns the answer."""
        try:
            return self._training.serve(message)
        except BaseException as error:
            # The others wait for this learner.
            self._abort(str(error))
            raise

    def _abort(self, reason: str) -> None:
        if self._collective is not None:
            self._collective.abort(reason)

    def save(self, path: str) -> None:
        """Saves the state of this learner, for checks that all learners are the same."""
        self._training.save(path)


class LearnerGroup:
    """The other learners, as the first one sees them."""

    def __init__(
        self,
        training: rekindle.Training,
        settings: dict[str, Any],
        num_others: int,
        device: str,
        options: Mapping[str, Any],
        timeout: float,
    ) -> None:
        _torch_collective.check()
        self._training = training
        self._settings = settings
        self._device = device
        self._timeout = timeout
        self._actor = Learner.options(**options) if options else Learner
        self._collective: TorchCollective | None = None
        self._store: Any = None
        self._calls: list[ray.ObjectRef] = []
        self.others = [self._start() for _ in range(num_others)]
        """The actors of the other learners, in the order of their ranks from 1."""
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _start(self) -> ray.actor.ActorHandle:
        return self._actor.remote(self._settings, self._device, sys.path)

    def _connect(self) -> None:
        """Begins a group. The next update gives all learners the weights of the first one.

        Learners that are lost meanwhile are replaced.
        """
        for _ in range(_ATTEMPTS):
            self._wait_for_start()
            try:
                self._join()
                return
            except (RayError, RuntimeError) as error:
                self._end_collective(str(error))
                logger.warning("learners could not be connected and try again: %s", error)
                failure = error
        raise rekindle.GroupError(f"learners cannot be connected: {failure}") from failure

    def _wait_for_start(self) -> None:
        deadline = time.monotonic() + _START
        for index in range(len(self.others)):
            while True:
                host = self.others[index].host.remote()
                try:
                    ray.get(host, timeout=max(deadline - time.monotonic(), 0.1))
                    break
                except GetTimeoutError as error:
                    raise rekindle.GroupError(
                        f"Ray has not started {len(self.others)} learners within {_START:.0f} s; add nodes, or name "
                        "the resources that a learner needs in `learner_options`"
                    ) from error
                except RayActorError as error:
                    if error.actor_init_failed:
                        raise rekindle.RekindleError(f"a learner cannot start: {error}") from error
                    self._replace(index, error)

    def _join(self) -> None:
        host = ray.util.get_node_ip_address()
        self._store = _torch_collective.open_store(host, _CONNECT)
        size = len(self.others) + 1
        joining = [
            learner.join.remote(host, self._store.port, rank, size, self._timeout)
            for rank, learner in enumerate(self.others, start=1)
        ]
        here = [_here(rank) for rank in range(1, size)]
        # One that is lost now would keep this program waiting in gloo.
        deadline = time.monotonic() + _CONNECT
        while not self._store.check(here):
            failed, _ = ray.wait(joining, timeout=0.02)
            ray.get(failed)
            if time.monotonic() > deadline:
                raise RuntimeError(f"a learner has not connected within {_CONNECT:.0f} s")
        self._collective = TorchCollective(
            self._store, host, 0, size, connect=_CONNECT, timeout=self._timeout
        )
        # Refuses what cannot be shared.
        self._training.lead(self._collective, self)
        ray.get(joining, timeout=2 * _CONNECT)
        self._calls = []

    def _replace(self, index: int, error: Exception) -> None:
        logger.warning("learner %d was lost and is replaced: %s", index + 1, error)
        # It may be unreachable and alive.
        ray.kill(self.others[index])
        self.others[index] = self._start()

    def send(self, message: bytes) -> None:
        """Hands the message to all others, each on a node of its own perhaps."""
        shared = ray.put(message)
        self._calls = [learner.serve.remote(shared) for learner in self.others]

    def receive(self) -> list[bytes]:
        """Waits for the answers."""
        answers = ray.get(self._calls, timeout=self._timeout)
        self._calls = []
        return answers

    def recover(self, error: rekindle.GroupError) -> int:
        """Replaces the learners that are lost, and connects all anew. Returns how many were lost.

        An error of a learner that lives is raised.
        """
        self._end_collective(str(error))
        lost = 0
        for index, call in enumerate(self._calls):
            try:
                ray.get(call, timeout=self._timeout)
            except (RayActorError, GetTimeoutError) as failure:
                lost += 1
                self._replace(index, failure)
            except RayTaskError as failure:
                # What a learner says of another one is not the cause.
                if not isinstance(failure.cause, rekindle.GroupError):
                    raise rekindle.RekindleError(
                        f"learner {index + 1} failed: {failure}"
                    ) from failure
        self._connect()
        return lost

    def _end_collective(self, reason: str) -> None:
        if self._collective is not None:
            self._collective.abort(reason)
        self._collective = None
        self._store = None

    def close(self) -> None:
        """Ends the other learners."""
        self._end_collective("training has ended")
        for learner in self.others:
            ray.kill(learner)
        self.others = []
