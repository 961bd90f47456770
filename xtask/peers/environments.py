"""Steps Python environments with random actions: vectors of several libraries, and bare loops.

The workloads `python-environments` and `python-bridge` of `cargo xtask compare`. A case is the name of an
environment, stepped by 2 workers of 8 environments each. Prints environment steps per second, or with
`--vector-steps` steps of the whole vector per second.
"""

import multiprocessing
import time

from common import parse, parser, rate, report

WORKERS, ENVS = 2, 8

arguments = parser(__doc__, "cartpole")
arguments.add_argument("--system", choices=["async", "sync", "sb3", "puffer", "loops"], required=True)
arguments.add_argument("--vector-steps", action="store_true", help="count steps of the vector")


def maker(case):
    """Returns a function that makes one environment."""
    import gymnasium as gym

    def cartpole():
        return gym.make("CartPole-v1", disable_env_checker=True)

    def half_cheetah():
        return gym.make("HalfCheetah-v5", disable_env_checker=True)

    def pong():
        import ale_py  # registers the ids
        from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

        env = gym.make("ALE/Pong-v5", frameskip=1, disable_env_checker=True)
        return FrameStackObservation(AtariPreprocessing(env), 4)

    def nothing():
        from nothing import Nothing

        return Nothing()

    return {"cartpole": cartpole, "half-cheetah": half_cheetah, "pong": pong, "nothing": nothing}[case]


def version_of(package):
    from importlib.metadata import version

    return version(package)


def actions_of(make, num_envs):
    """64 vectors of random actions."""
    import numpy as np

    space = make().action_space
    space.seed(0)
    return [np.stack([space.sample() for _ in range(num_envs)]) for _ in range(64)]


def stepped(step, actions, num_envs):
    """A function that does 50 steps of a vector, and returns the number of environment steps."""
    at = 0

    def work():
        nonlocal at
        for _ in range(50):
            step(actions[at % len(actions)])
            at += 1
        return 50 * num_envs

    return work


def vector(system, make, num_envs):
    """Returns the function that steps a vector, and the one that closes it."""
    if system == "async":
        from gymnasium.vector import AsyncVectorEnv

        env = AsyncVectorEnv([make] * num_envs, shared_memory=True)
    elif system == "sync":
        from gymnasium.vector import SyncVectorEnv

        env = SyncVectorEnv([make] * num_envs)
    elif system == "sb3":
        from stable_baselines3.common.vec_env import SubprocVecEnv

        env = SubprocVecEnv([make] * num_envs)
        env.reset()
        return env.step, env.close
    else:
        import pufferlib.emulation
        import pufferlib.vector

        def puffer(buf=None, seed=0, **kwargs):
            return pufferlib.emulation.GymnasiumPufferEnv(env_creator=make, buf=buf, seed=seed)

        env = pufferlib.vector.make(
            puffer, backend=pufferlib.vector.Multiprocessing, num_envs=num_envs, num_workers=WORKERS
        )
    env.reset(seed=0)
    return env.step, env.close


def loop(make, seconds, counts):
    """Steps the environments of one worker, one after the other, without any library."""
    envs = [make() for _ in range(ENVS)]
    for i, env in enumerate(envs):
        env.reset(seed=i)
    actions = actions_of(make, ENVS)
    counts.put(None)
    done, at, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for env, action in zip(envs, actions[at % 64]):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        done, at = done + ENVS, at + 1
    counts.put(done / (time.perf_counter() - start))


def loops(make, seconds):
    """The steps per second of two bare loops, side by side."""
    context = multiprocessing.get_context("fork")
    counts = context.Queue()
    workers = [context.Process(target=loop, args=(make, seconds, counts)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    found = [counts.get() for _ in range(2 * WORKERS)]
    for worker in workers:
        worker.join()
    return sum(count for count in found if count is not None)


def main():
    args = parse(arguments)
    names = {
        "async": ("Gymnasium's AsyncVectorEnv", "gymnasium"),
        "sync": ("Gymnasium's SyncVectorEnv", "gymnasium"),
        "sb3": ("SB3's SubprocVecEnv", "stable-baselines3"),
        "puffer": ("PufferLib's Multiprocessing", "pufferlib"),
        "loops": ("two bare loops, gymnasium", "gymnasium"),
    }
    name, package = names[args.system]
    num_envs = WORKERS * ENVS
    for case in args.cases:
        make = maker(case)
        if args.system == "loops":
            value = loops(make, args.seconds)
        else:
            step, close = vector(args.system, make, num_envs)
            work = stepped(step, actions_of(make, num_envs), num_envs)
            work()
            value = rate(args.seconds, work)
            close()
        if args.vector_steps:
            value /= num_envs
        report(case, name, version_of(package), value)


if __name__ == "__main__":
    main()
