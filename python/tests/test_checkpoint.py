"""Reading checkpoints and metrics."""

import pickle

import numpy as np
import pytest
from conftest import small

import rekindle


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    training = small(runs=tmp_path_factory.mktemp("runs"), steps=512)
    training.run()
    return training


def test_a_checkpoint_is_data_arrays_and_components(run):
    checkpoint = rekindle.Checkpoint.read(run.run_folder)
    assert checkpoint.path.name == "latest"
    assert checkpoint.data["algorithm"] == "PPO"
    assert checkpoint.data["iteration"] == 2
    assert checkpoint.metadata["library_version"] == rekindle.__version__
    assert {"learner", "env_runners"} <= set(checkpoint)
    assert checkpoint.components == list(checkpoint)
    assert "learner/rl_module" in checkpoint
    assert "learner/nothing" not in checkpoint
    policy = checkpoint["learner"]["rl_module"]["default_policy"]
    arrays = policy.arrays
    assert arrays
    assert arrays.keys() == checkpoint["learner/rl_module/default_policy"].arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name
        array += 1  # The arrays are copies.
    again = checkpoint["learner/rl_module/default_policy"].arrays
    assert all(not np.array_equal(arrays[name], array) for name, array in again.items())
    shapes = sorted(array.shape for array in arrays.values() if array.ndim == 2)
    assert (16, 4) in shapes


def test_the_arrays_are_those_of_the_safetensors_file(run):
    component = "learner/rl_module/default_policy"
    folder = rekindle.Checkpoint.read(run.run_folder).path / component
    alone = rekindle.Checkpoint.read(folder).arrays
    whole = rekindle.Checkpoint.read(run.run_folder)[component].arrays
    assert all(np.array_equal(alone[name], array) for name, array in whole.items())
    content = (folder / "tensors.safetensors").read_bytes()
    assert all(array.tobytes() in content for array in alone.values())


def test_what_is_missing_or_damaged_is_named(run, tmp_path):
    with pytest.raises(rekindle.CheckpointError, match="nowhere"):
        rekindle.Checkpoint.read(tmp_path / "nowhere")
    checkpoint = rekindle.Checkpoint.read(run.run_folder)
    with pytest.raises(KeyError, match="no component `nothing`"):
        checkpoint["nothing"]
    with pytest.raises(TypeError, match=r"Checkpoint\.read"):
        pickle.dumps(checkpoint)
    path = run.save(tmp_path / "checkpoint")
    file = path / "learner/rl_module/default_policy/tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(rekindle.CheckpointError, match=r"tensors\.safetensors"):
        rekindle.Checkpoint.read(path)


def test_metrics_are_a_list_of_dicts(run, tmp_path):
    metrics = rekindle.read_metrics(run.run_folder)
    assert [result["training_iteration"] for result in metrics] == [1, 2]
    assert metrics[-1] == pytest.approx(run.result, nan_ok=True)
    with pytest.raises(rekindle.RekindleError, match=r"metrics\.jsonl"):
        rekindle.read_metrics(tmp_path)


def test_replay_buffers_are_components(tmp_path):
    settings = {
        "model_config": {"fcnet_hiddens": [8]},
        "training.num_steps_sampled_before_learning_starts": 10,
    }
    training = small("DQN", settings=settings)
    next(training)
    checkpoint = rekindle.Checkpoint.read(training.save(tmp_path / "dqn"))

    def names(part, path=""):
        for name in part:
            yield f"{path}{name}"
            yield from names(part[name], f"{path}{name}/")

    found = [name for name in names(checkpoint) if name.startswith("execution_plan")]
    assert any(checkpoint[name].arrays for name in found)
