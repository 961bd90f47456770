"""Training: results, limits, saving, resuming, interrupts, and mistakes."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import gymnasium
import numpy as np
import pytest
from conftest import CARTPOLE, SMALL, small

import rekindle

RETURN = "env_runners/episode_return_mean"


def test_cartpole_is_solved_and_a_loop_in_gymnasium_agrees_with_the_evaluation(trained):
    training, results = trained
    assert training.stop_reason == "value"
    assert results[-1][RETURN] >= 475
    assert [result["training_iteration"] for result in results] == list(range(1, len(results) + 1))
    assert training.result == results[-1]
    assert next(training, None) is None

    evaluation = training.evaluate()
    policy = training.policy_bundle()
    same_step = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
    envs = gymnasium.make_vec(
        "CartPole-v1", 10, vectorization_mode="sync", vector_kwargs=same_step
    )
    observations, _ = envs.reset(seed=0)
    starts = np.ones(10, bool)
    totals, returns = np.zeros(10), []
    while len(returns) < 50:
        actions = policy.act(observations, episode_start=starts)
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        totals += rewards
        starts = terminated | truncated
        returns += totals[starts].tolist()
        totals[starts] = 0
    envs.close()
    # The steps of Gymnasium's own CartPole equal those of the built-in one.
    assert evaluation.mean_return >= 475
    assert abs(np.mean(returns) - evaluation.mean_return) <= 25


def test_the_same_seed_gives_the_same_results_from_a_dict_a_file_and_keywords(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        """
        algorithm = "PPO"
        environment.env = "CartPole-v1"
        env_runners.num_envs_per_env_runner = 4
        model_config.fcnet_hiddens = [16]
        debugging.seed = 7
        [training]
        train_batch_size = 256
        minibatch_size = 64
        num_epochs = 2
        """
    )
    data = {"algorithm": "ppo", "environment": {"env": "CartPole-v1"}, **SMALL}
    trainings = [
        rekindle.train(file),
        rekindle.train(str(file)),
        rekindle.train(data, seed=7),
        small(seed=np.int64(7)),
        small(settings={**SMALL, "debugging.seed": 7}, seed=None),
    ]
    losses = [
        [result["learners/default_policy/total_loss"] for result in itertools.islice(training, 3)]
        for training in trainings
    ]
    assert len(losses[0]) == 3
    assert all(other == losses[0] for other in losses)


def test_a_run_leaves_its_folder_and_resumes_exactly(tmp_path):
    whole = small(steps=256 * 6, runs=tmp_path / "whole")
    expected = list(whole)
    assert len(expected) == 6
    assert whole.stop_reason == "env_steps"

    first = small(steps=256 * 3, runs=tmp_path / "parts")
    first.run()
    folder = first.run_folder
    metrics = rekindle.read_metrics(folder)
    assert [result["training_iteration"] for result in metrics] == [1, 2, 3]
    with pytest.raises(rekindle.RekindleError, match="has not ended"):
        rekindle.resume(folder, steps=256 * 6)
    first.close()
    with pytest.raises(StopIteration):
        next(first)
    with pytest.raises(rekindle.RekindleError, match="this training is closed"):
        first.policy_bundle()

    rest = rekindle.resume(folder, steps=256 * 6)
    continued = list(rest)
    assert len(continued) == 3
    key = "learners/default_policy/total_loss"
    assert [result[key] for result in continued] == [result[key] for result in expected[3:]]
    assert len(rekindle.read_metrics(folder)) == 6
    rest.close()
    assert rekindle.resume(folder).stop_reason == "env_steps"
    with pytest.raises(rekindle.CheckpointError, match="has no checkpoint `7`; it has: "):
        rekindle.resume(folder, checkpoint=7)


def test_leaving_the_block_saves_an_endless_run(tmp_path):
    with small(runs=tmp_path) as training:
        for result in training:
            if result["training_iteration"] == 2:
                break
        folder = training.run_folder
    resumed = rekindle.resume(folder)
    assert resumed.iteration == 2
    assert resumed.env_steps == 512


def test_an_environment_of_gymnasium_runs_in_this_interpreter():
    settings = {**SMALL, "environment": {"env_config": {"num_workers": 1}}}
    with small(environment="gymnasium:CartPole-v1", settings=settings) as training:
        theirs = next(training)
    ours = next(small())
    # The same environment and seed: the same episodes.
    assert theirs[RETURN] == ours[RETURN]


def test_an_environment_of_a_module_that_this_program_finds(tmp_path, monkeypatch):
    (tmp_path / "walk_of_the_test.py").write_text(
        """
import sys
import gymnasium
import numpy as np

