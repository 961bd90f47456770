"""Acting on CartPole-v1 with RLlib's SingleAgentEnvRunner, in one process and exploring.

The workload `acting` of `cargo xtask compare`. A case is the number of environments; prints
environment steps per second.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "1,8,64,1024"))

import logging

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
for case in args.cases:
    num_envs = int(case)
    runner = SingleAgentEnvRunner(
        config=PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
        .rl_module(
            model_config={
                "fcnet_hiddens": [64, 64],
                "fcnet_activation": "tanh",
                "vf_share_layers": False,
            }
        )
        .debugging(seed=args.seed)
    )

    def sample(timesteps=max(256, 4 * num_envs)):
        episodes = runner.sample(num_timesteps=timesteps, random_actions=False)
        return sum(len(episode) for episode in episodes)

    sample()
    report(case, "rllib", ray.__version__, rate(args.seconds, sample))
    runner.stop()
