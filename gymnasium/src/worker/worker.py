"""Steps Gymnasium environments in a process of their own, for the Rust crate `rekindle-gymnasium`.

The parent sends JSON lines in REQUESTS: what to make, then where the shared memory is. After
that, the two programs hand the memory to each other: the parent raises the request counter, this
program works on the columns in the memory and raises the reply counter, and each sleeps on the other's
counter with a futex. With pipes, a line follows each counter instead. JSON lines on the former standard
output report errors and the names of infos. Whatever environments print goes to standard error.

Needs gymnasium and numpy, nothing else.
"""

import ctypes
import faulthandler
import json
import mmap
import os
import signal
import sys
import threading
import time
import traceback

# The environments must not read the requests, nor write among the messages.
MESSAGES = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
with open(os.devnull, "rb") as nothing:
    os.dup2(nothing.fileno(), 0)

LIBC = ctypes.CDLL(None, use_errno=True)
FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
FUTEX_WAIT, FUTEX_WAKE, PR_SET_PDEATHSIG = 0, 1, 1
IS_LINUX = sys.platform == "linux"

# Words of the header, as in `layout.rs`.
MAGIC, VERSION = 0x72674D59, 2
COMMAND, FAILED, SENT, CAST, RENDERED = 4, 5, 6, 7, 8
REQUEST, REPLY = 16, 32
STEP, RESET, RESET_WITH_OPTIONS, CLOSE, RENDER, RENDER_FINAL = 1, 2, 3, 4, 5, 6
# Outcomes of an environment.
DONE, STEP_FAILED, RESET_FAILED, NOT_STEPPED = 0, 1, 2, 3


# Whether this is a copy of the worker, made by an environment that called `os.fork`.
IS_COPY = False


def become_copy():
    global IS_COPY
    IS_COPY = True


os.register_at_fork(after_in_child=become_copy)


def end_copy():
    """Ends a copy of the worker that has returned from its environment: the worker itself goes on."""
    if IS_COPY:
        os._exit(0)


def send(**message):
    # Text of environments may hold characters that UTF-8 does not have.
    line = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    MESSAGES.write(line + b"\n")
    MESSAGES.flush()


def receive():
    line = REQUESTS.readline()
    if not line:
        os._exit(0)
    return json.loads(line)


