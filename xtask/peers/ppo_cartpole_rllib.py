"""PPO on CartPole-v1 with RLlib's new API stack, timed after two iterations to warm up.

Samples and learns in the driver process. The workload `ppo-cartpole` of `cargo xtask compare`;
prints one JSON line.
"""

import argparse
import json
import logging
import os
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=102_400, help="environment steps that are timed")
parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is imported

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig

NUM_ENVS = 8
ROLLOUT = 128  # steps of each environment per iteration
STEPS = "num_env_steps_sampled_lifetime"

torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
algorithm = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(
        num_env_runners=0,
        num_envs_per_env_runner=NUM_ENVS,
        rollout_fragment_length=ROLLOUT,
    )
    .rl_module(
        model_config={
            "fcnet_hiddens": [64, 64],
            "fcnet_activation": "tanh",
            "vf_share_layers": False,
        }
    )
    .training(
        train_batch_size_per_learner=NUM_ENVS * ROLLOUT,
        num_epochs=4,
        minibatch_size=256,
        lr=2.5e-4,
        gamma=0.99,
        lambda_=0.95,
        clip_param=0.2,
        vf_clip_param=float("inf"),
        entropy_coeff=0.01,
        vf_loss_coeff=0.5,
        grad_clip=0.5,
        use_kl_loss=False,
    )
    .debugging(seed=args.seed)
    .build_algo()
)
for _ in range(2):
    warm_up = algorithm.train()[STEPS]

start = time.perf_counter()
steps = 0
while steps < args.steps:
    steps = algorithm.train()[STEPS] - warm_up
seconds = time.perf_counter() - start

print(
    json.dumps(
        {
            "workload": "ppo-cartpole",
            "system": "rllib",
            "version": ray.__version__,
            "threads": args.threads,
            "env_steps_per_s": steps / seconds,
        }
    )
)
