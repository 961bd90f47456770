//! Maps for the policies of other libraries.

use super::NameMap;

impl NameMap {
    /// Returns the map for `MlpPolicy` of Stable-Baselines3's PPO and A2C, to
    /// [`ActorCritic`](crate::ActorCritic).
    ///
    /// Save the weights with `save_file(model.policy.state_dict(), path)`. Model config:
    ///
    /// | Stable-Baselines3 | here |
    /// |---|---|
    /// | always | `vf_share_layers: false` |
    /// | `net_arch=[64, 64]` (the default) | `fcnet_hiddens: [64, 64]` |
    /// | `net_arch=dict(pi=[24, 16], vf=[18])` | `fcnet_hiddens: [24, 16], vf_fcnet_hiddens: [18]` |
    /// | `activation_fn` | `fcnet_activation` (`"tanh"` is the default of both) |
    /// | `Box` actions | `free_log_std: true` |
    ///
    /// Stable-Baselines3 acts in the units of the Box and clips: set `normalize_actions: false` and
    /// `clip_actions: true` for the runner. The statistics of `VecNormalize` are not part of the
    /// state dict.
    #[must_use]
    pub fn sb3_ppo_mlp_policy() -> Self {
        Self::new()
            .mlp("mlp_extractor.policy_net", "encoder.mlp")
            .mlp("mlp_extractor.value_net", "critic_encoder.mlp")
            .rename("action_net", "pi.mlp.layers.0")
            .rename("value_net", "vf.layers.0")
            .rename("log_std", "pi.log_std")
    }

    /// Returns the map for `CnnPolicy` of Stable-Baselines3's PPO and A2C with `NatureCNN`, to
    /// [`ActorCritic`](crate::ActorCritic).
    ///
    /// Save the weights with `safetensors.torch.save_model(model.policy, path)`, which writes the
    /// shared features extractor once. Model config:
    ///
    /// | Stable-Baselines3 | here |
    /// |---|---|
    /// | `NatureCNN` | `conv_filters: [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]]` |
    /// | `features_dim=512` (the default) | `conv_fcnet_hiddens: [512]` |
    /// | `share_features_extractor=True` (the default) | `vf_share_layers: true` |
    /// | `net_arch=dict(pi=[64], vf=[32])` (the default is none) | `head_fcnet_hiddens: [64], vf_head_fcnet_hiddens: [32], head_fcnet_activation: "tanh"` |
    /// | `Box` actions | `free_log_std: true` |
    ///
    /// Observations are images `[height, width, channels]`, as they are before `VecTransposeImage`.
    /// Both libraries divide the bytes of a `uint8` Box by 255. A policy with
    /// `normalize_images=False` needs a `float32` Box here. For `Box` actions see
    /// [`sb3_ppo_mlp_policy`](Self::sb3_ppo_mlp_policy).
    #[must_use]
    pub fn sb3_ppo_cnn_policy() -> Self {
        Self::new()
            .cnn("features_extractor", "encoder")
            .cnn("vf_features_extractor", "critic_encoder")
            // Always the same module as `features_extractor`.
            .ignore("pi_features_extractor")
            .sb3_heads()
    }

    /// Returns the map for `MlpPolicy` of Stable-Baselines3's DQN, to [`QNetwork`](crate::QNetwork).
    ///
    /// Save the weights with `save_file(model.policy.state_dict(), path)`. Model config:
    ///
    /// | Stable-Baselines3 | here |
    /// |---|---|
    /// | always | `dueling: false, fcnet_activation: "relu"` |
    /// | `net_arch=[64, 64]` (the default) | `fcnet_hiddens: [64, 64]` |
    ///
    /// For a module that is built for inference only, or with `target_network: false`, add
    /// `.ignore("q_net_target")`.
    pub fn sb3_dqn_mlp_policy() -> Self {
        Self::new().split_mlp("q_net.q_net", "encoder.mlp", "qf.af.layers.0").split_mlp(
            "q_net_target.q_net",
            "target_encoder.mlp",
            "target_qf.af.layers.0",
        )
    }

