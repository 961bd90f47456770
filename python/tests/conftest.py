"""What the tests share: settings that learn fast, and one trained run."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import rekindle

ROOT = Path(__file__).parents[2]

CARTPOLE = {
    "algorithm": "PPO",
    "environment": {"env": "CartPole-v1"},
    "env_runners": {"num_envs_per_env_runner": 8},
    "model_config": {"fcnet_hiddens": [64, 64]},
    "training": {
        "lambda_": 0.95,
        "clip_param": 0.2,
        "vf_clip_param": float("inf"),
        "vf_loss_coeff": 0.5,
        "entropy_coeff": 0.01,
        "use_kl_loss": False,
        "grad_clip": 0.5,
        "lr": [[0, 0.001], [300_000, 0.0]],
        "train_batch_size": 1024,
        "minibatch_size": 256,
        "num_epochs": 10,
    },
    "run": {"max_env_steps": 300_000, "stop_value": 475.0},
    "debugging": {"seed": 1},
}

SMALL = {
    "training": {"train_batch_size": 256, "minibatch_size": 64, "num_epochs": 2},
    "model_config": {"fcnet_hiddens": [16]},
    "env_runners": {"num_envs_per_env_runner": 4},
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run that solved CartPole, and its results."""
    training = rekindle.train(CARTPOLE, runs=tmp_path_factory.mktemp("runs"))
    return training, list(training)


@pytest.fixture
def policy(trained):
    return trained[0].policy_bundle()


@pytest.fixture(scope="session")
def act_in_rust():
    """The program that measures the call from Rust. `cargo xtask python` names it."""
    program = os.environ.get("REKINDLE_ACT_IN_RUST")
    if not program:
        pytest.skip("`cargo xtask python` builds the program to compare with")
    return lambda *args: subprocess.run(
        [program, *map(str, args)], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of one node, which ends with this program. Its folder is short because paths of sockets are."""
    ray = pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="ray-")
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def small(algorithm="PPO", environment="CartPole-v1", **keywords):
    """Trains on small batches."""
    keywords.setdefault("settings", SMALL)
    keywords.setdefault("seed", 0)
    return rekindle.train(algorithm, environment, **keywords)