class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, executable):
        assert sys.executable == executable

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), float(action), self.left == 0, False, {}
"""
    )
    environment = "python:walk_of_the_test:Walk"
    env_config = {"num_workers": 1, "executable": sys.executable}
    settings = {**SMALL, "environment": {"env_config": env_config}}
    monkeypatch.delenv("REKINDLE_PYTHON", raising=False)
    with pytest.raises(rekindle.EnvError, match="walk_of_the_test"):
        small(environment=environment, settings=settings)
    monkeypatch.syspath_prepend(tmp_path)
    training = small(environment=environment, settings=settings, runs=tmp_path / "runs", steps=512)
    training.run()
    policy = training.policy_bundle()
    evaluation = policy.evaluate(environment, episodes=4, env_config=env_config)
    assert list(evaluation.lengths) == [5] * 4
    folder = training.run_folder
    training.close()
    with pytest.raises(rekindle.CheckpointError, match="`allow_python=True` in Python"):
        rekindle.resume(folder)
    assert rekindle.resume(folder, allow_python=True).iteration == 2


def test_ctrl_c_ends_the_loop_and_saves_the_run(tmp_path):
    program = f"""
import rekindle
training = rekindle.train("PPO", "CartPole-v1", settings={SMALL!r}, runs={str(tmp_path)!r})
print(training.run_folder, flush=True)
iteration = 0
try:
    with training:
        for result in training:
            iteration = training.iteration
            if iteration == 1:
                print("training", flush=True)
except KeyboardInterrupt:
    print("interrupted", iteration, flush=True)
"""
    command = [sys.executable, "-c", program]
    # A shell's background jobs ignore Ctrl-C, and so do the programs that they start.
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    folder = child.stdout.readline().strip()
    assert child.stdout.readline() == "training\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    line = child.stdout.readline().split()
    assert child.wait(60) == 0
    assert line[0] == "interrupted"
    # The iteration that was interrupted is complete.
    assert rekindle.resume(folder).iteration in (int(line[1]), int(line[1]) + 1)


def test_other_threads_run_while_rust_works():
    training = small()
    ticks, over = [], threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    while not ticks:
        time.sleep(0.001)
    before = len(ticks)
    started = time.perf_counter()
    for _ in range(20):
        next(training)
    seconds = time.perf_counter() - started
    after = len(ticks)
    over.set()
    thread.join()
    assert after - before >= min(20, seconds / 0.05)


@pytest.mark.parametrize(
    ("keywords", "kind", "part"),
    [
        ({"config": "PPOO"}, rekindle.ConfigError, "unknown algorithm `PPOO`; did you mean `PPO`?"),
        ({"config": "PPO", "environment": None}, rekindle.ConfigError, "needs an environment"),
        ({"config": "PPO", "environment": "CartPol-v1"}, rekindle.EnvError, "CartPole-v1"),
        ({"settings": {"training": {"lrr": 1}}}, rekindle.ConfigError, "unknown field `lrr`"),
        ({"settings": {"training.gamma": 1.5}}, rekindle.ConfigError, "`gamma` is 1.5"),
        ({"settings": {"training.lr": float("nan")}}, rekindle.ConfigError, "`training.lr` is NaN"),
        ({"settings": {"training": {"lr": object()}}}, rekindle.ConfigError, "class object"),
        ({"settings": {3: 4}}, rekindle.ConfigError, "must be a text"),
        ({"config": {"environment": {}}}, rekindle.ConfigError, "`algorithm` is not set"),
        ({"config": 3}, rekindle.ConfigError, "not an object of the class int"),
        ({"config": "missing.toml"}, rekindle.RekindleError, "cannot read `missing.toml`"),
        ({"device": "gpu"}, rekindle.DeviceError, "unknown device `gpu`"),
        ({"steps": -1}, OverflowError, "negative"),
    ],
)
def test_mistakes_are_exceptions_that_say_what_to_do(keywords, kind, part):
    keywords = {"config": "PPO", "environment": "CartPole-v1", **keywords}
    with pytest.raises(kind, match=part.replace("?", r"\?")):
        rekindle.train(**keywords)


def test_errors_of_settings_are_value_errors():
    assert issubclass(rekindle.ConfigError, ValueError)
    with pytest.raises(ValueError, match="training has no limit"):
        small().run()
    with pytest.raises(rekindle.ConfigError, match="no run folder"):
        small().save()
    with pytest.raises(rekindle.ConfigError, match="no agent is mapped to module `other`"):
        small().policy_bundle("other")


def test_nothing_is_pickled():
    training = small()
    with pytest.raises(TypeError, match=r"rekindle\.resume"):
        pickle.dumps(training)


def test_names_and_defaults_of_algorithms():
    assert {"PPO", "DQN", "SAC", "IMPALA"} <= set(rekindle.algorithms())
    assert rekindle.default_settings("ppo")["training"]["num_epochs"] == 30


def test_warnings_go_to_the_logger(caplog, tmp_path):
    # A file where the metrics belong: training goes on with a warning.
    training = small(runs=tmp_path)
    metrics = training.run_folder / "metrics.jsonl"
    metrics.unlink()
    metrics.mkdir()
    with caplog.at_level("WARNING", logger="rekindle"):
        next(training)
    assert [record.name for record in caplog.records][:1] == ["rekindle"]
    assert "metrics.jsonl" in caplog.text
