"""Vectors of Python that step all environments of a worker at once. A part of the program of a worker."""


def make_native(setup, make):
    """A vector of environments, if its episodes can end within a step."""
    env = make(True)
    for wrapper in setup["wrappers"]:
        from gymnasium.wrappers import vector as module

        name = wrapper["name"]
        wrap_vector = find(name) if ":" in name else getattr(module, name, None)
        if wrap_vector is None:
            close = difflib.get_close_matches(name, dir(module), 5, 0.6)
            raise Refused(reason="unknown_wrapper", name=name, close=close)
        env = wrap_vector(env, **wrapper["kwargs"])
    if not hasattr(env, "single_observation_space"):
        # EnvPool calls the spaces of one environment so.
        if not hasattr(env, "async_reset"):
            raise Refused(reason="no_callable", message=f"{type(env).__name__} is no vector")
        env.single_observation_space = env.observation_space
        env.single_action_space = env.action_space
    if resets_of(env) is None:
        raise Refused(
            reason="no_callable",
            message="its vector resets environments in the step after an episode; set "
            "`autoreset_mode` to SameStep or Disabled, if it has this option",
        )
    return env


def resets_of(env):
    """How environments of a vector begin episodes: in the same step, by a mask or by their indices."""
    mode = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
    name = getattr(mode, "value", mode)
    if name in ("SameStep", "Disabled"):
        return name
    # EnvPool resets environments by their indices, too.
    return "Indices" if hasattr(env, "async_reset") else None


