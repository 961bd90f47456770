"""Training with runners and learners in a Ray cluster.

The first learner works in this process. Runners are Ray actors. They may be lost and added at any time::

    import ray
    import rekindle.ray

    ray.init()
    with rekindle.ray.train("IMPALA", "CartPole-v1", num_runners=4, steps=500_000, runs="runs") as training:
        for result in training:
            print(result["env_runners/episode_return_mean"])

A runner receives the newest weights with every request for a batch, so one that was restarted has
them before it samples. Weights and batches travel as bytes of rekindle's own format, which have a
digest. Ray pickles nothing but those bytes and the settings.

``num_learners=2`` adds a learner, which is a Ray actor, too. Learners divide each minibatch, and add up their
gradients by gloo, which needs the package ``torch``. A learner that is lost is replaced.

Runners collect for PPO, IMPALA, APPO and the like. For algorithms that replay experience, such as DQN and SAC,
``num_runners=0`` lets this process sample.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from os import PathLike
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

import rekindle
from rekindle._ray_learners import Learner, LearnerGroup, prepare_actor

__all__ = ["Learner", "RayTraining", "Runner", "resume", "train"]

logger = logging.getLogger("rekindle")

# Settings of threads in one process, by section.
_OF_ONE_PROCESS = {
    "env_runners": ["num_env_runners"],
    "learners": ["num_learners", "devices"],
    "training": ["learner_queue_size", "broadcast_interval", "deterministic"],
}
# Those that have an effect if this process samples.
_OF_SAMPLING = ("env_runners", "training")

# Seeds of runners are this far apart, so that a restarted runner plays other episodes.
_SEEDS = 1_000_003


@ray.remote(max_restarts=0, max_task_retries=0)
class Runner:
    """Collects batches in a process of its own."""

    def __init__(self, settings: dict[str, Any], seed: int, folders: list[str]) -> None:
        prepare_actor(folders)
        self._training = rekindle.train(settings, seed=seed)
        self._version: int | None = None

    def collect(self, version: int, publication: bytes) -> bytes:
        """Returns a batch that the published weights have collected."""
        if self._version != version:
            self._training.adopt(publication)
            self._version = version
        return self._training.collect_batch()

    def node_id(self) -> str:
        """Returns Ray's id of the node that this runner is on."""
        return ray.get_runtime_context().get_node_id()


def train(
    config: Mapping[str, Any] | str | PathLike[str],
    environment: str | None = None,
    *,
    num_runners: int = 2,
    num_learners: int = 1,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    seed: int | None = None,
    runs: str | PathLike[str] | None = None,
    device: str = "cpu",
    batches_per_iteration: int = 8,
    max_failures: int = 100,
    learner_timeout: float = 60.0,
    runner_options: Mapping[str, Any] | None = None,
    learner_options: Mapping[str, Any] | None = None,
) -> RayTraining:
    """Starts runners and learners, and returns an iterator of results.

    ``num_runners`` actors collect batches of ``training.train_batch_size`` steps. An iteration
    learns from ``batches_per_iteration`` of them. With 0 runners, this process samples, as ``rekindle.train`` does.

    ``num_learners`` counts the learner in this process. ``train_batch_size`` and ``minibatch_size`` are those of all
    learners together. An operation among learners fails after ``learner_timeout`` seconds.

    ``max_failures`` runners and learners in a row may be lost before an update that ends well. ``runner_options`` and
    ``learner_options`` are Ray's options of the actors, such as ``{"num_cpus": 2}``; kernels use one thread for each
    CPU of an actor. The other arguments are those of ``rekindle.train``.
    """
    _check_numbers(num_runners, num_learners, batches_per_iteration)
    complete = rekindle.complete_settings(
        config, environment, settings=settings, steps=steps, seed=seed
    )
    _check(complete, num_runners)
    learner = rekindle.train(complete, runs=runs, device=device)
    return RayTraining(
        learner,
        complete,
        num_runners=num_runners,
        num_learners=num_learners,
        device=device,
        batches_per_iteration=batches_per_iteration,
        max_failures=max_failures,
        learner_timeout=learner_timeout,
        runner_options=runner_options,
        learner_options=learner_options,
    )


