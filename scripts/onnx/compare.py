"""Runs exported policies in onnxruntime and compares their outputs with recorded ones.

    python scripts/onnx/compare.py FOLDER

Each policy is a file NAME.onnx with a file NAME.json: a list of episodes, each a list of steps with `inputs` and
`outputs` by name. A state is 0 before the first step of an episode, and then the state that the last step returned.

Needs onnxruntime and NumPy. A test of rekindle (`env-runner/tests/onnx_export/main.rs`) writes such a folder.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime

TOLERANCE = 1e-5
TYPES = {
    "tensor(float)": np.float32,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}


def array(column, dtype):
    return np.array(column["data"], dtype=dtype).reshape(column["shape"])


def difference(found, expected):
    """Largest difference, relative to numbers above 1."""
    if found.shape != expected.shape:
        raise SystemExit(f"shape {found.shape} instead of {expected.shape}")
    if found.size == 0:
        return 0.0
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))))


def compare(model, episodes):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    worst = 0.0
    for steps in episodes:
        state = {}
        for step in steps:
            feeds = {}
            for given in session.get_inputs():
                dtype = TYPES[given.type]
                if given.name in step["inputs"]:
                    feeds[given.name] = array(step["inputs"][given.name], dtype)
                else:
                    rows = next(iter(step["inputs"].values()))["shape"][0]
                    zeros = np.zeros([rows, *given.shape[1:]], dtype)
                    feeds[given.name] = state.get(given.name, zeros)
            outputs = dict(zip(names, session.run(names, feeds)))
            for name, column in step["outputs"].items():
                worst = max(worst, difference(outputs[name], array(column, np.float64)))
            state = {
                name.replace("state_out.", "state_in."): value
                for name, value in outputs.items()
                if name.startswith("state_out.")
            }
    return worst


def main():
    failed = False
    for model in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
        episodes = json.loads(model.with_suffix(".json").read_text())
        worst = compare(str(model), episodes)
        print(f"{model.stem} {worst:.1e}")
        failed |= not worst <= TOLERANCE
    sys.exit(failed)


if __name__ == "__main__":
    main()
