"""Run a policy of rekindle in plain PyTorch.

    pip install torch safetensors packaging numpy
    python scripts/parity/load_in_torch.py [MODULE_CHECKPOINT [RECORDED]]

MODULE_CHECKPOINT is the directory of a default actor-critic with tanh units, such as
`<algorithm checkpoint>/learner/rl_module/default_policy`. RECORDED is a safetensors file with
`obs`, `logits` and `values` computed by rekindle; without it, only the network is printed. Without
arguments, both files are those in the repository.
"""

import sys
from pathlib import Path

import torch
from networks import ActorCritic
from safetensors.torch import load_file

OURS = Path(__file__).parents[2] / "tests/parity/data/ours"


def main(checkpoint=OURS / "policy", recorded=OURS / "recorded/tensors.safetensors"):
    policy = ActorCritic.from_state_dict(load_file(Path(checkpoint) / "tensors.safetensors"))
    print(policy)
    if recorded is None:
        return
    recorded = load_file(recorded)
    with torch.no_grad():
        logits, values = policy(recorded["obs"])
    for name, found in [("logits", logits), ("values", values)]:
        print(f"{name}: largest difference {(found - recorded[name]).abs().max():.1e}")
        torch.testing.assert_close(found, recorded[name], rtol=1e-5, atol=1e-5)
    print("the same actions and values in", len(logits), "observations")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments, *([None] if len(arguments) == 1 else []))
