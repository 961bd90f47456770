"""DQN on CartPole-v1 with RLlib's new API stack, timed after two iterations to warm up.

The workload `dqn-cartpole` of `cargo xtask compare`. The only case is `dqn`; prints sampled environment steps per
second and the mean return of the last 100 episodes.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "dqn"))

import logging

import ray
import torch
from ray.rllib.algorithms.dqn import DQNConfig

STEPS = "num_env_steps_sampled_lifetime"

torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)


def algorithm():
    return (
        DQNConfig()
        .environment("CartPole-v1")
        # The driver samples four steps, and then learns once from 64 rows.
        .env_runners(num_env_runners=0, num_envs_per_env_runner=1, rollout_fragment_length=4)
        .learners(num_learners=0)
        .rl_module(model_config={"fcnet_hiddens": [64, 64], "fcnet_activation": "relu"})
        .training(
            lr=1e-4,
            train_batch_size_per_learner=64,
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 100_000},
            num_steps_sampled_before_learning_starts=100,
            target_network_update_freq=10_000,
            epsilon=[(0, 1.0), (10_000, 0.05)],
            grad_clip=10.0,
            double_q=False,
            dueling=False,
        )
        .reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=500)
        .debugging(seed=args.seed)
        .build_algo()
    )


for case in args.cases:
    algo = algorithm()
    algo.train()
    steps, mean = algo.train()[STEPS], None

    def train():
        global steps, mean
        result = algo.train()
        mean = result["env_runners"].get("episode_return_mean")
        before, steps = steps, result[STEPS]
        return steps - before

    value = rate(args.seconds, train)
    report(case, "rllib", ray.__version__, value, episode_return_mean=mean)
    algo.stop()
