"""Updates of RLlib's PPO learner on recorded CartPole-v1 episodes: RLlib's defaults.

The workload `ppo-update` of `cargo xtask compare`: 4000 rows, 10 epochs, minibatches of 128, separate
tanh networks. A case is the width of their two hidden layers; prints rows per second, where every
epoch sees every row.
"""

from common import parse, parser, report

args = parse(parser(__doc__, "256"))

import copy
import logging
import time

import gymnasium
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

ROWS = 4000
EPOCHS = 10
MINIBATCH = 128

torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
for case in args.cases:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .rl_module(
            model_config={
                "fcnet_hiddens": [int(case), int(case)],
                "fcnet_activation": "tanh",
                "vf_share_layers": False,
            }
        )
        .training(
            train_batch_size_per_learner=ROWS, minibatch_size=MINIBATCH, num_epochs=EPOCHS
        )
        .debugging(seed=args.seed)
    )
    runner = SingleAgentEnvRunner(config=config)
    episodes = runner.sample(num_timesteps=ROWS, random_actions=False)
    learner = config.build_learner(env=gymnasium.make("CartPole-v1"))
    rows = sum(len(episode) for episode in episodes)

    def update():
        # An update changes its episodes, so they are copied outside the measured time.
        batch = copy.deepcopy(episodes)
        start = time.perf_counter()
        learner.update(
            episodes=batch,
            timesteps={"num_env_steps_sampled_lifetime": rows},
            num_epochs=EPOCHS,
            minibatch_size=MINIBATCH,
            shuffle_batch_per_epoch=True,
        )
        return time.perf_counter() - start

    update()
    updates, seconds = 0, 0.0
    while updates == 0 or seconds < args.seconds:
        seconds += update()
        updates += 1
    report(case, "rllib", ray.__version__, updates * EPOCHS * rows / seconds)
    runner.stop()
