"""PPO on CartPole-v1 with Stable-Baselines3, timed after two iterations to warm up.

The workload `ppo-cartpole` of `cargo xtask compare`; prints one JSON line.
"""

import argparse
import json
import os
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=102_400, help="environment steps that are timed")
parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is imported

import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

NUM_ENVS = 8
ROLLOUT = 128  # steps of each environment per iteration
WARM_UP = 2 * NUM_ENVS * ROLLOUT

torch.set_num_threads(args.threads)
model = PPO(
    "MlpPolicy",
    make_vec_env("CartPole-v1", n_envs=NUM_ENVS, seed=args.seed),
    policy_kwargs={
        "activation_fn": torch.nn.Tanh,
        "net_arch": {"pi": [64, 64], "vf": [64, 64]},
    },
    n_steps=ROLLOUT,
    n_epochs=4,
    batch_size=256,
    learning_rate=2.5e-4,
    gamma=0.99,
    gae_lambda=0.95,
    clip_range=0.2,
    ent_coef=0.01,
    vf_coef=0.5,
    max_grad_norm=0.5,
    device="cpu",
    seed=args.seed,
)
model.learn(WARM_UP)

start = time.perf_counter()
model.learn(args.steps, reset_num_timesteps=False)
seconds = time.perf_counter() - start

print(
    json.dumps(
        {
            "workload": "ppo-cartpole",
            "system": "stable-baselines3",
            "version": stable_baselines3.__version__,
            "threads": args.threads,
            "env_steps_per_s": (model.num_timesteps - WARM_UP) / seconds,
        }
    )
)
