"""PPO on CartPole-v1 with Stable-Baselines3 or SBX, timed after two iterations to warm up.

The workloads `ppo-cartpole`, `memory` and `scaling` of `cargo xtask compare`. A case is
ENVSxROLLOUTxHIDDEN; prints environment steps per second and the mean return of the last 100 episodes.
"""

import os

from common import parse, parser, rate, report, sizes

arguments = parser(__doc__, "8x128x64")
arguments.add_argument("--system", choices=["sb3", "sbx"], default="sb3")
arguments.add_argument("--steps", type=int, help="train for so many steps, not for seconds")
args = parse(arguments)
if args.system == "sbx" and args.threads == 1:
    # JAX uses all processors unless this is set before it is imported.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger

torch.set_num_threads(args.threads)
if args.system == "sb3":
    import stable_baselines3 as library

    system, tanh, options = "stable-baselines3", torch.nn.Tanh, {"device": "cpu"}
else:
    import flax.linen
    import sbx as library

    system, tanh, options = "sbx", flax.linen.tanh, {}


def algorithm(num_envs, rollout, hidden):
    model = library.PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=num_envs, seed=args.seed),
        policy_kwargs={
            "activation_fn": tanh,
            "net_arch": {"pi": [hidden, hidden], "vf": [hidden, hidden]},
        },
        n_steps=rollout,
        n_epochs=4,
        batch_size=num_envs * rollout // 4,
        learning_rate=2.5e-4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.01,
        vf_coef=0.5,
        max_grad_norm=0.5,
        seed=args.seed,
        **options,
    )
    # Without a logger, every call of `learn` creates one.
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


for case in args.cases:
    num_envs, rollout, hidden = sizes(case)
    model = algorithm(num_envs, rollout, hidden)

    def train(steps=num_envs * rollout):
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return model.num_timesteps - before

    if args.steps:
        value = rate(0, lambda: train(args.steps))
    else:
        # The second iteration compiles the rest.
        train()
        train()
        value = rate(args.seconds, train)
    returns = [episode["r"] for episode in model.ep_info_buffer]
    mean = sum(returns) / len(returns) if returns else None
    report(case, system, library.__version__, value, episode_return_mean=mean)