    /// Returns the map for `MlpPolicy` of Stable-Baselines3's SAC and of sb3-contrib's TQC, to
    /// [`SoftActorCritic`](crate::SoftActorCritic).
    ///
    /// Save the weights with `save_file(model.policy.state_dict(), path)`. Model config:
    ///
    /// | Stable-Baselines3 | here |
    /// |---|---|
    /// | always | `fcnet_activation: "relu"` |
    /// | `net_arch=[256, 256]` (the default) | `fcnet_hiddens: [256, 256]` (the default) |
    /// | `net_arch=dict(pi=[24, 16], qf=[18])` | `fcnet_hiddens: [24, 16], vf_fcnet_hiddens: [18]` |
    /// | `n_critics`, `n_quantiles` (TQC) | `num_critics`, `num_quantiles` |
    /// | `use_sde=True` | `use_sde: true` |
    ///
    /// Both act in [−1, 1], and the runner or `predict` scales actions to the bounds of the Box.
    #[must_use]
    pub fn sb3_sac_mlp_policy() -> Self {
        Self::new()
            .mlp("actor.latent_pi", "encoder.mlp")
            .concatenate(["actor.mu", "actor.log_std"], "pi.mlp.layers.0")
            // With gSDE, `log_std` is no layer, and a clipping of the means usually follows `mu`.
            .rename("actor.mu.0", "pi.mlp.layers.0")
            .rename("actor.mu", "pi.mlp.layers.0")
            .rename("actor.log_std", "pi.noise.log_std")
            .sb3_critics()
    }

    /// Returns the map for `MlpPolicy` of Stable-Baselines3's TD3 and DDPG, to
    /// [`DeterministicActorCritic`](crate::DeterministicActorCritic).
    ///
    /// Save the weights with `save_file(model.policy.state_dict(), path)`. Model config:
    ///
    /// | Stable-Baselines3 | here |
    /// |---|---|
    /// | always | `fcnet_activation: "relu"` |
    /// | `net_arch=[400, 300]` (the default) | `fcnet_hiddens: [400, 300]` |
    /// | `net_arch=dict(pi=[24, 16], qf=[18])` | `fcnet_hiddens: [24, 16], vf_fcnet_hiddens: [18]` |
    /// | `n_critics` (1 for DDPG) | `num_critics` |
    ///
    /// Both act in [−1, 1], and the runner or `predict` scales actions to the bounds of the Box.
    #[must_use]
    pub fn sb3_td3_mlp_policy() -> Self {
        Self::new()
            .split_mlp("actor.mu", "encoder.mlp", "pi.mlp.layers.0")
            .split_mlp("actor_target.mu", "target_encoder.mlp", "target_pi.mlp.layers.0")
            .sb3_critics()
    }

    /// The critics of actions of Stable-Baselines3, and their targets.
    fn sb3_critics(self) -> Self {
        self.ensemble("critic.qf", "qf.layers").ensemble("critic_target.qf", "target_qf.layers")
    }

    /// Returns the map for `MlpLstmPolicy` of sb3-contrib's `RecurrentPPO`, to
    /// [`ActorCritic`](crate::ActorCritic).
    ///
    /// Save the weights with `save_file(model.policy.state_dict(), path)`. Model config:
    ///
    /// | sb3-contrib | here |
    /// |---|---|
    /// | always | `use_lstm: true, fcnet_hiddens: []` |
    /// | separate LSTMs (the default) | `vf_share_layers: false` |
    /// | `shared_lstm=True, enable_critic_lstm=False` | `vf_share_layers: true` |
    /// | `lstm_hidden_size`, `n_lstm_layers` | `lstm_cell_size`, `recurrent_num_layers` |
    /// | `net_arch=dict(pi=[64, 64], vf=[64, 64])` (the default) | `head_fcnet_hiddens: [64, 64]`, `vf_head_fcnet_hiddens` where `vf` differs |
    /// | `activation_fn` | `head_fcnet_activation: "tanh"` (the default there; not here) |
    /// | `Box` actions | `free_log_std: true` |
    ///
    /// A shared LSTM computes the same here, but trains differently: sb3-contrib stops the
    /// gradients of the value function before it. A feed-forward critic with a recurrent
    /// actor (`enable_critic_lstm=False` alone) has no counterpart and is rejected as unmapped.
    /// For `Box` actions see [`sb3_ppo_mlp_policy`](Self::sb3_ppo_mlp_policy).
    #[must_use]
    pub fn sb3_recurrent_ppo_mlp_lstm_policy() -> Self {
        Self::new()
            .rename("lstm_actor", "encoder.rnn")
            .rename("lstm_critic", "critic_encoder.rnn")
            .sb3_heads()
    }