def resume(
    run_folder: str | PathLike[str],
    *,
    num_runners: int = 2,
    num_learners: int = 1,
    checkpoint: str | int | None = None,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    allow_python: bool = False,
    device: str = "cpu",
    batches_per_iteration: int = 8,
    max_failures: int = 100,
    learner_timeout: float = 60.0,
    runner_options: Mapping[str, Any] | None = None,
    learner_options: Mapping[str, Any] | None = None,
) -> RayTraining:
    """Continues a run with any number of runners and learners, whether they trained it before or one process did.

    The state of the learner is the saved one. Runners begin new episodes. The arguments are those of
    ``rekindle.resume`` and ``train``.
    """
    _check_numbers(num_runners, num_learners, batches_per_iteration)
    learner = rekindle.resume(
        run_folder,
        checkpoint=checkpoint,
        settings=settings,
        steps=steps,
        allow_python=allow_python,
        device=device,
    )
    complete = {**learner.config, "algorithm": learner.algorithm}
    _check(complete, num_runners)
    return RayTraining(
        learner,
        complete,
        num_runners=num_runners,
        num_learners=num_learners,
        device=device,
        batches_per_iteration=batches_per_iteration,
        max_failures=max_failures,
        learner_timeout=learner_timeout,
        runner_options=runner_options,
        learner_options=learner_options,
    )


def _check_numbers(num_runners: int, num_learners: int, batches_per_iteration: int) -> None:
    """Refuses numbers that are too small."""
    for name, value, least in [
        ("num_runners", num_runners, 0),
        ("num_learners", num_learners, 1),
        ("batches_per_iteration", batches_per_iteration, 1),
    ]:
        if value < least:
            raise rekindle.ConfigError(f"`{name}` is {value}, but it must be at least {least}")
    if num_runners == 0 and num_learners == 1:
        raise rekindle.ConfigError(
            "with `num_runners` 0 and `num_learners` 1, there is nothing for Ray to do; use `rekindle.train`"
        )


def _check(settings: dict[str, Any], num_runners: int) -> None:
    """Refuses settings that would have no effect."""
    defaults = rekindle.default_settings(settings["algorithm"])
    for section, names in _OF_ONE_PROCESS.items():
        if num_runners == 0 and section in _OF_SAMPLING:
            continue
        for name in names:
            value = settings[section].get(name)
            if value != defaults[section].get(name):
                raise rekindle.ConfigError(
                    f"`{section}.{name}` is {value}, but it is about threads of one process and has no effect on "
                    "actors of Ray; remove it (the arguments `num_runners` and `num_learners` are the numbers of "
                    "actors)"
                )
    if num_runners > 0 and settings["env_runners"]["output"] is not None:
        raise rekindle.ConfigError(
            "`env_runners.output` is set, but actors of Ray do not record episodes; remove it, or train in one process"
        )


