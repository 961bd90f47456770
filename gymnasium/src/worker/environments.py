"""Makes the environments of a worker, and describes their spaces. A part of the program of a worker."""

import difflib
import importlib

OLDEST_GYMNASIUM = (1, 0)
# Packages that register the ids of a namespace when they are imported.
PROVIDERS = {"ALE": "ale_py"}


class Refused(Exception):
    """A reason not to start, as fields of a message."""

    def __init__(self, **fields):
        super().__init__(fields)
        self.fields = fields


def import_gymnasium():
    global gymnasium, np, spaces
    for package in ("numpy", "gymnasium"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise Refused(reason="missing", package=package)
    import gymnasium
    import numpy as np
    from gymnasium import spaces

    found = gymnasium.__version__
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_GYMNASIUM:
        oldest = ".".join(map(str, OLDEST_GYMNASIUM))
        raise Refused(reason="too_old", package="gymnasium", found=found, oldest=oldest)


# ---- making environments ----


def find(path):
    """Returns the object at `module:name`."""
    name, _, attributes = path.partition(":")
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Not a failure inside the module, which has a traceback to show.
        if not (name + ".").startswith(error.name + "."):
            raise
        raise Refused(reason="no_module", module=error.name)
    for part in attributes.split("."):
        if not hasattr(found, part):
            raise Refused(reason="no_callable", message=f"`{name}` has no `{attributes}`")
        found = getattr(found, part)
    return found


def constructor(setup):
    """A function that makes one environment."""
    source, kwargs = setup["source"], setup["kwargs"]
    vector = {"num_envs": setup["num_envs"]} if setup["native_vector"] else {}
    if source["kind"] == "python":
        make = find(source["path"])
        return lambda first: make(**vector, **kwargs)

    if source["kind"] == "petting_zoo":
        return agents_constructor(setup, source["module"])

    name = source["id"]
    provider = PROVIDERS.get(name.partition("/")[0])
    if provider:
        try:
            importlib.import_module(provider)
        except ModuleNotFoundError:
            raise Refused(reason="missing", package=provider.replace("_", "-"))

    def make(first):
        # One environment warns for all of them.
        checks = {} if first or "disable_env_checker" in kwargs else {"disable_env_checker": True}
        try:
            if vector:
                mode = {"vectorization_mode": "vector_entry_point"}
                return gymnasium.make_vec(name, **vector, **{**mode, **kwargs})
            return gymnasium.make(name, **kwargs, **checks)
        except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
            close = difflib.get_close_matches(name, list(gymnasium.registry), 5, 0.7)
            raise Refused(reason="unknown_id", message=str(error), close=close)
        except gymnasium.error.DependencyNotInstalled as error:
            raise Refused(reason="dependency", message=str(error))

    return make


def agents_constructor(setup, name):
    """A function that makes an environment of PettingZoo."""
    try:
        importlib.import_module("pettingzoo")
    except ModuleNotFoundError:
        raise Refused(reason="missing", package="pettingzoo")
    for path in (name, f"pettingzoo.{name}"):
        try:
            module = importlib.import_module(path)
            break
        except ModuleNotFoundError as error:
            # Not a package that the module itself needs.
            if not (path + ".").startswith(error.name + "."):
                raise Refused(reason="dependency", message=str(error))
    else:
        raise Refused(reason="no_module", module=name)
    api = setup["api"] or ("parallel" if hasattr(module, "parallel_env") else "aec")
    name, adapter = {"parallel": ("parallel_env", ParallelAgents), "aec": ("env", TurnAgents)}[api]
    make = getattr(module, name, None)
    if make is None:
        raise Refused(reason="no_callable", message=f"`{path}` has no `{name}`")
    wrappers, setup["wrappers"] = setup["wrappers"], []
    return lambda first: adapter(wrap(make(**setup["kwargs"]), wrappers))


class Agents:
    """Several agents as one environment, whose observations and actions are dictionaries by agent."""

    def __init__(self, env):
        self.env, self.metadata = env, getattr(env, "metadata", None)
        # Sorted, keys keep the order of the agents.
        self.keys = {name: f"{i:04} {name}" for i, name in enumerate(env.possible_agents)}
        limits = np.iinfo(np.int64)
        status = spaces.Box(limits.min, limits.max, (4,), np.int64)
        observations, actions = {}, {}
        for name, key in self.keys.items():
            seen, action = env.observation_space(name), env.action_space(name)
            observations[key] = spaces.Dict({"observation": seen, "status": status})
            actions[key] = spaces.Dict({"acts": spaces.Discrete(2), "action": action})
        self.observation_space = spaces.Dict(observations)
        self.action_space = spaces.Dict(actions)
        # What an agent observes that is not there is ignored, but an element of its space.
        self.last = {name: env.observation_space(name).sample() for name in self.keys}

    def report(self, observations, rewards, terminated, truncated):
        """The observations and flags of all agents."""
        self.last.update(observations)
        reported = {}
        for name, key in self.keys.items():
            flags = (name in observations, terminated.get(name, 0), truncated.get(name, 0))
            status = np.array([*flags, 0], np.int64)
            status[3] = np.float64(rewards.get(name, 0)).view(np.int64)
            reported[key] = {"observation": self.last[name], "status": status}
        return reported

    def render(self):
        return self.env.render()

    def close(self):
        self.env.close()


class ParallelAgents(Agents):
    """Agents that act at the same time."""

    def reset(self, *, seed=None, options=None):
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.report(observations, {}, {}, {}), infos

    def step(self, action):
        parts = ((name, action[key]) for name, key in self.keys.items())
        actions = {name: part["action"] for name, part in parts if part["acts"]}
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        reported = self.report(observations, rewards, terminated, truncated)
        return reported, 0.0, not self.env.agents, False, infos


class TurnAgents(Agents):
    """Agents that act in turns."""

    def reset(self, *, seed=None, options=None):
        self.env.reset(seed=seed, options=options)
        return self.next_turn()

    def step(self, action):
        self.env.step(action[self.keys[self.env.agent_selection]]["action"])
        reported, infos = self.next_turn()
        return reported, 0.0, not self.env.agents, False, infos

    def next_turn(self):
        """Lets agents that are done leave, up to the one that acts next."""
        observations, rewards, terminated, truncated, infos = {}, {}, {}, {}, {}
        while self.env.agents:
            name = self.env.agent_selection
            last = self.env.last()
            observations[name], reward, terminated[name], truncated[name], infos[name] = last
            rewards[name] = rewards.get(name, 0) + reward
            if not (terminated[name] or truncated[name]):
                break
            self.env.step(None)
        return self.report(observations, rewards, terminated, truncated), infos


def wrap(env, wrappers):
    for wrapper in wrappers:
        name, kwargs = wrapper["name"], wrapper["kwargs"]
        if ":" in name:
            make = find(name)
        else:
            from gymnasium import wrappers as module

            make = getattr(module, name, None)
            if make is None:
                close = difflib.get_close_matches(name, dir(module), 5, 0.6)
                raise Refused(reason="unknown_wrapper", name=name, close=close)
        env = make(env, **kwargs)
    return env


def checked(env):
    """The environment, if it is one."""
    missing = [name for name in ("reset", "step") if not callable(getattr(env, name, None))]
    if missing:
        message = f"`{name_of(env)}` has no `{missing[0]}`"
        raise Refused(reason="no_environment", message=message)
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if space is None:
            message = f"`{name_of(env)}` has no `{name}` after its construction"
            raise Refused(reason="no_environment", message=message)
        if type(space).__module__.split(".")[0] == "gym":
            message = f"its `{name}` is from `gym`, which is no longer maintained; import `gymnasium` instead"
            raise Refused(reason="no_environment", message=message)
    return env


# ---- spaces ----


def bounds(array):
    """The bounds of a box, or the single one that all elements share."""
    flat = np.asarray(array).reshape(-1)
    if flat.dtype == bool:
        flat = flat.astype(np.uint8)
    if flat.size and (flat == flat[0]).all():
        flat = flat[:1]
    return [number if np.isfinite(number) else str(number) for number in flat.tolist()]


def check_same_spaces(observations, actions, described):
    """Fails if an environment has other spaces than the first one of its worker."""
    for space, role, first in zip((observations, actions), ("observation", "action"), described):
        if describe(space, role) != first:
            raise ValueError(f"the {role} space {str(space)[:500]} differs from that of the first environment")


def describe(space, role):
    def refuse():
        kind, text = type(space).__name__, str(space)[:500]
        raise Refused(reason="space", role=role, space_kind=kind, space=text)

    if isinstance(space, spaces.Box):
        low, high = bounds(space.low), bounds(space.high)
        fields = {"kind": "Box", "shape": list(space.shape), "low": low, "high": high}
    elif isinstance(space, spaces.Discrete):
        fields = {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    elif isinstance(space, spaces.MultiDiscrete):
        start = getattr(space, "start", np.zeros_like(space.nvec))
        fields = {
            "kind": "MultiDiscrete",
            "shape": list(space.shape),
            "nvec": space.nvec.reshape(-1).tolist(),
            "start": np.asarray(start).reshape(-1).tolist(),
        }
    elif isinstance(space, spaces.MultiBinary):
        fields = {"kind": "MultiBinary", "shape": list(space.shape)}
    elif isinstance(space, spaces.Dict):
        if not all(isinstance(key, str) for key in space.spaces):
            refuse()
        parts = [[key, describe(part, role)] for key, part in space.spaces.items()]
        return {"kind": "Dict", "parts": parts}
    elif isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "parts": [describe(part, role) for part in space.spaces]}
    else:
        refuse()
    fields["dtype"] = np.dtype(space.dtype).name
    return fields
