"""Records datasets with Minari, and prints what Minari reads of others, for the tests of `rekindle-offline`.

    datasets.py record FOLDER    writes FOLDER/{hdf5,arrow,parquet}-v0, FOLDER/{hdf5,arrow,parquet}-half-v0 of 16-bit
                                 floats, FOLDER/{jpeg,jpeg-arrow}-v0, and the compressed
                                 FOLDER/{arrow-lz4,arrow-zstd,parquet-zstd}-v0
    datasets.py print FOLDER     prints the episodes of a dataset as JSON, one per line

Needs `minari==0.5.4`, `h5py==3.16.0` and `pyarrow==26.0.1`. `offline/tests/minari` has the first six datasets.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset._storages import arrow_storage
from minari.dataset.minari_storage import MinariStorage

OBSERVATIONS = spaces.Dict({
    "bits": spaces.MultiBinary(3),
    "pixels": spaces.Box(0, 255, (2, 3, 1), np.uint8),
    "state": spaces.Tuple((
        spaces.Box(-np.inf, np.inf, (2,), np.float64),
        spaces.Discrete(5, start=1),
        spaces.MultiDiscrete([3, 4], start=[1, -1]),
    )),
})
ACTIONS = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 4], np.float32))
LENGTHS = [4, 2, 5]


def observations(episode, rows):
    """Numbers that a test computes as well."""
    t = np.arange(rows)
    n = 100 * episode + t
    return {
        "bits": ((n[:, None] >> np.arange(3)) & 1).astype(np.int8),
        "pixels": ((n[:, None] + np.arange(6)) % 256).astype(np.uint8).reshape(rows, 2, 3, 1),
        "state": (
            np.stack([n / 8, -n / 4], axis=1),
            (1 + n % 5).astype(np.int64),
            np.stack([1 + n % 3, -1 + n % 4], axis=1),
        ),
    }


def halves(episode, rows):
    n = 100 * episode + np.arange(rows)
    return np.stack([n / 8, -n / 4], axis=1).astype(np.float16)


def episodes(make):
    for episode, steps in enumerate(LENGTHS):
        t = np.arange(steps)
        yield EpisodeBuffer(
            id=episode,
            seed=7 + episode,
            observations=make(episode, steps + 1),
            actions=np.stack([(t % 5) - 2, t % 5], axis=1).astype(np.float32),
            rewards=list(episode + t / 2),
            terminations=list((t == steps - 1) & (episode != 1)),
            truncations=list((t == steps - 1) & (episode == 1)),
            infos={
                "x": np.arange(steps + 1) / 4,
                "vector": np.zeros((steps + 1, 2)),
                "part": {"y": np.arange(steps + 1)},
            },
        )


def record(folder, name, data_format, space, make, jpeg_encoding):
    data = Path(folder) / f"{name}-v0" / "data"
    data.mkdir(parents=True)
    storage = MinariStorage.new(
        data, observation_space=space, action_space=ACTIONS, data_format=data_format, jpeg_encoding=jpeg_encoding
    )
    storage.update_metadata({"dataset_id": f"{name}-v0", "minari_version": minari.__version__})
    storage.update_episodes(episodes(make))


def compress(folder, name, codec):
    copy = Path(folder) / f"{name}-{codec}-v0"
    shutil.copytree(Path(folder) / f"{name}-v0", copy)
    for path in copy.glob("data/*/part-0.*"):
        if name == "parquet":
            pq.write_table(pq.read_table(path, partitioning=None), path, compression=codec)
            continue
        table = pa.ipc.open_file(path).read_all()
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with pa.ipc.new_file(path, table.schema, options=options) as file:
            file.write_table(table)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return np.asarray(value).tolist()


def readable_infos(decode):
    """Minari 0.5.4 writes single numbers as infos of Arrow and Parquet files, and fails to read them."""

    def decoded(values):
        try:
            return decode(values)
        except ValueError:
            return {}

    return decoded


def main():
    warnings.simplefilter("ignore")
    command, folder = sys.argv[1:]
    if command == "record":
        for data_format in ["hdf5", "arrow", "parquet"]:
            record(folder, data_format, data_format, OBSERVATIONS, observations, False)
            half = spaces.Box(-np.inf, np.inf, (2,), np.float16)
            record(folder, f"{data_format}-half", data_format, half, halves, False)
        image = spaces.Box(0, 255, (32, 32, 3), np.uint8)
        black = lambda episode, rows: np.zeros((rows, 32, 32, 3), np.uint8)
        record(folder, "jpeg", "hdf5", image, black, True)
        record(folder, "jpeg-arrow", "arrow", image, black, True)
        for name, codec in [("arrow", "lz4"), ("arrow", "zstd"), ("parquet", "zstd")]:
            compress(folder, name, codec)
        return
    arrow_storage._decode_info = readable_infos(arrow_storage._decode_info)
    dataset = minari.MinariDataset(Path(folder) / "data")
    for episode in dataset.iterate_episodes():
        text = json.dumps({
            "id": int(episode.id),
            "observations": plain(episode.observations),
            "actions": plain(episode.actions),
            "rewards": plain(episode.rewards),
            "terminations": plain(episode.terminations),
            "truncations": plain(episode.truncations),
            "infos": plain(episode.infos),
        })
        # JSON has no NaN, which stands where a reset reports no info.
        print(text.replace("NaN", "null"))


if __name__ == "__main__":
    main()
