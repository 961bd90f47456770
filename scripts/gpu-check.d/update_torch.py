"""The update of `benches/src/bin/gpu_check/update.rs` in PyTorch: same networks, loss, optimizer, clipping and
minibatches, all rows on the device before it begins. Prints a line of JSON per case.

Needs PyTorch (any 2.x); `scripts/gpu-check` calls it.
"""

import argparse
import json
import math
import time

import torch
from torch import nn


class Mlp(nn.Module):
    """Policy and value function with two tanh layers of 256 each."""

    def __init__(self):
        super().__init__()
        self.policy, self.value = (
            nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, out))
            for out in (4, 1)
        )

    def forward(self, obs):
        return self.policy(obs), self.value(obs).squeeze(-1)


class Cnn(nn.Module):
    """84x84x4 bytes, the convolutions of DQN's Nature paper, heads with 512 features each."""

    def __init__(self, compute_dtype):
        super().__init__()
        self.compute_dtype = compute_dtype
        self.encoder = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
            nn.Flatten(),
        )
        self.policy, self.value = (
            nn.Sequential(nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, out)) for out in (6, 1)
        )

    def forward(self, obs):
        images = obs.permute(0, 3, 1, 2).float() / 255.0
        with torch.autocast(obs.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
            features = self.encoder(images)
        features = features.float()
        return self.policy(features), self.value(features).squeeze(-1)


def loss(model, obs, actions, old_logp, advantages, targets):
    logits, values = model(obs)
    log_probs = logits.log_softmax(-1)
    logp = log_probs.gather(1, actions[:, None]).squeeze(1)
    ratio = (logp - old_logp).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return -surrogate.mean() + 0.5 * (values - targets).square().mean() - 0.01 * entropy.mean()


# Rows of an update, if the number of minibatches is not given.
ROWS = {"mlp": 131_072, "cnn": 4096}


def measure(case, args):
    network, _, minibatch_size = case.partition("-")
    network, _, dtype = network.partition("_")
    minibatch_size = int(minibatch_size)
    torch.manual_seed(0)
    device = torch.device(args.device)
    dtype = {"": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    model, actions = (Mlp(), 4) if network == "mlp" else (Cnn(dtype), 6)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, eps=1e-8)
    rows = minibatch_size * (args.minibatches or max(1, ROWS[network] // minibatch_size))
    if network == "mlp":
        obs = torch.randn(rows, 64, device=device)
    else:
        obs = torch.randint(0, 251, (rows, 84, 84, 4), dtype=torch.uint8, device=device)
    columns = (
        obs,
        torch.randint(0, actions, (rows,), device=device),
        torch.full((rows,), -math.log(actions), device=device),
        torch.randn(rows, device=device),
        torch.randn(rows, device=device),
    )
    total = torch.compile(loss) if args.mode == "compile" else loss

    def update():
        order = torch.randperm(rows, device=device)
        for indices in order.split(minibatch_size):
            value = total(model, *(column[indices] for column in columns))
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        value.item()

    update()
    started, updates = time.perf_counter(), 0
    while updates == 0 or time.perf_counter() - started < args.seconds:
        update()
        updates += 1
    return {
        "case": case,
        "system": f"PyTorch {torch.__version__}, {args.mode}",
        "value": rows * updates / (time.perf_counter() - started),
        "unit": "rows/s",
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--cases", default="mlp-4096,mlp-32768,cnn-256,cnn-1024,cnn_bf16-256,cnn_bf16-1024")
    parser.add_argument("--minibatches", type=int)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    for case in args.cases.split(","):
        print(json.dumps(measure(case, args)), flush=True)


if __name__ == "__main__":
    main()
