"""A2C on CartPole-v1 with Stable-Baselines3's defaults, timed after a warm-up.

The workload `a2c-cartpole` of `cargo xtask compare`. A case is ENVSxROLLOUTxHIDDEN; prints environment steps
per second and the mean return of the last 100 episodes.
"""

from common import parse, parser, rate, report, sizes

args = parse(parser(__doc__, "8x5x64"))

import stable_baselines3
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger

# Updates in one call of `learn`, whose start-up then does not count.
UPDATES = 50

torch.set_num_threads(args.threads)
for case in args.cases:
    num_envs, rollout, hidden = sizes(case)
    model = stable_baselines3.A2C(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=num_envs, seed=args.seed),
        policy_kwargs={"net_arch": {"pi": [hidden, hidden], "vf": [hidden, hidden]}},
        n_steps=rollout,
        seed=args.seed,
        device="cpu",
    )
    # Without a logger, every call of `learn` creates one.
    model.set_logger(Logger(folder=None, output_formats=[]))

    def train():
        before = model.num_timesteps
        model.learn(UPDATES * num_envs * rollout, reset_num_timesteps=False)
        return model.num_timesteps - before

    train()
    value = rate(args.seconds, train)
    returns = [episode["r"] for episode in model.ep_info_buffer]
    mean = sum(returns) / len(returns) if returns else None
    version = stable_baselines3.__version__
    report(case, "stable-baselines3", version, value, episode_return_mean=mean)
