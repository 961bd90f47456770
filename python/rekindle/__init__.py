"""Reinforcement learning in Rust on Burn, for Python.

Train, act, and read what a run left::

    import rekindle

    training = rekindle.train("PPO", "CartPole-v1", steps=50_000, seed=0, runs="runs")
    for result in training:
        print(result["env_runners/episode_return_mean"])
    policy = training.policy_bundle()
    action = policy.act(observation)

Nothing is pickled: states are checkpoints of the library, which ``save`` writes and ``resume``,
``PolicyBundle.load`` and ``Checkpoint.read`` read.

Warnings of the library go to the logger ``rekindle`` of the module ``logging``.
"""

from rekindle._errors import (
    CheckpointError,
    ConfigError,
    DeviceError,
    EnvError,
    GroupError,
    InputError,
    RekindleError,
)
from rekindle._rekindle import (
    Checkpoint,
    Evaluation,
    PolicyBundle,
    Training,
    __version__,
    algorithms,
    complete_settings,
    default_settings,
    read_metrics,
    resume,
    train,
)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "EnvError",
    "Evaluation",
    "GroupError",
    "InputError",
    "PolicyBundle",
    "RekindleError",
    "Training",
    "__version__",
    "algorithms",
    "complete_settings",
    "default_settings",
    "read_metrics",
    "resume",
    "train",
]
