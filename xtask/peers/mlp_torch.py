"""Forward passes and training steps of MLPs 4 -> H -> H -> 2 (tanh) in eager PyTorch on the CPU.

The workloads `mlp-forward` and `mlp-train` of `cargo xtask compare`. A case is HIDDENxBATCH; prints
rows per second.
"""

from common import parse, parser, rate, report, sizes

arguments = parser(__doc__, "64x1,64x128")
arguments.add_argument("--what", choices=["forward", "train"], default="forward")
args = parse(arguments)

import torch
from torch import nn

torch.set_num_threads(args.threads)
torch.manual_seed(args.seed)


def mlp(hidden):
    return nn.Sequential(
        nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2)
    )


for case in args.cases:
    hidden, batch = sizes(case)
    model, inputs = mlp(hidden), torch.randn(batch, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def forward():
        with torch.inference_mode():
            model(inputs).numpy()

    def train():
        loss = model(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step = forward if args.what == "forward" else train

    def steps(count=max(1, 1024 // batch)):
        # Several steps per reading of the clock, so that reading it costs nothing.
        for _ in range(count):
            step()
        return count * batch

    rate(min(0.1, args.seconds), steps)
    report(case, "torch", torch.__version__, rate(args.seconds, steps))
