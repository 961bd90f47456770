"""Acting: shapes, types, states, masks, threads, and mistakes."""

import copy
import pickle
import threading
import time

import numpy as np
import pytest
from conftest import SMALL, small

import rekindle

ROWS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def test_one_observation_has_one_action_and_a_batch_has_several(policy):
    actions = policy.act(ROWS)
    assert (actions.shape, actions.dtype) == ((7,), np.int64)
    one = policy.act(ROWS[2])
    assert isinstance(one, np.int64)
    assert one == actions[2]
    assert policy.act(ROWS[:0]).shape == (0,)
    assert policy.observation_space.startswith("Box(")
    assert policy.action_space == "Discrete(2)"


def test_a_saved_bundle_repeats_the_actions_bit_for_bit(policy, tmp_path):
    policy.save(tmp_path / "policy")
    loaded = rekindle.PolicyBundle.load(tmp_path / "policy")
    assert np.array_equal(loaded.act(ROWS), policy.act(ROWS))
    policy.set_seed(3)
    loaded.set_seed(3)
    for _ in range(5):
        sampled = policy.act(ROWS, deterministic=False)
        assert np.array_equal(loaded.act(ROWS, deterministic=False), sampled)
        logp = policy.action_logp
        assert np.array_equal(loaded.action_logp, logp)
        assert np.array_equal(loaded.log_likelihoods(ROWS, sampled), logp)
    assert policy.to_onnx(tmp_path / "policy.onnx") == (tmp_path / "policy.onnx").read_bytes()


def test_continuous_actions_equal_those_of_the_program_in_rust_bit_for_bit(tmp_path, act_in_rust):
    policy = small("SAC", "Pendulum-v1", settings={}).policy_bundle()
    policy.save(tmp_path / "policy")
    rows = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    rows.tofile(tmp_path / "observations.f32")
    act_in_rust(tmp_path / "policy", tmp_path / "observations.f32", tmp_path / "actions.f32")
    expected = np.fromfile(tmp_path / "actions.f32", np.float32).reshape(5, 1)
    actions = policy.act(rows)
    assert actions.dtype == np.float32
    assert actions.tobytes() == expected.tobytes()
    assert np.abs(expected).max() <= 2


def test_other_types_and_orders_are_converted(policy):
    expected = policy.act(ROWS)
    for rows in (
        ROWS.astype(np.float64),
        np.asfortranarray(ROWS),
        np.repeat(ROWS, 2, axis=0)[::2],
        ROWS.astype(">f4"),
        ROWS.tolist(),
    ):
        assert np.array_equal(policy.act(rows), expected)
    read_only = ROWS.copy()
    read_only.flags.writeable = False
    assert np.array_equal(policy.act(read_only), expected)
    assert policy.act(np.zeros(4, int)) in (0, 1)


@pytest.mark.parametrize(
    ("observations", "part"),
    [
        (np.zeros(3, np.float32), r"must have the shape \[4\], or \[rows, 4\] for a batch; it has \[3\]"),
        (np.zeros((2, 3, 4), np.float32), r"it has \[2, 3, 4\]"),
        (np.zeros(4, complex), "must be an array of numbers, not of complex128"),
        (np.array(["a"] * 4), "not of <U1"),
        ({"a": np.zeros(4)}, "it has"),
        (None, "it has"),
    ],
)
def test_wrong_observations_are_refused(policy, observations, part):
    with pytest.raises(rekindle.InputError, match=part):
        policy.act(observations)
    assert issubclass(rekindle.InputError, ValueError)


def test_dicts_and_tuples(tmp_path):
    training = small(environment="NestedCartPole-v1")
    next(training)
    policy = training.policy_bundle()
    space = policy.config["observation_space"]
    observation = zeros(space)
    action = policy.act(observation)
    batch = policy.act(stacked([observation] * 3))
    assert same(action, first(batch))
    with pytest.raises(rekindle.InputError, match="must be a (dict|tuple)"):
        policy.act(np.zeros(4, np.float32))
    if isinstance(observation, dict):
        name = next(iter(observation))
        with pytest.raises(rekindle.InputError, match=f"has no `{name}`"):
            policy.act({key: part for key, part in observation.items() if key != name})
        with pytest.raises(rekindle.InputError, match="has an unknown part extra"):
            policy.act({**observation, "extra": 0})


def zeros(space):
    """An element of a space, described by the settings of a bundle."""
    ((kind, fields),) = space.items()
    if kind == "Dict":
        return {name: zeros(part) for name, part in fields.items()}
    if kind == "Tuple":
        return tuple(zeros(part) for part in fields)
    if kind == "Discrete":
        return fields.get("start", 0)
    if kind == "MultiDiscrete":
        return np.zeros(len(fields["nvec"]), np.int64)
    if kind == "MultiBinary":
        return np.zeros(fields["n"], np.int8)
    return np.zeros(fields["shape"], np.float32)


