"""Runners in a Ray cluster. These tests run where Ray is installed."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import rekindle

ray = pytest.importorskip("ray")

from actors import all_end, pids  # noqa: E402

from rekindle.ray import resume, train  # noqa: E402

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
    ("name", "value"),
    [
        ("env_runners.num_env_runners", 7),
        ("learners.num_learners", 7),
        ("training.learner_queue_size", 7),
        ("training.broadcast_interval", 7),
    ],
)
def test_settings_without_effect_are_refused(name, value):
    with pytest.raises(rekindle.ConfigError, match=f"`{name}` is {value}, but it is about threads"):
        train(IMPALA, settings={name: value})


def test_what_the_engine_cannot_do_is_an_error_at_the_start(cluster, tmp_path):
    with pytest.raises(rekindle.ConfigError, match="`env_runners.output` is set"):
        train(IMPALA, settings={"env_runners.output": str(tmp_path)})
    with pytest.raises(rekindle.ConfigError, match="`Replay` cannot learn from batches"):
        train("DQN", "CartPole-v1")
    with pytest.raises(rekindle.ConfigError, match="cannot learn from batches"):
        train("PPO", "CartPole-v1", settings={"env_runners.on_device": True})
    with pytest.raises(rekindle.ConfigError, match="there is nothing for Ray to do"):
        train(IMPALA, num_runners=0)
    for name in ("num_learners", "batches_per_iteration"):
        with pytest.raises(rekindle.ConfigError, match=f"`{name}` is 0"):
            train(IMPALA, **{name: 0})
    assert not pids("Runner")


# Trials for each signal.
TRIALS = 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_runner_that_is_killed_or_aborts_is_replaced_by_one_with_current_weights(cluster, number):
    updates = 4
    with train(IMPALA, num_runners=1, batches_per_iteration=updates) as training:
        for trial in range(1, TRIALS + 1):
            next(training)
            (pid,) = pids("Runner")
            os.kill(pid, number)
            result = next(training)
            assert training.num_lost == trial
            assert pid not in pids("Runner")
            # Batches of a runner without the published weights would be as old as training is.
            assert result["learners/weights_lag_mean"] == 0
        # The check can fail: this runner has not adopted anything.
        stale = rekindle.train(IMPALA).collect_batch()
        training.learner.learn_from(stale)
        lag = training.learner.end_iteration()["learners/weights_lag_mean"]
        assert lag == 2 * updates * TRIALS


def test_too_many_lost_runners_are_an_error(cluster):
    with train(IMPALA, num_runners=1, batches_per_iteration=2, max_failures=0) as training:
        next(training)
        os.kill(pids("Runner")[0], signal.SIGKILL)
        with pytest.raises(rekindle.GroupError, match="1 runners or learners in a row were lost"):
            next(training)


def test_a_simulator_that_crashes_does_not_end_its_runner(cluster):
    settings = {
        "algorithm": "IMPALA",
        "environment": {"env": "python:crashing:Crashing"},
        "env_runners": {"num_envs_per_env_runner": 2},
        "model_config": {"fcnet_hiddens": [8]},
        "training": {"train_batch_size": 100, "fragment_length": 10},
        "fault_tolerance": {"restart_failed_sub_environments": True},
    }
    with train(settings, num_runners=1, batches_per_iteration=2) as training:
        next(training)
        before = pids("Runner")
        crashes = 0
        while crashes < TRIALS:
            crashes += next(training)["env_runners/num_env_restarts"]
        assert training.num_lost == 0
        assert pids("Runner") == before


def test_a_runner_that_cannot_start_is_an_error_at_once(cluster, tmp_path, monkeypatch):
    (tmp_path / "here_alone.py").write_text("import gymnasium\ndef make(): return gymnasium.make('CartPole-v1')\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"environment": {"env": "python:here_alone:make"}}
    training = train(IMPALA, num_runners=1, batches_per_iteration=1, settings=settings)
    next(training)
    training.set_num_runners(0)
    # The module is gone on the next runner's node.
    (tmp_path / "here_alone.py").unlink()
    training.set_num_runners(1)
    with training, pytest.raises(rekindle.RekindleError, match="(?s)a runner cannot start.*here_alone"):
        next(training)
    assert training.num_lost == 0


def test_a_run_is_continued_with_another_number_of_runners(cluster, tmp_path):
    with train(IMPALA, num_runners=1, runs=tmp_path, batches_per_iteration=2) as training:
        results = [next(training) for _ in range(2)]
        expected = training.learner.publication()
    folder = training_folder(tmp_path)
    with resume(folder, num_runners=2, batches_per_iteration=2) as training:
        assert training.learner.publication() == expected
        results.append(next(training))
        assert training.num_runners == 2
    steps = [result["env_runners/num_env_steps_sampled_lifetime"] for result in results]
    assert steps == [1000, 2000, 3000]
    assert [result["training_iteration"] for result in rekindle.read_metrics(folder)] == [1, 2, 3]
    # One process continues it, too.
    assert rekindle.resume(folder).iteration == 3


def test_cartpole_is_learned_while_runners_are_killed(cluster, tmp_path):
    rng = np.random.default_rng(0)
    over = threading.Event()

    def kill():
        while not over.wait(rng.uniform(1, 3)):
            for pid in rng.permutation(pids("Runner"))[:1]:
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
    assert all_end("Runner")


def training_folder(runs):
    (folder,) = runs.glob("impala/*")
    return folder


def test_a_program_that_is_killed_leaves_no_actor_and_its_run_is_continued(cluster, tmp_path):
    program = f"""
import ray
from rekindle.ray import train
ray.init(address={ray.get_runtime_context().gcs_address!r}, log_to_driver=False)
settings = {{"run.checkpoint_interval": 1}}
training = train({IMPALA!r}, num_runners=2, batches_per_iteration=2, settings=settings, runs={str(tmp_path)!r})
for result in training:
    print(int(result["training_iteration"]), flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    while int(child.stdout.readline()) < 3:
        pass
    assert pids("Runner")
    child.kill()
    child.wait()
    assert all_end("Runner")
    with resume(training_folder(tmp_path), num_runners=1, batches_per_iteration=2) as training:
        assert training.learner.iteration >= 2
        assert next(training)["training_iteration"] == training.learner.iteration


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
    with pytest.raises(rekindle.ConfigError, match="`num_runners` is -1"):
        train(IMPALA, num_runners=-1)
