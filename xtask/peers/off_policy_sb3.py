"""DQN, SAC and TD3 with Stable-Baselines3 or SBX, timed after a warm-up.

The workloads of algorithms with replay in `cargo xtask compare`. Cases are `dqn`, `sac-64`, `sac-256` and `td3-256`;
prints environment steps per second and the mean return of the last 100 episodes.
"""

import os

from common import parse, parser, rate, report

arguments = parser(__doc__, "dqn,sac-64,sac-256,td3-256")
arguments.add_argument("--system", choices=["sb3", "sbx"], default="sb3")
arguments.add_argument("--device", default="cpu", help="of Stable-Baselines3")
args = parse(arguments)
if args.system == "sbx" and args.threads == 1:
    # JAX uses all processors unless this is set before it is imported.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger

if args.system == "sb3":
    import stable_baselines3 as library

    system, options = "stable-baselines3", {"device": args.device}
else:
    import sbx as library

    system, options = "sbx", {}

# Environment steps in one call of `learn`, whose start-up then does not count.
STEPS = 500


def dqn():
    return library.DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=1, seed=args.seed),
        policy_kwargs={"net_arch": [64, 64]},
        batch_size=64,
        buffer_size=100_000,
        learning_starts=100,
        train_freq=4,
        gradient_steps=1,
        target_update_interval=10_000,
        seed=args.seed,
        **options,
    )


def continuous(algorithm, hidden, rows):
    return algorithm(
        "MlpPolicy",
        make_vec_env("Pendulum-v1", n_envs=1, seed=args.seed),
        policy_kwargs={"net_arch": [hidden, hidden]},
        batch_size=rows,
        buffer_size=100_000,
        seed=args.seed,
        **options,
    )


MODELS = {
    "dqn": dqn,
    "sac-64": lambda: continuous(library.SAC, 64, 64),
    "sac-256": lambda: continuous(library.SAC, 256, 256),
    "td3-256": lambda: continuous(library.TD3, 256, 256),
}

torch.set_num_threads(args.threads)
for case in args.cases:
    model = MODELS[case]()
    # Without a logger, every call of `learn` creates one.
    model.set_logger(Logger(folder=None, output_formats=[]))

    def train():
        before = model.num_timesteps
        model.learn(STEPS, reset_num_timesteps=False)
        return model.num_timesteps - before

    train()
    value = rate(args.seconds, train)
    returns = [episode["r"] for episode in model.ep_info_buffer]
    mean = sum(returns) / len(returns) if returns else None
    report(case, system, library.__version__, value, episode_return_mean=mean)
