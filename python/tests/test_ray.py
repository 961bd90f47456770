"""Runners in a Ray cluster. These tests run where Ray is installed."""

import os
import shutil
import signal
import tempfile
import threading
import time

import numpy as np
import pytest

import rekindle

ray = pytest.importorskip("ray")

from rekindle.ray import train  # noqa: E402

IMPALA = {
    "algorithm": "IMPALA",
    "environment": {"env": "CartPole-v1"},
    "env_runners": {"num_envs_per_env_runner": 5},
    "model_config": {"fcnet_hiddens": [64, 64]},
    "training": {
        "lr": 0.002,
        "train_batch_size": 500,
        "fragment_length": 10,
        "vf_loss_coeff": 0.05,
        "entropy_coeff": 0.0,
    },
    "run": {"max_env_steps": 1_500_000, "stop_value": 475.0},
    "debugging": {"seed": 0},
}


@pytest.fixture(scope="module")
def cluster():
    # A cluster of its own, which ends with this program. Its folder is short because paths of sockets are.
    folder = tempfile.mkdtemp(prefix="ray-")
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=folder,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def pids():
    """The processes of living runners."""
    children = os.popen("ps -eo pid,args").read().splitlines()
    return [int(line.split()[0]) for line in children if "ray::Runner" in line]


def test_batches_and_weights_are_bytes_that_are_checked():
    learner, runner = (rekindle.train(IMPALA, seed=seed) for seed in (1, 2))
    assert runner.adopt(learner.publication()) == 0
    batch = runner.collect_batch()
    assert learner.learn_from(batch) == 500
    assert runner.adopt(learner.publication()) == 1
    assert learner.end_iteration()["env_runners/num_env_steps_sampled_lifetime"] == 500
    for damaged in (batch[:-1], batch[:100] + b"x" + batch[101:]):
        with pytest.raises(rekindle.InputError, match="damaged on its way"):
            learner.learn_from(damaged)
    with pytest.raises(rekindle.InputError, match="these are the bytes of weights"):
        learner.learn_from(learner.publication())
    dqn = rekindle.train("DQN", "CartPole-v1")
    with pytest.raises(rekindle.ConfigError, match="`Replay` cannot learn from batches"):
        dqn.publication()


@pytest.mark.parametrize(
    "name", ["env_runners.num_env_runners", "training.learner_queue_size", "training.broadcast_interval"]
)
def test_settings_without_effect_are_refused(name):
    with pytest.raises(rekindle.ConfigError, match=f"`{name}` is 7, but it is about threads"):
        train(IMPALA, settings={name: 7})


def test_cartpole_is_learned_while_runners_are_killed(cluster, tmp_path):
    rng = np.random.default_rng(0)
    over = threading.Event()

    def kill():
        while not over.wait(rng.uniform(1, 3)):
            for pid in rng.permutation(pids())[:1]:
                os.kill(int(pid), signal.SIGKILL)

    with train(IMPALA, num_runners=2, runs=tmp_path) as training:
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            results = list(training)
        finally:
            over.set()
            killer.join()
        assert training.num_lost >= 1
        assert results[-1]["env_runners/episode_return_mean"] >= 475
        assert results[-1]["ray/num_runners"] == 2
        # The policy that was saved is the one that was learned.
        assert training.learner.policy_bundle().evaluate("CartPole-v1", episodes=20).mean_return > 400
    assert rekindle.read_metrics(training_folder(tmp_path))
    deadline = time.time() + 30
    while pids() and time.time() < deadline:
        time.sleep(0.2)
    assert not pids()


def training_folder(runs):
    (folder,) = runs.glob("impala/*")
    return folder


def test_runners_come_and_go_and_a_failing_environment_is_an_error(cluster):
    with train(IMPALA, num_runners=1, batches_per_iteration=2) as training:
        next(training)
        training.set_num_runners(3)
        assert next(training)["ray/num_runners"] == 3
        training.set_num_runners(1)
        assert next(training)["ray/num_runners"] == 1
        training.set_num_runners(0)
        with pytest.raises(rekindle.RekindleError, match="no runners"):
            next(training)
    with pytest.raises(rekindle.ConfigError, match="`num_runners` is 0"):
        train(IMPALA, num_runners=0)
