"""Steps Gymnasium environments in a process of their own, for the Rust crate `rekindle-gymnasium`.

The parent sends JSON lines on standard input: what to make, then where the shared memory is. After
that, the two programs hand a mapped file to each other: the parent raises the request counter, this
program works on the columns in the file and raises the reply counter, and each sleeps on the other's
counter with a futex. JSON lines on the former standard output report errors and the names of infos.
Whatever environments print goes to standard error.

Needs gymnasium and numpy, nothing else.
"""

import ctypes
import difflib
import faulthandler
import importlib
import json
import mmap
import os
import signal
import sys
import threading
import traceback

# The environments must not write among the messages.
MESSAGES = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

LIBC = ctypes.CDLL(None, use_errno=True)
FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
FUTEX_WAIT, FUTEX_WAKE, PR_SET_PDEATHSIG = 0, 1, 1

# Words of the header, as in `layout.rs`.
MAGIC, VERSION = 0x72674D59, 1
COMMAND, FAILED, SENT, CAST = 4, 5, 6, 7
REQUEST, REPLY = 16, 32
STEP, RESET, RESET_WITH_OPTIONS, CLOSE = 1, 2, 3, 4
# Outcomes of an environment.
DONE, STEP_FAILED, RESET_FAILED, NOT_STEPPED = 0, 1, 2, 3

OLDEST_GYMNASIUM = (1, 0)
# Packages that register the ids of a namespace when they are imported.
PROVIDERS = {"ALE": "ale_py"}


class Refused(Exception):
    """A reason not to start, as fields of a message."""

    def __init__(self, **fields):
        super().__init__(fields)
        self.fields = fields


def send(**message):
    MESSAGES.write(json.dumps(message).encode() + b"\n")
    MESSAGES.flush()


def receive():
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)
    return json.loads(line)