    /// The networks of Stable-Baselines3 after a features extractor or an LSTM.
    fn sb3_heads(self) -> Self {
        self.join_mlp("mlp_extractor.policy_net", "action_net", "pi.mlp")
            .join_mlp("mlp_extractor.value_net", "value_net", "vf")
            .rename("log_std", "pi.log_std")
    }

    /// Returns the map for RLlib's `DefaultPPOTorchRLModule` to
    /// [`ActorCritic`](crate::ActorCritic): MLP or CNN encoders, alone or below an LSTM.
    ///
    /// Save the weights with `save_file(module.state_dict(), path)`. The model config has the
    /// values of RLlib's `DefaultModelConfig`; `vf_share_layers` is `true` there unless it is set, and
    /// `false` here. RLlib keeps `log_std_clip_param` among the weights of its heads; here it is only in
    /// the model config.
    ///
    /// RLlib's CNN reads floats only. Give the module the `float32` Box that RLlib's module had,
    /// and scale its images as RLlib's connectors or wrappers did: a `uint8` Box is divided by 255
    /// here. With "same" padding and a kernel smaller than its stride, RLlib crops some images
    /// before the convolution; such policies compute something else here.
    #[must_use]
    pub fn rllib_default_ppo() -> Self {
        let mut map = Self::new();
        for (theirs, ours) in [
            ("encoder.encoder", "encoder"),
            ("encoder.actor_encoder", "encoder"),
            ("encoder.critic_encoder", "critic_encoder"),
        ] {
            map = map
                .mlp(format!("{theirs}.net.mlp"), format!("{ours}.mlp"))
                .cnn(format!("{theirs}.net.0.cnn"), ours)
                .mlp(format!("{theirs}.tokenizer.net.mlp"), format!("{ours}.tokenizer.mlp"))
                .cnn(format!("{theirs}.tokenizer.net.0.cnn"), format!("{ours}.tokenizer"))
                .rename(format!("{theirs}.lstm"), format!("{ours}.rnn"));
        }
        map.mlp("pi.net.mlp", "pi.mlp")
            .mlp("vf.net.mlp", "vf")
            .rename("pi.log_std", "pi.log_std")
            .ignore("pi.log_std_clip_param_const")
            .ignore("vf.log_std_clip_param_const")
    }

    /// Returns the map for the agents of CleanRL's `ppo.py`, `ppo_continuous_action.py` and
    /// `ppo_atari.py`, to [`ActorCritic`](crate::ActorCritic).
    ///
    /// Save the weights with `save_file(agent.state_dict(), path)`. Model config:
    ///
    /// | script | model config |
    /// |---|---|
    /// | `ppo.py` | `fcnet_hiddens: [64, 64], vf_share_layers: false` |
    /// | `ppo_continuous_action.py` | the same and `free_log_std: true` |
    /// | `ppo_atari.py` | `conv_filters` of [`sb3_ppo_cnn_policy`](Self::sb3_ppo_cnn_policy), `conv_fcnet_hiddens: [512]`, `vf_share_layers: true` |
    ///
    /// CleanRL acts in the units of the Box and clips: set `normalize_actions: false` and
    /// `clip_actions: true` for the runner. The statistics of Gymnasium's `NormalizeObservation`
    /// are not part of the state dict.
    #[must_use]
    pub fn cleanrl_ppo() -> Self {
        Self::new()
            .cnn("network", "encoder")
            .split_mlp("actor", "encoder.mlp", "pi.mlp.layers.0")
            .split_mlp("actor_mean", "encoder.mlp", "pi.mlp.layers.0")
            .split_mlp("critic", "critic_encoder.mlp", "vf.layers.0")
            // A row of one: `[1, actions]`.
            .reshape("actor_logstd", [-1])
            .rename("actor_logstd", "pi.log_std")
    }
}