def describe_error(error):
    """The fields of a message about an exception, without the frames of this file."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename == "rekindle_worker.py":
        frame = frame.tb_next
    lines = [line.rstrip() for line in traceback.format_tb(frame)[-3:]]
    try:
        message = str(error)
    except Exception:
        message = "an exception that has no text"
    return {
        "error": type(error).__name__,
        "message": message[:2000],
        "traceback": "\n".join(lines)[-4000:],
    }


# ---- pictures ----


def picture(frame):
    """The picture as rows of red, green and blue bytes."""
    if isinstance(frame, list) and frame:
        frame = frame[-1]
    if frame is None:
        raise ValueError('render() returned None; set the option `render_mode` to "rgb_array"')
    array = np.asarray(frame)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4):
        found = f"an array of {array.dtype} of the shape {array.shape}"
        raise ValueError(f"render() returned {found}, expected uint8 of [height, width, 3]")
    return np.ascontiguousarray(array[:, :, :3])


def frequency(env):
    """Pictures per second of a video in real time."""
    fps = (getattr(env, "metadata", None) or {}).get("render_fps")
    is_number = isinstance(fps, (int, float, np.integer, np.floating))
    return float(fps) if is_number and 0 < fps < 1e6 else 30.0


# ---- results of environments ----


def name_of(value):
    return type(value).__name__


def step_problem(result):
    """Why the result of a step cannot be unpacked."""
    if not isinstance(result, (tuple, list)):
        found = f"a {name_of(result)}"
    else:
        found = f"{len(result)} values"
        if len(result) == 4:
            found += ", as Gym did before 0.26"
    expected = "observation, reward, terminated, truncated and info"
    return TypeError(f"step() returned {found}; an environment of Gymnasium returns {expected}")


def begin_episode(env, seed, options):
    """Resets an environment, and returns the observation and the info."""
    try:
        result = env.reset(seed=seed, options=options)
    except TypeError as error:
        if "reset() got an unexpected keyword argument" not in str(error):
            raise
        hint = "reset() of Gymnasium has the keyword arguments `seed` and `options`"
        raise TypeError(f"{error}; {hint}") from None
    if not isinstance(result, (tuple, list)) or len(result) != 2 or not is_info(result[1]):
        expected = "an environment of Gymnasium returns observation and info"
        raise TypeError(f"reset() returned {name_of(result)} without an info; {expected}")
    return result


def is_info(info):
    return info is None or hasattr(info, "items")


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
        self.kept_frames, self.final_frames = view("kept_frames", 1, "B"), [None] * n
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
        if not is_info(info):
            raise TypeError(f"the info is a {name_of(info)}, expected a dict")
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
                kind = getattr(getattr(value, "dtype", None), "kind", None)
                if getattr(value, "shape", None) != () or kind not in ("f", "i", "u", "b"):
                    continue
            name = f"{prefix}{key}" if prefix else key
            index = self.info_names.get(name)
            if index is None:
                index = self.add_info(name)
            if index < self.max_infos:
                try:
                    view[row + index] = value
                except (OverflowError, ValueError):
                    # An integer of Python that no double holds.
                    view[row + index] = np.inf if value > 0 else -np.inf

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
        end_copy()
        self.live[i], self.broken[i] = False, True
        self.outcomes[i] = outcome
        self.failed += 1
        self.report(kind="failed", index=i, **describe_error(error))

    def begin_with(self, env):
        """Takes the environment whose spaces were described as the first one."""
        self.envs[0], self.steps[0] = env, env.step

    def create(self, i):
        env = self.make(i == 0 and self.setup["first"] == 0)
        env = wrap(env, self.setup["wrappers"])
        check_same_spaces(env.observation_space, env.action_space, self.described)
        self.envs[i], self.steps[i] = env, env.step

    def step(self):
        actions, live, steps = self.read_actions(), self.live, self.steps
        rewards, outcomes, infos = self.rewards, self.outcomes, self.infos
        written, write_observation = infos.written, self.write_observation
        for i in range(self.n):
            if not live[i]:
                outcomes[i] = NOT_STEPPED
                continue
            try:
                result = steps[i](actions[i])
                if IS_COPY:
                    end_copy()
                try:
                    observation, reward, terminated, truncated, info = result
                except (TypeError, ValueError):
                    raise step_problem(result) from None
                done = terminated or truncated
                if done:
                    self.write_final_observation(i, observation)
                    self.write_info(self.final_infos, i, info)
                if not done or not self.autoreset:
                    write_observation(i, observation)
                    if info or written[i]:
                        self.write_info(infos, i, info)
                try:
                    rewards[i] = reward
                except (TypeError, ValueError):
                    raise TypeError(f"the reward is {reward!r:.200}, expected a number") from None
            except BaseException as error:
                self.fail(i, STEP_FAILED, error)
                continue
            outcomes[i] = DONE
            self.terminated[i] = 1 if terminated else 0
            self.truncated[i] = 1 if truncated else 0
            if done and self.autoreset:
                if self.kept_frames[i]:
                    self.final_frames[i] = self.draw(i)
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
            observation, info = begin_episode(self.envs[i], seed, options)
            end_copy()
            self.write_observation(i, observation)
            self.write_info(self.infos, i, info)
        except BaseException as error:
            self.fail(i, RESET_FAILED, error)
        else:
            self.live[i] = True
            self.outcomes[i] = DONE

    def draw(self, i):
        """The picture of environment `i` with its frequency, or the reason why there is none."""
        try:
            return picture(self.envs[i].render()), frequency(self.envs[i])
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:2000]

    def render(self, i, is_final):
        drawn = self.final_frames[i] or "no picture of an episode's end" if is_final else self.draw(i)
        self.sent += 1
        if isinstance(drawn, str):
            send(kind="not_rendered", reason=drawn)
            return
        frame, fps = drawn
        height, width, _ = frame.shape
        send(kind="frame", height=height, width=width, fps=fps)
        MESSAGES.write(frame.tobytes())
        MESSAGES.flush()

    def close_env(self, i):
        env, self.envs[i] = self.envs[i], None
        try:
            if env is not None:
                env.close()
        except BaseException as error:
            print("closing an environment failed:", error, file=sys.stderr)

    def close(self):
        for i in range(self.n):
            self.close_env(i)

    def futexes(self, parent):
        """A function that waits for a request, and one that announces a reply."""
        syscall, number = LIBC.syscall, FUTEX[os.uname().machine]
        request, reply = self.request, self.reply
        request_at, reply_at = ctypes.byref(request), ctypes.byref(reply)
        timeout = (ctypes.c_long * 2)(5, 0)

        def wait(seen):
            while request.value == seen:
                syscall(number, request_at, FUTEX_WAIT, seen, timeout, None, 0)
                if os.getppid() != parent:
                    os._exit(0)

        return wait, lambda: syscall(number, reply_at, FUTEX_WAKE, 1, None, None, 0)

    def pipes(self):
        return lambda seen: receive(), lambda: send(kind="done")

    def run(self, parent):
        words, seen = self.words, 0
        request, reply = self.request, self.reply
        is_futex = self.setup["handover"] == "futex"
        wait, announce = self.futexes(parent) if is_futex else self.pipes()
        while True:
            wait(seen)
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
            elif command in (RENDER, RENDER_FINAL):
                self.render(words[RENDERED], command == RENDER_FINAL)
            elif command == CLOSE:
                self.close()
            words[SENT], words[FAILED] = self.sent, self.failed
            with self.barrier:
                reply.value = seen
            announce()
            if command == CLOSE:
                return
