"""Training with runners in a Ray cluster.

The learner works in this process. Runners are Ray actors. They may be lost and added at any time::

    import ray
    import rekindle.ray

    ray.init()
    with rekindle.ray.train("IMPALA", "CartPole-v1", num_runners=4, steps=500_000, runs="runs") as training:
        for result in training:
            print(result["env_runners/episode_return_mean"])

A runner receives the newest weights with every request for a batch, so one that was restarted has
them before it samples. Weights and batches travel as bytes of rekindle's own format, which have a
digest. Ray pickles nothing but those bytes and the settings.

Algorithms that replay experience, such as DQN and SAC, are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import PathLike
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

import rekindle

__all__ = ["RayTraining", "Runner", "train"]

logger = logging.getLogger("rekindle")

# Settings of threads in one process, by section.
_OF_ONE_PROCESS = {
    "env_runners": ["num_env_runners"],
    "training": ["learner_queue_size", "broadcast_interval", "deterministic"],
}

# Seeds of runners are this far apart, so that a restarted runner plays other episodes.
_SEEDS = 1_000_003


@ray.remote(max_restarts=0, max_task_retries=0)
class Runner:
    """Collects batches in a process of its own."""

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        self._training = rekindle.train(settings, seed=seed)
        self._version: int | None = None

    def collect(self, version: int, publication: bytes) -> bytes:
        """Returns a batch that the published weights have collected."""
        if self._version != version:
            self._training.adopt(publication)
            self._version = version
        return self._training.collect_batch()


def train(
    config: Mapping[str, Any] | str | PathLike[str],
    environment: str | None = None,
    *,
    num_runners: int = 2,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    seed: int | None = None,
    runs: str | PathLike[str] | None = None,
    device: str = "cpu",
    batches_per_iteration: int = 8,
    max_failures: int = 100,
    runner_options: Mapping[str, Any] | None = None,
) -> RayTraining:
    """Starts runners, and returns an iterator of results.

    ``num_runners`` actors collect batches of ``training.train_batch_size`` steps. An iteration
    learns from ``batches_per_iteration`` of them. ``max_failures`` runners in a row may be lost
    before the first batch that follows. ``runner_options`` are Ray's options of the actors, such as
    ``{"num_cpus": 2}``. The other arguments are those of ``rekindle.train``.
    """
    for name, value in [
        ("num_runners", num_runners),
        ("batches_per_iteration", batches_per_iteration),
    ]:
        if value < 1:
            raise rekindle.ConfigError(f"`{name}` is {value}, but it must be at least 1")
    complete = rekindle.complete_settings(
        config, environment, settings=settings, steps=steps, seed=seed
    )
    _check(complete)
    learner = rekindle.train(complete, runs=runs, device=device)
    return RayTraining(
        learner, complete, num_runners, batches_per_iteration, max_failures, runner_options or {}
    )


def _check(settings: dict[str, Any]) -> None:
    """Refuses settings that would have no effect."""
    defaults = rekindle.default_settings(settings["algorithm"])
    for section, names in _OF_ONE_PROCESS.items():
        for name in names:
            value = settings[section].get(name)
            if value != defaults[section].get(name):
                raise rekindle.ConfigError(
                    f"`{section}.{name}` is {value}, but it is about threads of one process and has no "
                    "effect on runners in Ray; remove it (`num_runners` is the number of runners)"
                )


class RayTraining:
    """A running algorithm whose runners are Ray actors: an iterator of results."""

    def __init__(
        self,
        learner: rekindle.Training,
        settings: dict[str, Any],
        num_runners: int,
        batches_per_iteration: int,
        max_failures: int,
        runner_options: Mapping[str, Any],
    ) -> None:
        self.learner = learner
        """The training in this process: ``save``, ``evaluate``, ``policy_bundle`` and ``config`` are its."""
        self.num_lost = 0
        """Runners that were lost so far."""
        runner_settings = dict(settings)
        # Each actor is one runner, and the learner evaluates.
        runner_settings["env_runners"] = {**settings["env_runners"], "num_env_runners": 1}
        runner_settings["evaluation"] = {**settings["evaluation"], "evaluation_interval": None}
        runner_settings.pop("run", None)
        self._settings = runner_settings
        self._seed = int(learner.config["debugging"]["seed"])
        self._batches_per_iteration = batches_per_iteration
        self._max_failures = max_failures
        self._actor = Runner.options(**runner_options) if runner_options else Runner
        self._started = 0
        self._failures = 0
        self._requests: dict[ray.ObjectRef, ray.actor.ActorHandle] = {}
        self._version = 0
        self._publish()
        self.set_num_runners(num_runners)

    @property
    def num_runners(self) -> int:
        """The number of runners, with those that Ray has not placed yet."""
        return len(self._requests)

    def set_num_runners(self, num_runners: int) -> None:
        """Starts more runners, or ends some."""
        while len(self._requests) > max(num_runners, 0):
            _, runner = self._requests.popitem()
            ray.kill(runner)
        while len(self._requests) < num_runners:
            self._start()

    def _start(self) -> None:
        self._started += 1
        seed = (self._seed + _SEEDS * self._started) % (1 << 53)
        self._request(self._actor.remote(self._settings, seed))

    def _request(self, runner: ray.actor.ActorHandle) -> None:
        request = runner.collect.remote(self._version, self._publication)
        self._requests[request] = runner

    def _publish(self) -> None:
        # Dropping the last reference lets Ray free the old weights.
        self._publication = ray.put(self.learner.publication())
        self._version += 1

    def _next_batch(self) -> tuple[ray.actor.ActorHandle, bytes]:
        """Waits for a batch. A lost runner is replaced."""
        while True:
            if not self._requests:
                raise rekindle.RekindleError("there are no runners; call `set_num_runners`")
            # A timeout, so that Ctrl-C is noticed.
            done, _ = ray.wait(list(self._requests), num_returns=1, timeout=1.0)
            for request in done:
                runner = self._requests.pop(request)
                try:
                    batch = ray.get(request)
                except RayTaskError as error:
                    ray.kill(runner)
                    raise rekindle.RekindleError(f"a runner failed: {error}") from error
                except RayActorError as error:
                    self._replace(runner, error)
                    continue
                self._failures = 0
                return runner, batch

    def _replace(self, runner: ray.actor.ActorHandle, error: RayActorError) -> None:
        self.num_lost += 1
        self._failures += 1
        if self._failures > self._max_failures:
            raise rekindle.RekindleError(
                f"{self._failures} runners in a row were lost; the last one: {error}"
            ) from error
        logger.warning("a runner was lost and is replaced: %s", error)
        # It may be unreachable and alive.
        ray.kill(runner)
        self._start()

    def __iter__(self) -> RayTraining:
        return self

    def __next__(self) -> dict[str, float]:
        if self.learner.stop_reason is not None:
            self._end_runners()
            raise StopIteration
        try:
            for _ in range(self._batches_per_iteration):
                runner, batch = self._next_batch()
                self.learner.learn_from(batch)
                self._publish()
                self._request(runner)
            result = self.learner.end_iteration()
        except KeyboardInterrupt:
            if self.learner.run_folder is not None:
                self.learner.save()
            raise
        result["ray/num_runners"] = float(self.num_runners)
        result["ray/num_lost_lifetime"] = float(self.num_lost)
        if self.learner.stop_reason is not None:
            self._end_runners()
        return result

    def _end_runners(self) -> None:
        for runner in self._requests.values():
            ray.kill(runner)
        self._requests.clear()

    def close(self) -> None:
        """Ends the runners, and closes the learner, which saves the run."""
        if ray.is_initialized():
            self._end_runners()
        self.learner.close()

    def __enter__(self) -> RayTraining:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
