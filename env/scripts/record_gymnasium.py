"""Records episodes, samples and random streams of Gymnasium 1.4.0 and NumPy for `tests/`.

Usage: python scripts/record_gymnasium.py   (writes tests/golden/*.json)
"""

import json
import math
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"


def plain(x):
    """NumPy data as JSON data; float32 numbers in their shortest form."""
    if isinstance(x, np.float32):
        return float(str(x))
    if isinstance(x, np.ndarray) and x.ndim == 0 or isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray | list | tuple):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    return x


def write(name, records):
    lines = ",\n".join(json.dumps(plain(r), separators=(",", ":")) for r in records)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(f"[\n{lines}\n]\n")


# ---- NumPy's random streams ----

INTEGER_RANGES = [
    (0, 2), (7, 8), (0, 10), (-5, 6), (0, 2**31), (-(2**31), 2**31), (0, 3 * 2**30),
    (0, 2**32 + 1), (-(2**63), 2**63 - 1), (0, 3 * 2**61), (0, 6),
]  # fmt: skip


def stream(seed):
    """Draws of every kind in turn, so that some of them find the 32-bit buffer half full."""
    rng = np.random.default_rng(seed)
    sequence = np.random.SeedSequence(seed)
    record = {
        "u32": sequence.generate_state(9),
        "u64": sequence.generate_state(5, np.uint64),
        "spawned": np.random.SeedSequence(seed, spawn_key=(3, 1)).generate_state(4, np.uint64),
        "raw": rng.bit_generator.random_raw(6),
        "random": rng.random(6),
        "uniform": [rng.uniform(-0.05, 0.05), rng.uniform(-3, 1e6), rng.uniform(0, 1e-9)],
        "integers": [[a, b, rng.integers(a, b)] for _ in range(5) for a, b in INTEGER_RANGES],
        "random_after": rng.random(),
        "permutation": rng.permutation(20),
        "permutation_after": rng.permutation(3),
    }
    state = rng.bit_generator.state
    record["state"] = str(state["state"]["state"])
    record["inc"] = str(state["state"]["inc"])
    record["buffered"] = state["uinteger"] if state["has_uint32"] else None
    return record


def record_numpy():
    seeds = [0, 1, 123, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1]
    keys = [[0], [0, 0], [1, 2], [7, 0, 3, 0, 9], [5] * 6, [1, 2**33 + 7, 0], [2**64 - 1, 3]]
    write(
        "numpy",
        [{"seed": s, **stream(s)} for s in seeds] + [{"key": k, **stream(k)} for k in keys],
    )


# ---- sampling from spaces ----


def record_spaces():
    named = {
        "box": spaces.Box(-2.5, 3.0, (3,)),
        "box_per_element": spaces.Box(np.float32([-1, 0, 5]), np.float32([1, 0.5, 5]), (3,)),
        "box_uint8": spaces.Box(0, 255, (2, 3), np.uint8),
        "box_uint8_narrow": spaces.Box(3, 9, (5,), np.uint8),
        "discrete": spaces.Discrete(5),
        "discrete_start": spaces.Discrete(3, start=-1),
        "multi_discrete": spaces.MultiDiscrete([3, 1, 7]),
        "multi_binary": spaces.MultiBinary(6),
        "dict": spaces.Dict({"b": spaces.Discrete(4), "a": spaces.Box(0, 1, (2,))}),
        "tuple": spaces.Tuple(
            [spaces.MultiBinary(3), spaces.Dict({"x": spaces.Discrete(9), "y": spaces.Discrete(2)})]
        ),
    }
    records = []
    for name, space in named.items():
        for seed in [0, 7, 123]:
            space.seed(seed)
            samples = [space.sample() for _ in range(5)]
            flat = [spaces.flatten(space, sample) for sample in samples]
            records.append(
                {"space": name, "repr": str(space), "seed": seed, "samples": samples, "flat": flat}
            )
    write("spaces", records)


# ---- environments ----


def rollout(id, seed, steps, policy=None, limit=None, options=None, **config):
    """Steps through episodes; only the first reset is seeded."""
    env = gym.make(id, max_episode_steps=limit, disable_env_checker=True, **config)
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed, options=options)
    record = {
        "id": id, "config": config, "max_episode_steps": env.spec.max_episode_steps,
        "seed": seed, "options": options or {}, "reset": observation, "steps": [],
    }  # fmt: skip
    for _ in range(steps):
        action = policy(observation) if policy else env.action_space.sample()
        observation, reward, terminated, truncated, _ = env.step(action)
        step = [action, observation, float(reward), terminated, truncated]
        if terminated or truncated:
            first, _ = env.reset()
            step.append(first)
            observation = first
        record["steps"].append(step)
    return record