def describe_error(error):
    """The fields of a message about an exception, without the frames of this file."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename == "rekindle_worker.py":
        frame = frame.tb_next
    lines = [line.rstrip() for line in traceback.format_tb(frame)[-3:]]
    return {
        "error": type(error).__name__,
        "message": str(error)[:2000],
        "traceback": "\n".join(lines)[-4000:],
    }


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
    if source["kind"] == "python":
        make = find(source["path"])
        return lambda first: make(**kwargs)

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
        self.env = env
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
        self.last.update(observations)
        reported = {}
        for name, key in self.keys.items():
            flags = (name in observations, terminated.get(name, 0), truncated.get(name, 0))
            status = np.array([*flags, 0], np.int64)
            status[3] = np.float64(rewards.get(name, 0)).view(np.int64)
            reported[key] = {"observation": self.last[name], "status": status}
        return reported

    def close(self):
        self.env.close()


class ParallelAgents(Agents):
    """Agents that act at the same time."""

    def reset(self, *, seed=None, options=None):
        observations, _ = self.env.reset(seed=seed, options=options)
        return self.report(observations, {}, {}, {}), {}

    def step(self, action):
        parts = ((name, action[key]) for name, key in self.keys.items())
        actions = {name: part["action"] for name, part in parts if part["acts"]}
        observations, rewards, terminated, truncated, _ = self.env.step(actions)
        reported = self.report(observations, rewards, terminated, truncated)
        return reported, 0.0, not self.env.agents, False, {}


class TurnAgents(Agents):
    """Agents that act in turns."""

    def reset(self, *, seed=None, options=None):
        self.env.reset(seed=seed, options=options)
        return self.next_turn(), {}

    def step(self, action):
        self.env.step(action[self.keys[self.env.agent_selection]]["action"])
        return self.next_turn(), 0.0, not self.env.agents, False, {}

    def next_turn(self):
        """Lets agents that are done leave, up to the one that acts next."""
        observations, rewards, terminated, truncated = {}, {}, {}, {}
        while self.env.agents:
            name = self.env.agent_selection
            observations[name], reward, terminated[name], truncated[name], _ = self.env.last()
            rewards[name] = rewards.get(name, 0) + reward
            if not (terminated[name] or truncated[name]):
                break
            self.env.step(None)
        return self.report(observations, rewards, terminated, truncated)


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


# ---- spaces ----


def bounds(array):
    """The bounds of a box, or the single one that all elements share."""
    flat = np.asarray(array).reshape(-1)
    if flat.dtype == bool:
        flat = flat.astype(np.uint8)
    if flat.size and (flat == flat[0]).all():
        flat = flat[:1]
    return [number if np.isfinite(number) else str(number) for number in flat.tolist()]


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


# ---- columns ----


class Leaf:
    """A column of one leaf of a space, `[num_envs, ...shape]`, in the shared memory."""

    def __init__(self, memory, num_envs, fields):
        self.path, self.shape = fields["path"], tuple(fields["shape"])
        self.dtype = np.dtype(fields["dtype"])
        shape = (num_envs,) + self.shape
        self.column = np.ndarray(shape, self.dtype, memory, fields["offset"])


class InfoTable:
    """The infos of each environment: one number per name, NaN for a missing one."""

    def __init__(self, memory, num_envs, width, start):
        self.numbers = np.ndarray((num_envs, width), np.float64, memory, start)
        # Assigning to a view is faster than assigning to an element of an array.
        self.view = memoryview(memory)[start : start + 8 * num_envs * width].cast("d")
        self.written = [False] * num_envs


class Worker:
    def __init__(self, setup, make, memory, layout):
        self.setup, self.make, self.memory = setup, make, memory
        n = self.n = setup["num_envs"]
        self.autoreset, self.strict = setup["autoreset"], setup["strict"]
        self.envs, self.steps, self.live = [None] * n, [None] * n, [False] * n
        # After a failure, an environment may be in any condition: its next reset makes a new one.
        self.broken = [False] * n
        self.words = (ctypes.c_uint32 * 64).from_buffer(memory)
        self.request = ctypes.c_uint32.from_buffer(memory, 4 * REQUEST)
        self.reply = ctypes.c_uint32.from_buffer(memory, 4 * REPLY)
        self.barrier = threading.Lock()
        leaves = {
            part: [Leaf(memory, n, fields) for fields in layout[part]]
            for part in ("actions", "observations", "final_observations")
        }
        self.actions = leaves["actions"]
        self.write_observation = self.writer(leaves["observations"])
        self.write_final_observation = self.writer(leaves["final_observations"])

        def view(name, width, format):
            start = layout[name]
            return memoryview(memory)[start : start + n * width].cast(format)

        self.rewards = view("rewards", 8, "d")
        self.terminated, self.truncated = view("terminated", 1, "B"), view("truncated", 1, "B")
        self.outcomes = view("outcomes", 1, "B")
        self.resets, self.seeds = view("resets", 1, "B"), view("seeds", 8, "Q")
        self.max_infos, self.info_names = layout["max_infos"], {}
        self.infos = InfoTable(memory, n, self.max_infos, layout["infos"])
        self.final_infos = InfoTable(memory, n, self.max_infos, layout["final_infos"])

    # ---- actions and observations ----

    def read_actions(self):
        """One action for each environment. Environments may keep them: they are copies."""
        columns = [leaf.column.copy() for leaf in self.actions]
        if len(self.actions) == 1 and not self.actions[0].path:
            return columns[0]
        return [self.build(self.action_space, iter(columns), i) for i in range(self.n)]

    def build(self, space, columns, i):
        if isinstance(space, spaces.Dict):
            return {key: self.build(part, columns, i) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(self.build(part, columns, i) for part in space.spaces)
        return next(columns)[i]

    def writer(self, leaves):
        """A function that writes the observation of environment `i`."""
        if len(leaves) == 1 and not leaves[0].path:
            return self.leaf_writer(leaves[0])
        writers = [(leaf.path, self.leaf_writer(leaf)) for leaf in leaves]

        def write(i, observation):
            for path, write_leaf in writers:
                part = observation
                for key in path:
                    part = part[key]
                write_leaf(i, part)

        return write

    def leaf_writer(self, leaf):
        column, shape, dtype = leaf.column, leaf.shape, leaf.dtype
        ndarray, conform = np.ndarray, self.conform

        def write(i, value):
            # The plain case costs little: built-in dtypes are unique objects.
            if type(value) is not ndarray or value.dtype is not dtype or value.shape != shape:
                value = conform(value, leaf)
            column[i] = value

        return write

    def conform(self, value, leaf):
        """The value as an array of the shape of its leaf. Assignments would broadcast others."""
        array = np.asarray(value)
        if array.shape != leaf.shape:
            name = "observation" + "".join(f"[{key!r}]" for key in leaf.path)
            problem = f"{name} has the shape {array.shape}, but its space has {leaf.shape}"
            raise ValueError(problem)
        # Numbers and lists of Python have no element type, unless something would be lost.
        is_typed = isinstance(value, (np.ndarray, np.generic))
        if array.dtype != leaf.dtype and (
            is_typed or not np.can_cast(array.dtype, leaf.dtype, "same_kind")
        ):
            if self.strict:
                raise TypeError(f"observation of {array.dtype}, but its space has {leaf.dtype}")
            self.words[CAST] = (self.words[CAST] + 1) & 0xFFFFFFFF
        return array

    # ---- infos ----

    def write_info(self, table, i, info):
        if table.written[i]:
            table.numbers[i, : len(self.info_names)] = np.nan
            table.written[i] = False
        if info:
            table.written[i] = True
            self.write_numbers(table.view, i * self.max_infos, info, "")

    def write_numbers(self, view, row, info, prefix):
        for key, value in info.items():
            if not isinstance(value, (float, int, np.integer, np.floating, np.bool_)):
                if isinstance(value, dict):
                    self.write_numbers(view, row, value, f"{prefix}{key}.")
                if getattr(value, "shape", None) != () or value.dtype.kind not in "fiub":
                    continue
            name = f"{prefix}{key}" if prefix else key
            index = self.info_names.get(name)
            if index is None:
                index = self.add_info(name)
            if index < self.max_infos:
                view[row + index] = value

    def add_info(self, name):
        index = len(self.info_names)
        if index < self.max_infos:
            for table in (self.infos, self.final_infos):
                table.numbers[:, index] = np.nan
            self.info_names[name] = index
            self.report(kind="info", name=str(name))
        return index

    # ---- commands ----

    def report(self, **message):
        send(**message)
        self.sent += 1

    def fail(self, i, outcome, error):
        self.live[i], self.broken[i] = False, True
        self.outcomes[i] = outcome
        self.failed += 1
        self.report(kind="failed", index=i, **describe_error(error))

    def create(self, i):
        env = self.make(i == 0 and self.setup["first"] == 0)
        self.envs[i] = env = wrap(env, self.setup["wrappers"])
        self.steps[i] = env.step

    def step(self):
        actions, live, steps = self.read_actions(), self.live, self.steps
        rewards, outcomes, infos = self.rewards, self.outcomes, self.infos
        written, write_observation = infos.written, self.write_observation
        for i in range(self.n):
            if not live[i]:
                outcomes[i] = NOT_STEPPED
                continue
            try:
                observation, reward, terminated, truncated, info = steps[i](actions[i])
                done = terminated or truncated
                if done:
                    self.write_final_observation(i, observation)
                    self.write_info(self.final_infos, i, info)
                if not done or not self.autoreset:
                    write_observation(i, observation)
                    if info or written[i]:
                        self.write_info(infos, i, info)
                rewards[i] = reward
            except BaseException as error:
                self.fail(i, STEP_FAILED, error)
                continue
            outcomes[i] = DONE
            self.terminated[i] = 1 if terminated else 0
            self.truncated[i] = 1 if truncated else 0
            if done and self.autoreset:
                self.reset_env(i, None, None)

    def reset(self, options):
        for i in range(self.n):
            how = self.resets[i]
            if how:
                self.reset_env(i, self.seeds[i] if how == 2 else None, options)

    def reset_env(self, i, seed, options):
        try:
            if self.broken[i]:
                self.close_env(i)
            if self.envs[i] is None:
                self.create(i)
            self.broken[i] = False
            observation, info = self.envs[i].reset(seed=seed, options=options)
            self.write_observation(i, observation)
            self.write_info(self.infos, i, info)
        except BaseException as error:
            self.fail(i, RESET_FAILED, error)
        else:
            self.live[i] = True
            self.outcomes[i] = DONE

    def close_env(self, i):
        env, self.envs[i] = self.envs[i], None
        try:
            if env is not None:
                env.close()
        except BaseException as error:
            print("closing an environment failed:", error, file=sys.stderr)

    def run(self, parent):
        syscall, number = LIBC.syscall, FUTEX[os.uname().machine]
        request, words, seen = self.request, self.words, 0
        timeout = (ctypes.c_long * 2)(5, 0)
        while True:
            while request.value == seen:
                syscall(number, ctypes.byref(request), FUTEX_WAIT, seen, timeout, None, 0)
                if os.getppid() != parent:
                    os._exit(0)
            # Orders the accesses to the columns after the counter, and below before it.
            with self.barrier:
                seen = request.value
            self.sent = self.failed = 0
            command = words[COMMAND]
            if command == STEP:
                self.step()
            elif command == RESET:
                self.reset(None)
            elif command == RESET_WITH_OPTIONS:
                self.reset(receive())
            elif command == CLOSE:
                for i in range(self.n):
                    self.close_env(i)
            words[SENT], words[FAILED] = self.sent, self.failed
            with self.barrier:
                self.reply.value = seen
            syscall(number, ctypes.byref(self.reply), FUTEX_WAKE, 1, None, None, 0)
            if command == CLOSE:
                return


def start():
    setup = receive()
    parent = setup["parent"]
    # The system ends this program with its parent, even if an environment hangs.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    # An interrupt from the keyboard is for the parent, which stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    sys.path[:0] = setup["python_path"]
    try:
        import_gymnasium()
        make = constructor(setup)
        env = wrap(make(setup["first"] == 0), setup["wrappers"])
        observations = describe(env.observation_space, "observation")
        actions = describe(env.action_space, "action")
    except Refused as refused:
        send(kind="refused", **refused.fields)
        return
    except BaseException as error:
        send(kind="refused", reason="raised", **describe_error(error))
        return
    send(kind="ready", observation_space=observations, action_space=actions)
    mapping = receive()
    with open(mapping["path"], "r+b") as file:
        memory = mmap.mmap(file.fileno(), mapping["size"])
    words = (ctypes.c_uint32 * 4).from_buffer(memory)
    if list(words) != [MAGIC, VERSION, mapping["layout"]["checksum"], setup["num_envs"]]:
        send(kind="refused", reason="memory")
        return
    worker = Worker(setup, make, memory, mapping["layout"])
    worker.action_space = env.action_space
    worker.envs[0], worker.steps[0] = env, env.step
    send(kind="mapped")
    worker.run(parent)


start()
