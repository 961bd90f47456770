"""Learners that Python objects connect: here, on threads of this program."""

import queue
import threading

import numpy as np
import pytest

import rekindle

PPO = {
    "algorithm": "PPO",
    "environment": {"env": "CartPole-v1"},
    "env_runners": {"num_envs_per_env_runner": 4},
    "model_config": {"fcnet_hiddens": [16]},
    "training": {"train_batch_size": 100, "minibatch_size": 100, "num_epochs": 2},
    "debugging": {"seed": 3},
}


class Threads:
    """A member of a group of threads, which sums through a list that all share."""

    def __init__(self, rank, size, barrier, parts):
        self.rank, self.size, self.barrier, self.parts = rank, size, barrier, parts

    def exchange(self, part):
        self.parts[self.rank] = part
        self.barrier.wait(10)
        parts = list(self.parts)
        self.barrier.wait(10)
        return parts

    def all_reduce_sum(self, floats):
        parts = self.exchange(np.frombuffer(floats, np.float32).copy())
        np.frombuffer(floats, np.float32)[:] = np.sum(parts, axis=0)

    def broadcast(self, data, root):
        data[:] = self.exchange(bytes(data))[root]

    def agree_max(self, flag):
        return max(self.exchange(flag))

    def abort(self, reason):
        self.barrier.abort()


class Others:
    """Serves on threads."""

    def __init__(self, learners):
        self.messages = [queue.Queue() for _ in learners]
        self.answers = [queue.Queue() for _ in learners]
        for place in zip(learners, self.messages, self.answers, strict=True):
            threading.Thread(target=self.serve, args=place, daemon=True).start()

    @staticmethod
    def serve(learner, messages, answers):
        while True:
            answers.put(learner.serve(messages.get()))

    def send(self, message):
        for messages in self.messages:
            messages.put(message)

    def receive(self):
        return [answers.get(timeout=10) for answers in self.answers]


def group(size, member=Threads):
    """Returns the first learner of a group and the others."""
    learners = [rekindle.train(PPO, seed=seed) for seed in (3, 4, 5)[:size]]
    barrier, parts = threading.Barrier(size), [None] * size
    members = [member(rank, size, barrier, parts) for rank in range(size)]
    for learner, own in zip(learners[1:], members[1:], strict=True):
        learner.join(own)
    learners[0].lead(members[0], Others(learners[1:]))
    return learners


def weights(learner, folder):
    learner.save(folder)
    module = rekindle.Checkpoint.read(folder)["learner"]["rl_module"]
    found, parts = [], [module]
    while parts:
        part = parts.pop()
        found += [part.arrays[name].ravel() for name in sorted(part.arrays)]
        parts += [part[name] for name in sorted(part)]
    return np.concatenate(found)


@pytest.fixture(scope="module")
def batch():
    return rekindle.train(PPO, seed=9).collect_batch()


@pytest.mark.parametrize("size", [2, 3])
def test_learners_on_threads_learn_what_one_does(batch, tmp_path, size):
    one = rekindle.train(PPO)
    one.learn_from(batch)
    expected = weights(one, tmp_path / "one")
    learners = group(size)
    assert learners[0].learn_from(batch) == 100
    found = [weights(learner, tmp_path / f"of {size}") for learner in learners]
    assert np.abs(found[0] - expected).max() <= 1e-6
    assert all(other.tobytes() == found[0].tobytes() for other in found)


def test_learners_whose_gradients_are_not_summed_differ(batch, tmp_path):
    class Deaf(Threads):
        def all_reduce_sum(self, floats):
            self.agree_max(0)

    learners = group(2, Deaf)
    learners[0].learn_from(batch)
    first, second = (weights(learner, tmp_path / "weights") for learner in learners)
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_exception_of_an_operation_is_the_cause_and_an_interrupt_stays_one(batch, kind):
    class Failing(Threads):
        def all_reduce_sum(self, floats):
            raise kind("the cable was cut")

    learner = rekindle.train(PPO)
    learner.lead(Failing(0, 1, threading.Barrier(1), [None]), Others([]))
    if kind is RuntimeError:
        with pytest.raises(rekindle.GroupError, match="the cable was cut") as raised:
            learner.learn_from(batch)
        assert isinstance(raised.value.__cause__, RuntimeError)
    else:
        with pytest.raises(KeyboardInterrupt, match="the cable was cut"):
            learner.learn_from(batch)
    # The learner is usable again, with another group.
    learner.lead(Threads(0, 1, threading.Barrier(1), [None]), Others([]))
    assert learner.learn_from(batch) == 100


def test_objects_that_connect_nothing_are_errors():
    learner = rekindle.train(PPO)
    with pytest.raises(AttributeError, match="rank"):
        learner.lead(object(), Others([]))
    with pytest.raises(rekindle.InputError, match="an update of another process cannot be read"):
        learner.serve(b"rekindle")
