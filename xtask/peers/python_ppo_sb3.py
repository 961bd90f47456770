"""PPO in Python environments with Stable-Baselines3, timed after an iteration to warm up.

The workload `python-ppo` of `cargo xtask compare`; prints environment steps per second.
"""

from common import parse, parser, rate, report

arguments = parser(__doc__, "half-cheetah")
arguments.add_argument("--vector", choices=["dummy", "subproc"], default="subproc")
NUM_ENVS = 8


def algorithm(case, args):
    import torch
    from environments import maker
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

    torch.set_num_threads(args.threads)
    kind = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}[args.vector]
    env = kind([maker(case)] * NUM_ENVS)
    shared = {"gamma": 0.99, "gae_lambda": 0.95, "vf_coef": 0.5, "max_grad_norm": 0.5, "device": "cpu"}
    if case == "pong":
        # Frames are stacked on the first axis, as PyTorch has the channels of images.
        model = PPO(
            "CnnPolicy", env, n_steps=128, batch_size=256, n_epochs=4, learning_rate=2.5e-4, clip_range=0.1,
            ent_coef=0.01, seed=args.seed, **shared,
        )
        steps = 128 * NUM_ENVS
    else:
        net = {"activation_fn": torch.nn.Tanh, "net_arch": {"pi": [64, 64], "vf": [64, 64]}}
        model = PPO(
            "MlpPolicy", VecNormalize(env), policy_kwargs=net, n_steps=256, batch_size=64, n_epochs=10,
            learning_rate=3e-4, clip_range=0.2, ent_coef=0.0, seed=args.seed, **shared,
        )
        steps = 256 * NUM_ENVS
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model, steps


def main():
    args = parse(arguments)
    import stable_baselines3

    for case in args.cases:
        model, steps = algorithm(case, args)

        def train():
            before = model.num_timesteps
            model.learn(steps, reset_num_timesteps=False)
            return model.num_timesteps - before

        train()
        value = rate(args.seconds, train)
        model.env.close()
        report(case, "stable-baselines3", stable_baselines3.__version__, value)


if __name__ == "__main__":
    main()
