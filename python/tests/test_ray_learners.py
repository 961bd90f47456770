"""Several learners in a Ray cluster. These tests run where Ray and torch are installed."""

import os
import signal
import sys
import time

import numpy as np
import pytest

import rekindle

ray = pytest.importorskip("ray")
pytest.importorskip("torch")

from actors import all_end, pids  # noqa: E402
from deaf import DeafLearner, all_reduce_sum  # noqa: E402

from rekindle.ray import train  # noqa: E402

SMALL = {
    "env_runners": {"num_envs_per_env_runner": 4},
    "model_config": {"fcnet_hiddens": [16, 16]},
    "reporting": {"min_sample_timesteps_per_iteration": 0},
    "debugging": {"seed": 3},
}
PPO = {
    **SMALL,
    "algorithm": "PPO",
    "environment": {"env": "CartPole-v1"},
    "training": {"train_batch_size": 100, "minibatch_size": 50, "num_epochs": 2},
}
IMPALA = {
    **SMALL,
    "algorithm": "IMPALA",
    "environment": {"env": "CartPole-v1"},
    "training": {"train_batch_size": 100, "fragment_length": 25},
}
REPLAY = {"train_batch_size": 30, "num_steps_sampled_before_learning_starts": 40}
DQN = {**SMALL, "algorithm": "DQN", "environment": {"env": "CartPole-v1"}, "training": REPLAY}
SAC = {**SMALL, "algorithm": "SAC", "environment": {"env": "Pendulum-v1"}, "training": REPLAY}


def arrays(checkpoint, path=""):
    """The arrays of a checkpoint and its parts, by path."""
    found = {f"{path}{name}": array for name, array in checkpoint.arrays.items()}
    for name in checkpoint:
        found |= arrays(checkpoint[name], f"{path}{name}/")
    return found


def weights(training, folder):
    training.save(folder)
    return arrays(rekindle.Checkpoint.read(folder)["learner"]["rl_module"])


def difference(first, second):
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def all_are_equal(training, folder):
    """Whether weights, moments and states of losses are the same on all learners, bit for bit."""
    training.learner.save(folder / "0")
    first = arrays(rekindle.Checkpoint.read(folder / "0")["learner"])
    assert len(first) > 10
    for rank, learner in enumerate(training.other_learners, start=1):
        ray.get(learner.save.remote(str(folder / str(rank))))
        other = arrays(rekindle.Checkpoint.read(folder / str(rank))["learner"])
        assert first.keys() == other.keys()
        if any(first[name].tobytes() != other[name].tobytes() for name in first):
            return False
    return True


def compare(settings, learners, updates, folder):
    """Trains with one and with several learners. Returns the differences of weights after the first update and the last.

    PPO and IMPALA learn from the same batches. The other algorithms sample themselves, with the same weights up to the
    first update.
    """
    one = rekindle.train(settings)
    runner = rekindle.train(settings, seed=99)
    first = last = 0.0
    done = 0
    with train(settings, num_runners=0, num_learners=learners) as training:
        assert training.num_learners == learners
        while done < updates:
            if settings["algorithm"] in ("PPO", "IMPALA"):
                runner.adopt(one.publication())
                batch = runner.collect_batch()
                one.learn_from(batch)
                training.learner.learn_from(batch)
                done += 1
            else:
                result = next(one)
                next(training)
                done += result.get("learners/__all_modules__/num_module_steps_trained_lifetime", 0) > 0
            if done in (1, updates):
                last = difference(weights(one, folder / "one"), weights(training.learner, folder / "several"))
                first = last if done == 1 else first
                assert all_are_equal(training, folder)
    print(
        f"\n{settings['algorithm']}, {learners} learners: {first:.1e} after the first update, {last:.1e} after {updates}"
    )
    return first


@pytest.mark.parametrize(
    ("settings", "learners"),
    [(PPO, 2), (PPO, 4), (IMPALA, 2), (DQN, 2), (DQN, 4), (SAC, 2), (SAC, 4)],
    ids=lambda value: value["algorithm"] if isinstance(value, dict) else None,
)
def test_several_learners_learn_what_one_does_and_stay_equal(cluster, tmp_path, settings, learners):
    first = {"training": {**settings["training"], "minibatch_size": 100, "num_epochs": 1}}
    settings = {**settings, **first} if settings["algorithm"] == "PPO" else settings
    assert compare(settings, learners, 100, tmp_path) <= 1e-6


