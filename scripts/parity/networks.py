"""Actor-critics in plain PyTorch with the parameter names of rekindle.

The recurrent one has the parameter names of torch.nn.LSTM.

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


class Cnn(nn.Module):
    """Convolutions with ReLU over channels-last images, flattened to height, width, channels.

    Filters are RLlib's: `(out_channels, kernel, stride)` with TensorFlow's "same" padding, which
    PyTorch lacks for strides, or with a fourth entry `"valid"`.
    """

    def __init__(self, shape, filters):
        super().__init__()
        *size, channels = shape
        self.layers, self.pads = nn.ModuleList(), []
        for out, kernel, stride, *padding in filters:
            sizes = [kernel, kernel] if isinstance(kernel, int) else kernel
            if padding == ["valid"]:
                self.pads.append(None)
                size = [(side - k) // stride + 1 for side, k in zip(size, sizes)]
            else:
                ends = [-(-side // stride) for side in size]
                zeros = [max(0, (e - 1) * stride + k - s) for e, k, s in zip(ends, sizes, size)]
                vertical, horizontal = [(n // 2, n - n // 2) for n in zeros]
                self.pads.append((*horizontal, *vertical))
                size = ends
            self.layers.append(nn.Conv2d(channels, out, sizes, stride))
            channels = out
        self.output_dim = size[0] * size[1] * channels

    def forward(self, images):
        x = images.permute(0, 3, 1, 2)
        for layer, pad in zip(self.layers, self.pads):
            x = layer(x if pad is None else nn.functional.pad(x, pad)).relu()
        return x.permute(0, 2, 3, 1).flatten(1)


class ImageEncoder(nn.Module):
    """Adds the level `cnn` that image encoders have in their parameter names."""

    def __init__(self, shape, filters):
        super().__init__()
        self.cnn = Cnn(shape, filters)

    def forward(self, images):
        return self.cnn(images)


class ImageActorCritic(nn.Module):
    """An image encoder shared by a policy head and a value head."""

    def __init__(self, shape, filters, actions):
        super().__init__()
        self.encoder = ImageEncoder(shape, filters)
        features = self.encoder.cnn.output_dim
        self.pi = Wrapped(Mlp([features], None, output=actions))
        self.vf = Mlp([features], None, output=1)

    def forward(self, images):
        """Inputs of the action distribution, `[B, inputs]`, and values, `[B]`."""
        features = self.encoder(images)
        return self.pi(features), self.vf(features).squeeze(1)


class RecurrentActorCritic(nn.Module):
    """A tokenizer, an LSTM of one layer and the two heads, made of PyTorch's own layers."""

    def __init__(self, obs, tokens, cells, actions):
        super().__init__()
        self.tokenizer = nn.Linear(obs, tokens)
        self.lstm = nn.LSTM(tokens, cells, batch_first=True)
        self.pi, self.vf = nn.Linear(cells, actions), nn.Linear(cells, 1)

    def forward(self, obs, state):
        """`obs` is `[B, T, obs]`, each state `[1, B, cells]`: inputs, values, the states after."""
        features, state = self.lstm(self.tokenizer(obs).tanh(), state)
        return self.pi(features), self.vf(features).squeeze(2), state


class Wrapped(nn.Module):
    """Adds the level `mlp` that encoders and policy heads have in their parameter names."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x):
        return self.mlp(x)


class ActorCritic(nn.Module):
    """Encoders and heads of a policy and a value function, as in rl-module."""

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
        """Build the network that has these parameters; strict, as `load_state_dict` is."""
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
