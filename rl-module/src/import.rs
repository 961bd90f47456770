//! Weights of other libraries' policies, under the names of our parameters.

use rekindle_core::named::below;
use rekindle_core::weights::Weights;

use crate::{ModuleError, Result};

/// Renames the parameters of another library's state dict to those of a module here.
///
/// Values stay as they are: the layout here is PyTorch's. Every foreign name must be covered by a
/// rule or by [`ignore`](Self::ignore), and loading the result is as strict, so that nothing is
/// lost or left at its initial value in silence. Of several rules that cover a name the first one
/// counts.
///
/// ```no_run
/// use rekindle_checkpoint::read_safetensors;
/// use rekindle_env::Space;
/// use rekindle_rl_module::{NameMap, RLModuleSpec};
/// use serde_json::json;
///
/// let path = "policy.safetensors";
/// let mut module = RLModuleSpec::default()
///     .observation_space(Space::boxed(f32::NEG_INFINITY, f32::INFINITY, &[4])?)
///     .action_space(Space::discrete(2)?)
///     .model_config(json!({"fcnet_hiddens": [64, 64], "vf_share_layers": false}))
///     .build(&burn::prelude::Device::flex())?;
/// module.load_state_dict(&NameMap::sb3_ppo_mlp_policy().apply(&read_safetensors(path)?)?)?;
/// # Ok::<(), rekindle_rl_module::ModuleError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameMap {
    rules: Vec<Rule>,
    ignored: Vec<String>,
}

/// What happens to the names at and below `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    from: String,
    to: String,
    /// Whether `from` is an `nn.Sequential` that becomes an [`Mlp`](rekindle_catalog::Mlp).
    mlp: bool,
}

impl NameMap {
    /// A map that covers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// PPO or A2C with `MlpPolicy` of Stable-Baselines3, for [`ActorCritic`](crate::ActorCritic).
    ///
    /// The file is `save_file(model.policy.state_dict(), path)`. The model config that fits has
    /// `vf_share_layers: false`, `fcnet_hiddens` as `net_arch` (by default `[64, 64]`, the same for
    /// policy and value function), `fcnet_activation` as `activation_fn` (by default `"tanh"`),
    /// and for `Box` actions `free_log_std: true`. What `VecNormalize` did to observations is not
    /// in the state dict.
    pub fn sb3_ppo_mlp_policy() -> Self {
        Self::new()
            .mlp("mlp_extractor.policy_net", "encoder.mlp")
            .mlp("mlp_extractor.value_net", "critic_encoder.mlp")
            .rename("action_net", "pi.mlp.layers.0")
            .rename("value_net", "vf.layers.0")
            .rename("log_std", "pi.log_std")
    }

    /// RLlib's `DefaultPPOTorchRLModule` with MLP encoders, under an LSTM or not, for
    /// [`ActorCritic`](crate::ActorCritic).
    ///
    /// The file is `save_file(module.state_dict(), path)`. The model config that fits has the
    /// values of RLlib's `DefaultModelConfig`; mind that PPO there trains with
    /// `vf_share_layers=False` unless told otherwise. RLlib keeps `log_std_clip_param` among the
    /// weights of its heads; here it is the model config's alone.
    pub fn rllib_default_ppo() -> Self {
        Self::new()
            .mlp("encoder.encoder.net.mlp", "encoder.mlp")
            .mlp("encoder.actor_encoder.net.mlp", "encoder.mlp")
            .mlp("encoder.critic_encoder.net.mlp", "critic_encoder.mlp")
            .mlp("encoder.encoder.tokenizer.net.mlp", "encoder.tokenizer.mlp")
            .mlp("encoder.actor_encoder.tokenizer.net.mlp", "encoder.tokenizer.mlp")
            .mlp("encoder.critic_encoder.tokenizer.net.mlp", "critic_encoder.tokenizer.mlp")
            .rename("encoder.encoder.lstm", "encoder.rnn")
            .rename("encoder.actor_encoder.lstm", "encoder.rnn")
            .rename("encoder.critic_encoder.lstm", "critic_encoder.rnn")
            .mlp("pi.net.mlp", "pi.mlp")
            .mlp("vf.net.mlp", "vf")
            .rename("pi.log_std", "pi.log_std")
            .ignore("pi.log_std_clip_param_const")
            .ignore("vf.log_std_clip_param_const")
    }

    /// Renames the parameter `from`, or all parameters below it: `from.weight` to `to.weight`.
    #[must_use]
    pub fn rename(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rule(from.into(), to.into(), false)
    }

    /// Renames an `nn.Sequential` of linear and normalisation layers to an
    /// [`Mlp`](rekindle_catalog::Mlp).
    ///
    /// PyTorch counts activations: of `from.0`, `from.2`, … the linear layers (their weight has two
    /// dimensions) become `to.layers.0`, `to.layers.1`, …, the normalisation layers (one dimension)
    /// `to.norms.0`, ….
    #[must_use]
    pub fn mlp(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rule(from.into(), to.into(), true)
    }

    /// Leaves out the parameter `name`, or all parameters below it, whatever the rules say.
    #[must_use]
    pub fn ignore(mut self, name: impl Into<String>) -> Self {
        self.ignored.push(name.into());
        self
    }

    fn rule(mut self, from: String, to: String, mlp: bool) -> Self {
        self.rules.push(Rule { from, to, mlp });
        self
    }

