"""Our default actor-critic in plain PyTorch: the names of its parameters are ours.

Depends on torch alone. `ActorCritic.from_state_dict` builds the network that a
`tensors.safetensors` of a module checkpoint describes.
"""

from torch import nn


class Mlp(nn.Module):
    """Linear layers, each hidden one followed by an optional LayerNorm and an activation."""

    def __init__(self, dims, act, layernorm=False, output=None):
        super().__init__()
        sizes = [*dims, *([] if output is None else [output])]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(d, eps=1e-3) for d in dims[1:] if layernorm)
        self.hidden, self.act = len(dims) - 1, act

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < self.hidden:
                x = self.act(self.norms[i](x) if len(self.norms) else x)
        return x


class Wrapped(nn.Module):
    """The level `mlp` that our encoders and policy heads have in their parameters' names."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x):
        return self.mlp(x)


class ActorCritic(nn.Module):
    """Encoders and heads of a policy and a value function, as in crates/rl-module."""

    def __init__(self, obs, hidden, actions, act=nn.functional.tanh, layernorm=False, share=False):
        super().__init__()
        dims = [obs, *hidden]
        self.encoder = Wrapped(Mlp(dims, act, layernorm))
        self.critic_encoder = None if share else Wrapped(Mlp(dims, act, layernorm))
        self.pi = Wrapped(Mlp(dims[-1:], act, output=actions))
        self.vf = Mlp(dims[-1:], act, output=1)

    def forward(self, obs):
        """Inputs of the action distribution, `[B, inputs]`, and values, `[B]`."""
        features = self.encoder(obs)
        critic = features if self.critic_encoder is None else self.critic_encoder(obs)
        return self.pi(features), self.vf(critic).squeeze(1)

    @classmethod
    def from_state_dict(cls, state, act=nn.functional.tanh):
        """The network of these parameters; strict, as `load_state_dict` is."""
        name = "encoder.mlp.layers.{}.weight".format
        layers = [state[name(i)] for i in range(len(state)) if name(i) in state]
        net = cls(
            obs=layers[0].shape[1],
            hidden=[weight.shape[0] for weight in layers],
            actions=state["pi.mlp.layers.0.weight"].shape[0],
            act=act,
            layernorm="encoder.mlp.norms.0.weight" in state,
            share="critic_encoder.mlp.layers.0.weight" not in state,
        )
        net.load_state_dict(state)
        return net