def stacked(elements):
    if isinstance(elements[0], dict):
        return {name: stacked([element[name] for element in elements]) for name in elements[0]}
    if isinstance(elements[0], tuple):
        return tuple(stacked(list(parts)) for parts in zip(*elements, strict=True))
    return np.stack(elements)


def first(batch):
    if isinstance(batch, dict):
        return {name: first(part) for name, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(first(part) for part in batch)
    return batch[0]


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple):
        return all(same(*parts) for parts in zip(one, other, strict=True))
    return np.array_equal(one, other)


def test_a_policy_with_memory_follows_the_episode_of_each_row():
    settings = {
        **SMALL,
        "model_config": {"use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 8},
    }
    policy = small(environment="StatelessCartPole-v1", settings=settings).policy_bundle()
    policy.set_seed(0)
    rows = np.random.default_rng(0).normal(size=(6, 3, 2)).astype(np.float32)

    def logps(starts):
        copy_of_policy = policy.clone()
        found = []
        for observations, start in zip(rows, starts, strict=True):
            copy_of_policy.act(observations, deterministic=False, episode_start=start)
            found.append(copy_of_policy.log_likelihoods(observations, np.zeros(3, int)))
        return np.array(found)

    one_episode = logps([None] * 6)
    cut = [None, None, [False, True, False], None, None, None]
    two_in_the_middle = logps(cut)
    assert np.array_equal(one_episode[:, [0, 2]], two_in_the_middle[:, [0, 2]])
    assert not np.array_equal(one_episode[3:, 1], two_in_the_middle[3:, 1])
    # A new episode of a row equals one that starts with a new policy.
    late = policy.clone()
    late.act(rows[2], deterministic=False)
    late.act(rows[3], deterministic=False)
    assert late.log_likelihoods(rows[3], np.zeros(3, int))[1] == two_in_the_middle[3, 1]
    with pytest.raises(rekindle.InputError, match="must have 3 flags, one per row, not 2"):
        policy.act(rows[0], episode_start=[True, False])
    policy.reset()
    policy.reset([0])


def test_masked_actions_are_never_taken():
    settings = {"environment": {"env_config": {"num_workers": 1}}}
    policy = small("DQN", "python:masked:Masked", settings=settings).policy_bundle()
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (64, 4)).astype(np.int8)
    masks[np.arange(64), rng.integers(0, 4, 64)] = 1
    observations = {"action_mask": masks, "observations": rng.normal(size=(64, 3))}
    for deterministic in (True, False):
        actions = policy.act(observations, deterministic=deterministic)
        assert masks[np.arange(64), actions].all()
    masks[5] = 0
    with pytest.raises(rekindle.RekindleError, match="masked"):
        policy.act(observations)
    observations["action_mask"] = np.full((64, 4), 300)
    with pytest.raises(rekindle.InputError, match="from 0 to 255, and has 300"):
        policy.act(observations)


def test_several_threads_share_a_bundle(policy):
    expected = policy.act(ROWS)
    wrong = []

    def work():
        for _ in range(200):
            if not np.array_equal(policy.act(ROWS), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_copies_act_alone_and_nothing_is_pickled(policy):
    for other in (copy.copy(policy), copy.deepcopy(policy), policy.clone()):
        assert np.array_equal(other.act(ROWS), policy.act(ROWS))
    with pytest.raises(TypeError, match=r"PolicyBundle\.load"):
        pickle.dumps(policy)


def test_a_missing_or_other_directory_is_refused(trained, tmp_path):
    with pytest.raises(rekindle.CheckpointError, match="nowhere"):
        rekindle.PolicyBundle.load(tmp_path / "nowhere")
    path = trained[0].save(tmp_path / "algorithm")
    with pytest.raises(rekindle.CheckpointError, match="not the checkpoint of a policy bundle"):
        rekindle.PolicyBundle.load(path)
    with pytest.raises(rekindle.DeviceError):
        rekindle.PolicyBundle.load(path, device="gpu")


def test_one_observation_costs_at_most_30_microseconds_more_than_in_rust(
    policy, tmp_path, act_in_rust
):
    policy.save(tmp_path / "policy")
    observation = np.zeros(4, np.float32)
    for _ in range(1000):
        policy.act(observation)
    times = []
    for _ in range(10_000):
        start = time.perf_counter_ns()
        policy.act(observation)
        times.append(time.perf_counter_ns() - start)
    ours = sorted(times)[len(times) // 2] / 1000
    rust = int(act_in_rust(tmp_path / "policy")) / 1000
    print(f"\nact on one observation: {ours:.1f} µs from Python, {rust:.1f} µs in Rust")
    assert ours - rust <= 30
