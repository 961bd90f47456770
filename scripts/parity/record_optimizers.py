"""Record paths of PyTorch's optimizers, for learner/src/optimizer/tests.rs.

    pip install torch==2.9.1
    python scripts/parity/record_optimizers.py

Writes learner/tests/golden/optimizers.json:
  start [P]           the parameters before the first step
  gradients [20, P]   the gradient of each step, of sizes from 1e-4 to 1e3, with zeros
  rules               for each: the rule as rekindle's settings, lr, and path [20, P], the
                      parameters after each step

CPU, float32, one thread.
"""

import json
from pathlib import Path

import torch

FILE = Path(__file__).parents[2] / "learner/tests/golden/optimizers.json"
STEPS, PARAMETERS = 20, 6
RULES = [
    (torch.optim.Adam, 0.05, dict(eps=1e-8), dict(type="adam")),
    (torch.optim.Adam, 0.05, dict(eps=1e-3, betas=(0.8, 0.95)),
     dict(type="adam", epsilon=1e-3, beta_1=0.8, beta_2=0.95)),
    (torch.optim.AdamW, 0.05, dict(weight_decay=0.1), dict(type="adam_w", weight_decay=0.1)),
    (torch.optim.RAdam, 0.05, dict(), dict(type="r_adam")),
    (torch.optim.RMSprop, 0.01, dict(alpha=0.99, eps=1e-5), dict(type="rms_prop", epsilon=1e-5)),
    (torch.optim.RMSprop, 0.01, dict(alpha=0.9, eps=1e-2),
     dict(type="rms_prop", alpha=0.9, epsilon=1e-2)),
    (torch.optim.SGD, 0.01, dict(momentum=0.9), dict(type="sgd", momentum=0.9)),
    (torch.optim.SGD, 0.01, dict(), dict(type="sgd")),
]  # fmt: skip


def path(make, lr, settings, start, gradients):
    parameter = torch.nn.Parameter(start.clone())
    optimizer = make([parameter], lr=lr, **settings)
    steps = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        steps.append(parameter.detach().clone())
    return torch.stack(steps)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(17)
    start = torch.randn(PARAMETERS)
    sizes = torch.tensor([1.0, 1e-4, 1e3, 1.0, 0.1, 10.0])
    gradients = torch.randn(STEPS, PARAMETERS) * sizes
    gradients[:7, 3] = 0.0  # Moments of 0 at first, and a gradient of 0 later
    gradients[10, 0] = 0.0
    rules = [
        {"rule": rule, "lr": lr, "path": path(make, lr, settings, start, gradients).tolist()}
        for make, lr, settings, rule in RULES
    ]
    recorded = {
        "torch": torch.__version__,
        "start": start.tolist(),
        "gradients": gradients.tolist(),
        "rules": rules,
    }
    FILE.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
