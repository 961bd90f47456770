"""Starts a worker: the last part of its program."""


def end_with(parent):
    """Ends this program with its parent, even if an environment hangs."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(0)

    if IS_LINUX:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=watch, daemon=True).start()
    if os.getppid() != parent:
        os._exit(0)


def guard():
    """Ends the programs that environments have started with this worker, even if it is killed."""
    worker = os.getpid()
    # Programs that the environments start are in the group of the worker.
    os.setpgid(0, 0)
    if os.fork():
        os.wait()
        return
    # The guard must not be a child of the worker, whose environments may wait for their own.
    if os.fork():
        os._exit(0)
    os.closerange(0, 65536)
    try:
        import select

        poll = select.poll()
        poll.register(os.pidfd_open(worker), select.POLLIN)
        poll.poll()
    except (AttributeError, OSError):
        while runs(worker):
            time.sleep(1)
    os.killpg(worker, signal.SIGKILL)


def runs(process):
    try:
        os.kill(process, 0)
        return True
    except OSError:
        return False


def map_memory(origin, size):
    if "path" in origin:
        with open(origin["path"], "r+b") as file:
            return mmap.mmap(file.fileno(), size)
    from _posixshmem import shm_open

    file = shm_open(origin["name"], os.O_RDWR, mode=0o600)
    try:
        return mmap.mmap(file, size)
    finally:
        os.close(file)


def start():
    setup = receive()
    parent = setup["parent"]
    end_with(parent)
    guard()
    # An interrupt from the keyboard is for the parent, which stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    # Environments may change the working directory.
    sys.path[:0] = [os.path.abspath(path) for path in setup["python_path"]]
    sys.path.extend(folder for folder in setup["search_path"] if folder not in sys.path)
    try:
        import_gymnasium()
        make = constructor(setup)
        if setup["native_vector"]:
            kind, env = NativeVector, make_native(setup, make)
            seen, action = env.single_observation_space, env.single_action_space
        else:
            kind, env = Worker, wrap(checked(make(setup["first"] == 0)), setup["wrappers"])
            seen, action = env.observation_space, env.action_space
        observations, actions = describe(seen, "observation"), describe(action, "action")
    except Refused as refused:
        send(kind="refused", **refused.fields)
        return
    except BaseException as error:
        send(kind="refused", reason="raised", **describe_error(error))
        return
    send(kind="ready", observation_space=observations, action_space=actions)
    mapping = receive()
    memory = map_memory(mapping["origin"], mapping["size"])
    words = (ctypes.c_uint32 * 4).from_buffer(memory)
    if list(words) != [MAGIC, VERSION, mapping["layout"]["checksum"], setup["num_envs"]]:
        send(kind="refused", reason="memory")
        return
    worker = kind(setup, make, memory, mapping["layout"])
    worker.action_space, worker.described = action, (observations, actions)
    worker.begin_with(env)
    send(kind="mapped")
    worker.run(parent)


start()