class NativeVector(Worker):
    """A worker whose environments are one vector."""

    def begin_with(self, env):
        self.vector, self.resets_by, self.has_warned = env, resets_of(env), False

    def close(self):
        self.close_env(0)

    def close_env(self, i):
        vector, self.vector = self.vector, None
        self.envs[0] = vector
        super().close_env(0)

    def fail_all(self, outcome, error, concerned):
        """All environments fail, and the next reset makes another vector."""
        for i in range(self.n):
            if concerned[i]:
                self.fail(i, outcome, error)
        self.live = [False] * self.n
        self.close_env(0)

    def row(self, space, batch, i):
        if isinstance(space, spaces.Dict):
            return {key: self.row(part, batch[key], i) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(self.row(part, batch[k], i) for k, part in enumerate(space.spaces))
        return batch[i]

    def joined_actions(self):
        """The actions of all environments, as the vector takes them."""

        def build(space):
            if isinstance(space, spaces.Dict):
                return {key: build(part) for key, part in space.spaces.items()}
            if isinstance(space, spaces.Tuple):
                return tuple(build(part) for part in space.spaces)
            return next(columns)

        columns = iter([leaf.column.copy() for leaf in self.actions])
        return build(self.action_space)

    def write_infos(self, table, infos, rows):
        """Writes the numbers of arrays with one element for each environment."""
        for i in rows:
            if table.written[i]:
                table.numbers[i, : len(self.info_names)] = np.nan
        for key, values in infos.items():
            if isinstance(values, dict):
                values = {f"{key}.{name}": part for name, part in values.items()}
                self.write_infos_of(table, values, rows)
            else:
                self.write_infos_of(table, {key: values, f"_{key}": infos.get(f"_{key}")}, rows)

    def write_infos_of(self, table, infos, rows):
        for key, values in infos.items():
            prefix, _, name = str(key).rpartition(".")
            if name.startswith("_") or not isinstance(values, np.ndarray):
                continue
            if values.shape != (self.n,) or values.dtype.kind not in "fiub":
                continue
            index = self.info_names.get(key)
            index = self.add_info(key) if index is None else index
            if index < self.max_infos:
                there = infos.get(f"{prefix}._{name}" if prefix else f"_{name}")
                there = np.ones(self.n, bool) if there is None else there
                for i in rows:
                    if there[i]:
                        table.written[i] = True
                        table.numbers[i, index] = values[i]

    def step(self):
        n = self.n
        if self.vector is None or not all(self.live):
            # The vector steps all environments or none: those that run wait with the others.
            error = RuntimeError("an environment of the native vector has no episode")
            return self.fail_all(STEP_FAILED, error, [True] * n)
        space = self.vector.single_observation_space
        try:
            result = self.vector.step(self.joined_actions())
            end_copy()
            try:
                observations, rewards, terminated, truncated, infos = result
            except (TypeError, ValueError):
                raise step_problem(result) from None
            terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
            done = np.flatnonzero(terminated | truncated)
            infos = dict(infos)
            final_infos = infos.pop("final_info", None)
            finals = infos.pop("final_obs", None)
            self.write_infos(self.infos, infos, range(n))
            lasts = {}
            for i in done:
                is_single = isinstance(finals, np.ndarray) and finals.dtype == object
                last = finals[i] if is_single else None
                if last is None:
                    last = self.row(space, observations if finals is None else finals, i)
                lasts[i] = last
                self.write_final_observation(i, last)
                if self.kept_frames[i]:
                    self.final_frames[i] = None
            self.write_all(observations, space, range(n))
            if len(done):
                self.write_infos(self.final_infos, final_infos or infos, done)
                if not self.autoreset:
                    for i, last in lasts.items():
                        self.write_observation(i, last)
                elif self.resets_by != "SameStep":
                    self.begin_episodes(done, None, None)
        except BaseException as error:
            return self.fail_all(STEP_FAILED, error, [True] * n)
        for i in range(n):
            self.rewards[i] = rewards[i]
            self.terminated[i], self.truncated[i] = int(terminated[i]), int(truncated[i])
            self.outcomes[i] = DONE

    def write_all(self, observations, space, rows):
        for i in rows:
            self.write_observation(i, self.row(space, observations, i))

    def begin_episodes(self, rows, seeds, options):
        """Resets some environments of the vector, and writes their first observations."""
        space = self.vector.single_observation_space
        if len(rows) == self.n:
            observations, infos = self.vector.reset(**self.reset_arguments(seeds, options))
            self.write_all(observations, space, rows)
        elif self.resets_by == "Indices":
            observations, infos = self.vector.reset(np.asarray(rows, np.int32))
            for at, i in enumerate(rows):
                self.write_observation(i, self.row(space, observations, at))
            infos = {}
        else:
            mask = np.zeros(self.n, bool)
            mask[list(rows)] = True
            arguments = self.reset_arguments(seeds, {**(options or {}), "reset_mask": mask})
            observations, infos = self.vector.reset(**arguments)
            self.write_all(observations, space, rows)
        self.write_infos(self.infos, infos, rows)

    def reset_arguments(self, seeds, options):
        if self.resets_by == "Indices":
            if seeds is not None and "seed" not in self.setup["kwargs"] and not self.has_warned:
                self.has_warned = True
                hint = "no seeds are passed to resets; set the keyword argument `seed`"
                print(f"{self.setup['source'].get('path')}: {hint}", file=sys.stderr)
            return {}
        if seeds is None or None in seeds:
            return {"seed": None, "options": options}
        if seeds == list(range(seeds[0], seeds[0] + self.n)):
            seeds = seeds[0]
        elif hasattr(self.vector, "ale"):
            # ALE takes arrays instead of lists, and its seeds are short.
            seeds = np.array([seed % 2**31 for seed in seeds])
        return {"seed": seeds, "options": options}

    def reset(self, options):
        how, n = list(self.resets), self.n
        rows = [i for i in range(n) if how[i]]
        seeds = [int(self.seeds[i]) if how[i] == 2 else None for i in range(n)]
        try:
            if self.vector is None:
                vector = make_native(self.setup, self.make)
                spaces_of_one = vector.single_observation_space, vector.single_action_space
                check_same_spaces(*spaces_of_one, self.described)
                self.begin_with(vector)
            if len(rows) < n and not any(self.live):
                # The vector is new: it begins with all environments.
                self.vector.reset(**self.reset_arguments(None, options))
            self.begin_episodes(rows, seeds if len(rows) == n else None, options)
        except BaseException as error:
            return self.fail_all(RESET_FAILED, error, [bool(way) for way in how])
        for i in rows:
            self.live[i], self.outcomes[i] = True, DONE

    def draw(self, i):
        try:
            frames = self.vector.render()
            if frames is None:
                picture(None)
            return picture(frames[i]), frequency(self.vector)
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:2000]
