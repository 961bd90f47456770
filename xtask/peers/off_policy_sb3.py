"""DQN with Stable-Baselines3, timed after a warm-up.

The workload `off-policy` of `cargo xtask compare`. A case is `dqn`; prints environment steps per second and the
mean return of the last 100 episodes.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "dqn"))

import stable_baselines3
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger

# Environment steps in one call of `learn`, whose start-up then does not count.
STEPS = 1000


def dqn():
    return stable_baselines3.DQN(
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
        device="cpu",
    )


MODELS = {"dqn": dqn}

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
    version = stable_baselines3.__version__
    report(case, "stable-baselines3", version, value, episode_return_mean=mean)