class RayTraining:
    """A running algorithm whose runners and learners are Ray actors: an iterator of results."""

    def __init__(
        self,
        learner: rekindle.Training,
        settings: dict[str, Any],
        *,
        num_runners: int,
        num_learners: int,
        device: str,
        batches_per_iteration: int,
        max_failures: int,
        learner_timeout: float,
        runner_options: Mapping[str, Any] | None,
        learner_options: Mapping[str, Any] | None,
    ) -> None:
        self.learner = learner
        """The training in this process: ``save``, ``evaluate``, ``policy_bundle`` and ``config`` are its."""
        self.num_lost = 0
        """Runners that were lost so far."""
        self.num_lost_learners = 0
        """Learners that were lost so far."""
        self._settings = _of_actors(settings)
        self._seed = int(learner.config["debugging"]["seed"])
        self._batches_per_iteration = batches_per_iteration
        self._max_failures = max_failures
        self._actor = Runner.options(**runner_options) if runner_options else Runner
        # Other episodes than those before a run was continued.
        self._started = learner.env_steps
        self._failures = 0
        self._requests: dict[ray.ObjectRef, ray.actor.ActorHandle] = {}
        self._version = 0
        self._samples_here = num_runners == 0
        self._group: LearnerGroup | None = None
        if num_learners > 1:
            sections = {**self._settings["env_runners"], "num_envs_per_env_runner": 1}
            self._group = LearnerGroup(
                learner,
                {**self._settings, "env_runners": sections},
                num_learners - 1,
                device,
                learner_options or {},
                learner_timeout,
            )
        if not self._samples_here:
            self._publish()
            self.set_num_runners(num_runners)

    @property
    def num_runners(self) -> int:
        """The number of runners, with those that Ray has not placed yet."""
        return len(self._requests)

    @property
    def runners(self) -> list[ray.actor.ActorHandle]:
        """The actors of the runners."""
        return list(self._requests.values())

    @property
    def num_learners(self) -> int:
        """The number of learners, with the one in this process."""
        return 1 + (len(self._group.others) if self._group else 0)

    @property
    def other_learners(self) -> list[ray.actor.ActorHandle]:
        """The actors of the other learners, in the order of their ranks."""
        return list(self._group.others) if self._group else []

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
        self._request(self._actor.remote(self._settings, seed, sys.path))

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
                    return runner, ray.get(request)
                except RayTaskError as error:
                    ray.kill(runner)
                    raise rekindle.RekindleError(f"a runner failed: {error}") from error
                except RayActorError as error:
                    if error.actor_init_failed:
                        raise rekindle.RekindleError(f"a runner cannot start: {error}") from error
                    self._replace(runner, error)

    def _replace(self, runner: ray.actor.ActorHandle, error: RayActorError) -> None:
        self.num_lost += 1
        self._count_failures(1, error)
        logger.warning("a runner was lost and is replaced: %s", error)
        # It may be unreachable and alive.
        ray.kill(runner)
        self._start()

    def _count_failures(self, failures: int, error: Exception) -> None:
        self._failures += failures
        if self._failures > self._max_failures:
            raise rekindle.GroupError(
                f"{self._failures} runners or learners in a row were lost; the last one: {error}"
            ) from error

    def _recover(self, error: rekindle.GroupError) -> None:
        """Replaces lost learners after a failed update. Its remaining minibatches are left out."""
        if self._group is None:
            raise error
        self._count_failures(1, error)
        self.num_lost_learners += self._group.recover(error)

    def _learn_from_batches(self) -> dict[str, float]:
        for _ in range(self._batches_per_iteration):
            runner, batch = self._next_batch()
            try:
                self.learner.learn_from(batch)
                self._failures = 0
            except rekindle.GroupError as error:
                self._recover(error)
            self._publish()
            self._request(runner)
        return self.learner.end_iteration()

    def _sample_and_learn(self) -> dict[str, float]:
        while True:
            try:
                result = next(self.learner)
                self._failures = 0
                return result
            except rekindle.GroupError as error:
                self._recover(error)

    def __iter__(self) -> RayTraining:
        return self

    def __next__(self) -> dict[str, float]:
        if self.learner.stop_reason is not None:
            self._end_actors()
            raise StopIteration
        try:
            result = self._sample_and_learn() if self._samples_here else self._learn_from_batches()
        except KeyboardInterrupt:
            if self.learner.run_folder is not None:
                self.learner.save()
            raise
        result["ray/num_runners"] = float(self.num_runners)
        result["ray/num_lost_lifetime"] = float(self.num_lost)
        result["ray/num_learners"] = float(self.num_learners)
        result["ray/num_lost_learners_lifetime"] = float(self.num_lost_learners)
        if self.learner.stop_reason is not None:
            self._end_actors()
        return result

    def _end_actors(self) -> None:
        for runner in self._requests.values():
            ray.kill(runner)
        self._requests.clear()
        if self._group is not None:
            self._group.close()

    def close(self) -> None:
        """Ends the runners and the other learners, and closes the learner in this process, which saves the run."""
        if ray.is_initialized():
            self._end_actors()
        self.learner.close()

    def __enter__(self) -> RayTraining:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _of_actors(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of an actor, which is one runner or one learner. The first learner evaluates."""
    of_actors = dict(settings)
    of_actors["env_runners"] = {**settings["env_runners"], "num_env_runners": 1}
    of_actors["evaluation"] = {**settings["evaluation"], "evaluation_interval": None}
    of_actors.pop("run", None)
    return of_actors