def record_cart_pole():
    id = "CartPole-v1"
    balance = lambda o: int(o[2] + 0.5 * o[3] > 0)
    write(
        "cart_pole",
        [rollout(id, seed, 60) for seed in [0, 1, 42]]
        + [rollout(id, 7, 505, policy=balance)]
        + [rollout(id, 3, 40, sutton_barto_reward=True)]
        + [rollout(id, 123, 5, options={"low": -0.1, "high": 0.1})],
    )


def record_pendulum():
    id = "Pendulum-v1"
    rng = np.random.default_rng(0)
    beyond = lambda _: rng.uniform(-5, 5, 1).astype(np.float32)
    write(
        "pendulum",
        [rollout(id, seed, 400) for seed in [0, 1]]
        + [rollout(id, 42, 60, limit=20, policy=beyond)]
        + [rollout(id, 3, 40, g=9.81, options={"x_init": 1.0})]
        + [rollout(id, 123, 5, options={"x_init": math.pi / 2, "y_init": 0.5})],
    )


def record_mountain_car():
    id = "MountainCar-v0"
    swing = lambda o: 2 if o[1] >= 0 else 0
    write(
        "mountain_car",
        [rollout(id, seed, 120, limit=50) for seed in [0, 1]]
        + [rollout(id, 42, 260, policy=swing)]
        + [rollout(id, 9, 200, policy=swing, goal_velocity=0.03)]
        + [rollout(id, 123, 5, options={"low": -0.7, "high": 0.5})],
    )


def record_mountain_car_continuous():
    id = "MountainCarContinuous-v0"
    rng = np.random.default_rng(0)
    swing = lambda o: np.float32([0.9 if o[1] >= 0 else -0.9])
    beyond = lambda o: rng.uniform(0, 1.5, 1).astype(np.float32) * (1 if o[1] >= 0 else -1)
    noise = lambda _: rng.uniform(-1.5, 1.5, 1).astype(np.float32)
    write(
        "mountain_car_continuous",
        [rollout(id, seed, 120, limit=50) for seed in [0, 1]]
        + [rollout(id, 42, 300, policy=swing), rollout(id, 5, 300, policy=beyond)]
        + [rollout(id, 6, 120, limit=40, policy=noise)]
        + [rollout(id, 9, 200, policy=swing, goal_velocity=0.02)]
        + [rollout(id, 123, 5, options={"low": -0.7, "high": -0.5})],
    )


def record_acrobot():
    id = "Acrobot-v1"
    pump = lambda o: 2 if o[4] < 0 else 0
    write(
        "acrobot",
        [rollout(id, seed, 100, limit=40) for seed in [0, 1]]
        + [rollout(id, 42, 200, policy=pump)]
        + [rollout(id, 123, 5, options={"low": -0.2, "high": 0.2})],
    )
    # Acrobot is chaotic, so its dynamics are also recorded step by step from given states.
    env = gym.make(id, disable_env_checker=True).unwrapped
    rng = np.random.default_rng(0)
    high = [math.pi, math.pi, 4 * math.pi, 9 * math.pi]
    records = []
    for _ in range(120):
        state = rng.uniform(np.negative(high), high)
        action = int(rng.integers(3))
        env.state = state
        observation, reward, terminated, _, _ = env.step(action)
        records.append([state, action, env.state, observation, reward, terminated])
    write("acrobot_steps", records)


def record_vector():
    make = lambda: gym.make("CartPole-v1", disable_env_checker=True)
    envs = SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.action_space.seed(0)
    observations, _ = envs.reset(seed=123)
    record = {"seed": 123, "reset": observations, "steps": []}
    for _ in range(80):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        final = infos.get("final_obs", [None] * 3)
        record["steps"].append([actions, observations, rewards, terminated, truncated, list(final)])
    write("vector", [record])


if __name__ == "__main__":
    assert gym.__version__ == "1.4.0", gym.__version__
    record_numpy()
    record_spaces()
    record_cart_pole()
    record_pendulum()
    record_mountain_car()
    record_mountain_car_continuous()
    record_acrobot()
    record_vector()