def test_without_the_sum_of_gradients_learners_differ(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("rekindle._torch_collective.TorchCollective.all_reduce_sum", all_reduce_sum)
    monkeypatch.setattr("rekindle._ray_learners.Learner", DeafLearner)
    one = rekindle.train(PPO)
    batch = rekindle.train(PPO, seed=99).collect_batch()
    one.learn_from(batch)
    expected = weights(one, tmp_path / "one")
    with train(PPO, num_runners=0, num_learners=2) as training:
        training.learner.learn_from(batch)
        assert not all_are_equal(training, tmp_path)
        assert difference(expected, weights(training.learner, tmp_path / "several")) > 1e-4


# Trials for each signal.
TRIALS = 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_learner_that_is_killed_is_replaced_and_training_goes_on(cluster, tmp_path, number):
    with train(PPO, num_runners=1, num_learners=3, batches_per_iteration=4) as training:
        next(training)
        times = []
        for trial in range(1, TRIALS + 1):
            os.kill(pids("Learner")[trial % 2], number)
            start = time.perf_counter()
            result = next(training)
            times.append(time.perf_counter() - start)
            assert result["ray/num_lost_learners_lifetime"] == trial
            assert result["ray/num_learners"] == 3
            assert result["training_iteration"] == trial + 1
            assert all_are_equal(training, tmp_path / str(trial))
        print(f"\niterations with a lost learner: {', '.join(f'{time:.1f}' for time in times)} s")
        assert max(times) < 30
    assert all_end("Learner", "Runner")


def test_a_learner_is_killed_in_the_middle_of_updates(cluster, tmp_path):
    settings = {**PPO, "training": {**PPO["training"], "num_epochs": 300}}
    with train(settings, num_runners=1, num_learners=2, batches_per_iteration=1) as training:
        next(training)
        for trial in range(1, TRIALS + 1):
            # An update takes longer than this.
            pid = pids("Learner")[0]
            killer = f"sleep 0.3; kill -9 {pid}"
            assert os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", killer) > 0
            next(training)
            next(training)
            assert training.num_lost_learners == trial
            assert pid not in pids("Learner")
        assert all_are_equal(training, tmp_path)


def test_a_learner_that_hangs_is_replaced(cluster, tmp_path):
    with train(PPO, num_runners=1, num_learners=2, learner_timeout=4.0) as training:
        next(training)
        os.kill(pids("Learner")[0], signal.SIGSTOP)
        start = time.perf_counter()
        next(training)
        assert 4 <= time.perf_counter() - start < 30
        assert training.num_lost_learners == 1
        assert all_are_equal(training, tmp_path)
    # Ray ends the old one, too.
    assert all_end("Learner")


def test_too_many_lost_learners_are_a_typed_error(cluster):
    with train(DQN, num_runners=0, num_learners=2, max_failures=0) as training:
        for _ in range(15):
            next(training)
        os.kill(pids("Learner")[0], signal.SIGKILL)
        with pytest.raises(rekindle.GroupError, match="1 runners or learners in a row were lost") as raised:
            for _ in range(15):
                next(training)
        # What torch has said is in the traceback.
        assert isinstance(raised.value.__cause__.__cause__, RuntimeError)
    assert all_end("Learner")


def test_what_learners_cannot_share_is_an_error_at_the_start(cluster, monkeypatch):
    on_device = {"env_runners.on_device": True}
    with pytest.raises(rekindle.ConfigError, match="cannot share its updates with learners in other processes"):
        train(PPO, num_runners=0, num_learners=2, settings=on_device)
    assert all_end("Learner")
    with pytest.raises(rekindle.InputError, match="an update of another process cannot be read"):
        rekindle.train(PPO).serve(b"rekindle")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(rekindle.ConfigError, match="pip install torch"):
        train(PPO, num_learners=2)