    /// The weights under their new names.
    ///
    /// # Errors
    /// [`ModuleError::UnmappedWeights`] listing all names that nothing covers,
    /// [`ModuleError::ClashingWeights`] if two weights get the same name.
    pub fn apply(&self, weights: &Weights) -> Result<Weights> {
        let prefixes: Vec<_> = self.rules.iter().flat_map(|rule| rule.prefixes(weights)).collect();
        let (mut renamed, mut unmapped) = (Weights::new(), Vec::new());
        for (name, array) in weights {
            if self.ignored.iter().any(|ignored| below(name, ignored).is_some()) {
                continue;
            }
            let new = prefixes.iter().find_map(|(from, to)| Some(to.clone() + below(name, from)?));
            match new {
                Some(new) if renamed.contains_key(&new) => {
                    return Err(ModuleError::ClashingWeights { name: new, from: name.clone() });
                }
                Some(new) => drop(renamed.insert(new, array.clone())),
                None => unmapped.push(name.clone()),
            }
        }
        if unmapped.is_empty() {
            Ok(renamed)
        } else {
            Err(ModuleError::UnmappedWeights { names: unmapped })
        }
    }
}

impl Rule {
    /// The prefixes to replace in the names of these weights, old and new.
    fn prefixes(&self, weights: &Weights) -> Vec<(String, String)> {
        if !self.mlp {
            return vec![(self.from.clone(), self.to.clone())];
        }
        let children = weights.iter().filter_map(|(name, array)| {
            let child = below(name, &self.from)?.strip_prefix('.')?.strip_suffix(".weight")?;
            Some((child.parse::<usize>().ok()?, array.shape().len()))
        });
        let mut children: Vec<_> = children.collect();
        children.sort_unstable();
        let (mut layers, mut norms) = (0.., 0..);
        let to = children.into_iter().filter_map(|(child, dimensions)| {
            let (kind, index) = match dimensions {
                2 => ("layers", layers.next()?),
                1 => ("norms", norms.next()?),
                _ => return None,
            };
            Some((format!("{}.{child}", self.from), format!("{}.{kind}.{index}", self.to)))
        });
        to.collect()
    }
}

#[cfg(test)]
mod tests {
    use rekindle_checkpoint::Array;

    use super::*;

    fn weights(names: &[(&str, &[usize])]) -> Weights {
        let array =
            |shape: &[usize]| Array::new(shape, vec![0f32; shape.iter().product()]).unwrap();
        names.iter().map(|(name, shape)| ((*name).into(), array(shape))).collect()
    }

    #[test]
    fn layers_are_counted_in_the_order_of_numbers_and_by_kind() {
        let foreign = weights(&[
            ("net.0.weight", &[3, 2]),
            ("net.0.bias", &[3]),
            ("net.1.weight", &[3]),
            ("net.1.bias", &[3]),
            ("net.10.weight", &[1, 3]),
            ("net.10.bias", &[1]),
            ("net.9.weight", &[3, 3]),
        ]);
        let map = NameMap::new().mlp("net", "mlp");
        let expected = weights(&[
            ("mlp.layers.0.weight", &[3, 2]),
            ("mlp.layers.0.bias", &[3]),
            ("mlp.norms.0.weight", &[3]),
            ("mlp.norms.0.bias", &[3]),
            ("mlp.layers.1.weight", &[3, 3]),
            ("mlp.layers.2.weight", &[1, 3]),
            ("mlp.layers.2.bias", &[1]),
        ]);
        assert_eq!(map.apply(&foreign).unwrap(), expected);
    }

    #[test]
    fn names_are_split_at_dots_only() {
        let foreign = weights(&[("pi.weight", &[1]), ("pi_old.weight", &[1])]);
        let map = NameMap::new().rename("pi", "policy").ignore("pi_ol");
        let message = map.apply(&foreign).unwrap_err().to_string();
        assert!(message.contains("no rule for [pi_old.weight]"), "{message}");
        let renamed = map.ignore("pi_old").apply(&foreign).unwrap();
        assert!(renamed.keys().eq(["policy.weight"]));
    }

    #[test]
    fn all_uncovered_names_are_listed() {
        let foreign = weights(&[
            ("action_net.weight", &[1, 1]),
            ("features_extractor.cnn.0.weight", &[1, 1, 1, 1]),
            ("lstm_actor.weight_ih_l0", &[1, 1]),
            ("mlp_extractor.policy_net.0.weight", &[1, 1, 1]),
        ]);
        let error = NameMap::sb3_ppo_mlp_policy().apply(&foreign).unwrap_err();
        let ModuleError::UnmappedWeights { names } = error else { panic!("{error}") };
        let expected = [
            "features_extractor.cnn.0.weight",
            "lstm_actor.weight_ih_l0",
            "mlp_extractor.policy_net.0.weight",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn two_weights_of_one_name_are_refused() {
        let foreign = weights(&[
            ("encoder.actor_encoder.net.mlp.0.weight", &[1, 1]),
            ("encoder.encoder.net.mlp.0.weight", &[1, 1]),
        ]);
        let message = NameMap::rllib_default_ppo().apply(&foreign).unwrap_err().to_string();
        assert!(message.contains("`encoder.mlp.layers.0.weight`"), "{message}");
    }
}
