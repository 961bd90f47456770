"""Environments for the tests of rekindle-gymnasium."""

import os
import resource
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def allocate_too_much():
    """Allocates 2 GB when only 1 GB is left."""
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, hard))
    try:
        np.ones(2**28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Faulty(gym.Env):
    """Breaks as its action says: see `step`. Observes its step and a random number."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(9)

    def __init__(self, length=20):
        self.length, self.next_reset_fails = length, False

    def observe(self):
        return np.array([self.t, self.np_random.random()], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.next_reset_fails:
            raise RuntimeError("no reset today")
        self.t = 0
        return self.observe(), {}

    def step(self, action):
        if action == 1:
            raise ValueError("a step too far")
        if action == 2:
            os._exit(3)
        if action == 3:
            time.sleep(3600)
        if action == 4:
            sys.stdout.write("flood\n" * 1_700_000)
            print("flood", file=sys.stderr)
        if action == 5:
            allocate_too_much()
        if action == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == 7:
            self.next_reset_fails = True
        if action == 8:
            sys.exit("done here")
        self.t += 1
        done = self.t >= self.length
        return self.observe(), float(self.t), False, done, {}


class Drawn(Faulty):
    """Draws how far its episode is."""

    metadata = {"render_fps": 12.5}

    def render(self):
        return np.full((4, 6, 3), 10 * self.t, np.uint8)


def vector_of_faulty(num_envs, mode, length=20):
    makers = [lambda: Faulty(length)] * num_envs
    return gym.vector.SyncVectorEnv(makers, autoreset_mode=gym.vector.AutoresetMode[mode])


def not_a_vector(num_envs):
    return Faulty()


class Unreliable(gym.Env):
    """Episodes of ten steps. One step in 200 raises an exception, one in 1000 kills the worker."""

    observation_space = spaces.Box(0, 10, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        chance = self.np_random.random()
        if chance < 0.001:
            os.kill(os.getpid(), signal.SIGKILL)
        if chance < 0.006:
            raise ConnectionError("the simulator hung up")
        self.t += 1
        return np.full(1, self.t, np.float32), 1.0, self.t == 10, False, {}


class Everything(gym.Env):
    """Observes its last action, in spaces of all kinds."""

    def __init__(self):
        boxes = {
            name: spaces.Box(0, 1, (2,), np.dtype(name))
            for name in ("float16", "float32", "float64", "bool")
        }
        ints = {
            name: spaces.Box(np.iinfo(name).min, np.iinfo(name).max, (2, 2), np.dtype(name))
            for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
        }
        choices = spaces.Tuple((
            spaces.Discrete(5, start=-2),
            spaces.MultiDiscrete([3, 4], start=[10, -1]),
            spaces.MultiDiscrete([[2, 3], [4, 5]]),
            spaces.MultiBinary((2, 2)),
            spaces.Dict({"scalar": spaces.Box(-1, 1, ())}),
        ))
        # Not sorted, as users write them.
        self.action_space = spaces.Dict({"z": choices, **boxes, **ints})
        self.observation_space = self.action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(f"{action} is not in {self.action_space}")
        self.t += 1
        return action, 1.0, False, self.t >= 7, {}


class Wrong(gym.Env):
    """Observes what is not in its space."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, kind):
        self.kind = kind

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        observation = {
            "nan": np.array([np.nan, 0], np.float32),
            "outside": np.array([0, 1.5], np.float32),
            "dtype": np.array([0, 0.5], np.float64),
            "shape": np.zeros(1, np.float32),
            "list": [0.0, 0.5],
        }[self.kind]
        return observation, 0.0, False, False, {}


class Informed(gym.Env):
    """Reports infos, and its reset options."""

    observation_space = spaces.Discrete(10)
    action_space = spaces.Box(-1, 1, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.t, self.options = 0, options
        return 0, {"start": 1, "option": (options or {}).get("low", -1.0)}

    def step(self, action):
        self.t += 1
        done = self.t == 3
        info = {"t": self.t, "ok": np.bool_(True), "nested": {"x": np.float32(0.5)}, "text": "hi"}
        if done:
            info = {"is_success": True, "array": np.array(2.5), "many": np.zeros(3)}
        return self.t, float(action.sum()), done, False, info


class Manners(gym.Env):
    """Fails unless it is used as Gymnasium uses environments."""

    observation_space = spaces.Discrete(3)
    action_space = spaces.Box(-1, 1, (2,), np.float64)
    kept = None

    def reset(self, *, seed=None, options=None):
        assert seed is None or type(seed) is int, type(seed)
        assert options is None, options
        return 1, {}

    def step(self, action):
        assert type(action) is np.ndarray and action.dtype == np.float64, action
        if self.kept is not None:
            kept, number = self.kept
            assert kept[0] == number, "an action changed after its step"
        self.kept = action, float(action[0])
        return np.int64(2), np.float32(0.5), np.bool_(False), False, {}


class Scalar:
    """Looks like a number of another library."""

    shape, dtype = (), "float"


class Unreadable(Exception):
    def __str__(self):
        raise ValueError("no text either")


class Odd(gym.Env):
    """Returns in `step` or `reset` what environments of Gymnasium do not return."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    metadata = {"render_fps": float("inf")}

    def __init__(self, kind):
        self.kind = kind

    def reset(self, *, seed=None, options=None):
        observation = np.zeros(2, np.float32)
        return {"no info": observation, "two parts": (0.0, 0.0)}.get(self.kind, (observation, {}))

    def step(self, action):
        observation, info = np.zeros(2, np.float32), {}
        if self.kind == "raises":
            raise Unreadable
        if self.kind == "surrogate":
            raise ValueError("file \udcff")
        if self.kind == "infos":
            cycle = {"x": np.float16(0.5), 3: True, "\udcff": 1.0}
            info = {"scalar": Scalar(), "big": 10**400, "none": None, "list": [[1], [2]], "deep": cycle}
        reward = {"word": "high", "array": np.ones(3), "nothing": None}.get(self.kind, np.float32(0.5))
        return {
            "four": (observation, 0.0, False, {}),
            "one": 3,
            "info": (observation, 0.0, False, False, [1]),
        }.get(self.kind, (observation, reward, np.bool_(False), np.array(False), info))

    def render(self):
        return np.zeros((2, 3, 3), np.uint8)


class Seedless(Odd):
    def __init__(self):
        super().__init__("seedless")

    def reset(self):
        return np.zeros(2, np.float32), {}


class NeverResets(Odd):
    def __init__(self):
        super().__init__("never")

    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no reset today")


class Named(gym.Env):
    """Has spaces with keys that are no names."""

    def __init__(self, keys):
        self.keys = keys
        self.observation_space = spaces.Dict({key: spaces.Box(-1, 1, (1,), np.float32) for key in keys})
        self.action_space = spaces.Dict({key: spaces.Discrete(3) for key in keys})

    def reset(self, *, seed=None, options=None):
        return {key: np.zeros(1, np.float32) for key in self.keys}, {}

    def step(self, action):
        observation = {key: np.full(1, action[key] / 4, np.float32) for key in self.keys}
        return observation, 0.0, False, False, {"größe": 3}


class Changing(Faulty):
    """Every instance has one more action."""

    instances = 0

    def __init__(self):
        super().__init__()
        Changing.instances += 1
        self.action_space = spaces.Discrete(8 + Changing.instances)


class System(Faulty):
    """Uses the operating system as its action says."""

    def __init__(self, sleeps=False):
        super().__init__()
        self.program = subprocess.Popen(["sleep", "3600"]) if sleeps else None

    def reset(self, *, seed=None, options=None):
        observation, _ = super().reset(seed=seed, options=options)
        return observation, {"program": self.program.pid} if self.program else dict(options or {})

    def step(self, action):
        if action == 1:
            input("what next? ")
        if action == 2:
            os.close(0)
            os.chdir("/")
        if action == 3 and os.fork() == 0:
            sys.exit("the copy is done")
        if action == 4 and os.fork() == 0:
            # The copy returns from here, late.
            time.sleep(0.2)
        if action == 5:
            if os.fork() == 0:
                os.setsid()
                time.sleep(20)
                os._exit(0)
            os._exit(3)
        return super().step(0)


class OldSpace(spaces.Box):
    pass


OldSpace.__module__ = "gym.spaces.box"


def no_environment(kind):
    class Empty(gym.Env):
        pass

    class Old(Faulty):
        action_space = OldSpace(-1, 1, (2,))

    return {"none": lambda: None, "empty": Empty, "old": Old}[kind]()


class Pair:
    """A game of two agents, of which the first leaves after two steps. PettingZoo's interface without its package."""

    possible_agents = ["left", "right"]

    def observation_space(self, agent):
        return spaces.Discrete(10)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.t, self.agents = 0, list(self.possible_agents)
        return {agent: 0 for agent in self.agents}, {agent: {"start": 1} for agent in self.agents}

    def step(self, actions):
        self.t += 1
        playing = self.agents
        done = {agent: self.t == 2 + 2 * (agent == "right") for agent in playing}
        self.agents = [agent for agent in playing if not done[agent]]
        infos = {agent: {"score": self.t, "deep": {"er": 0.5}, "text": agent} for agent in playing}
        return {a: self.t for a in playing}, {a: 1.0 for a in playing}, done, {a: False for a in playing}, infos

    def close(self):
        pass


parallel_env = Pair


def needy():
    raise gym.error.DependencyNotInstalled("simulator is not installed, run `pip install simulator`")


gym.register("Lab/Needy-v0", entry_point=needy)


def unsupported(space):
    class Unsupported(gym.Env):
        observation_space = {
            "text": spaces.Text(5),
            "graph": spaces.Graph(spaces.Discrete(2), None),
            "sequence": spaces.Dict({"inner": spaces.Sequence(spaces.Discrete(2))}),
            "one_of": spaces.OneOf((spaces.Discrete(2), spaces.Discrete(3))),
        }[space]
        action_space = spaces.Discrete(2)

    return Unsupported()


def broken():
    return {}["this key"]


NOT_CALLABLE = 3
