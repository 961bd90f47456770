//! Weights of other libraries, renamed to the parameters of a module.

mod edit;
mod libraries;
mod merge;
mod rule;

use std::collections::BTreeSet;

use rekindle_core::named::below;
use rekindle_core::weights::Weights;

use crate::{ModuleError, Result};
use edit::Edit;
use merge::Merge;
use rule::{Rule, Sequence};

/// Renames the parameters of another library's state dict to a module's parameters.
///
/// The layout of parameters is PyTorch's, so most values stay as they are. Every foreign name must
/// be covered by a rule or by [`ignore`](Self::ignore), and
/// [`load_state_dict`](crate::AnyRLModule::load_state_dict) rejects missing and unexpected names,
/// so no weight is lost or silently keeps its initial value. If several rules cover a name, the
/// first one applies. Rules that cover no name do nothing, so one map serves several networks.
///
/// | map | policies |
/// |---|---|
/// | [`rllib_default_ppo`](Self::rllib_default_ppo) | RLlib's default PPO module: MLP, CNN, LSTM |
/// | [`sb3_ppo_mlp_policy`](Self::sb3_ppo_mlp_policy) | `MlpPolicy` of Stable-Baselines3, with equal or unequal networks |
/// | [`sb3_ppo_cnn_policy`](Self::sb3_ppo_cnn_policy) | `CnnPolicy` of Stable-Baselines3 |
/// | [`sb3_recurrent_ppo_mlp_lstm_policy`](Self::sb3_recurrent_ppo_mlp_lstm_policy) | `MlpLstmPolicy` of sb3-contrib's RecurrentPPO |
/// | [`cleanrl_ppo`](Self::cleanrl_ppo) | CleanRL's PPO agents, not recurrent ones |
/// | [`sb3_dqn_mlp_policy`](Self::sb3_dqn_mlp_policy) | `MlpPolicy` of Stable-Baselines3's DQN |
/// | [`sb3_sac_mlp_policy`](Self::sb3_sac_mlp_policy) | `MlpPolicy` of Stable-Baselines3's SAC and sb3-contrib's TQC |
/// | [`sb3_td3_mlp_policy`](Self::sb3_td3_mlp_policy) | `MlpPolicy` of Stable-Baselines3's TD3 and DDPG |
///
/// For other networks, start from [`NameMap::new`] or add rules to one of these maps.
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
    removed_levels: Vec<String>,
    ignored: Vec<String>,
    edits: Vec<(String, Edit)>,
    merges: Vec<Merge>,
    rules: Vec<Rule>,
}

impl NameMap {
    /// Creates a map without rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames the parameter `from` and all parameters below it: `from.weight` to `to.weight`.
    #[must_use]
    pub fn rename(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rule(Rule::Rename { from: from.into(), to: to.into() })
    }

    /// Renames an `nn.Sequential` of linear and normalization layers to an
    /// [`Mlp`](rekindle_catalog::Mlp).
    ///
    /// PyTorch counts activations: among `from.0`, `from.2`, …, the linear layers (two-dimensional
    /// weights) become `to.layers.0`, `to.layers.1`, …, and the normalization layers
    /// (one-dimensional weights) become `to.norms.0`, ….
    #[must_use]
    pub fn mlp(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rule(Rule::Sequence(Sequence::mlp([from.into()], to.into())))
    }

    /// Renames an `nn.Sequential` and the output layer after it to one
    /// [`Mlp`](rekindle_catalog::Mlp), as [`mlp`](Self::mlp) does.
    #[must_use]
    pub fn join_mlp(
        self,
        hidden: impl Into<String>,
        output: impl Into<String>,
        to: impl Into<String>,
    ) -> Self {
        self.rule(Rule::Sequence(Sequence::mlp([hidden.into(), output.into()], to.into())))
    }

    /// Renames an `nn.Sequential` whose last linear layer belongs to another part of the module.
    ///
    /// The last linear layer gets the name `output`. The layers before it become an
    /// [`Mlp`](rekindle_catalog::Mlp) named `hidden`, as in [`mlp`](Self::mlp).
    #[must_use]
    pub fn split_mlp(
        self,
        from: impl Into<String>,
        hidden: impl Into<String>,
        output: impl Into<String>,
    ) -> Self {
        let sequence = Sequence::mlp([from.into()], hidden.into()).with_output(output.into());
        self.rule(Rule::Sequence(sequence))
    }

    /// Renames convolutions, and the linear layers after them, to a
    /// [`CnnEncoder`](rekindle_catalog::CnnEncoder).
    ///
    /// All layers below `from` count, in the order of their names. Convolutions (four-dimensional
    /// weights) become `to.cnn.layers.0`, …, linear layers `to.mlp.layers.0`, …, and normalization
    /// layers `to.cnn.norms.0`, … or `to.mlp.norms.0`, …. The first linear layer must read
    /// channels-first images flattened by `nn.Flatten`: [`apply`](Self::apply) reorders its columns
    /// for the channels-last features of a `CnnEncoder`.
    #[must_use]
    pub fn cnn(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rule(Rule::Sequence(Sequence::cnn(from.into(), &to.into())))
    }

    /// Joins the layers of several prefixes into one layer `to`: the rows of `from[0].weight`, then those of
    /// `from[1].weight`, and so on, become `to.weight`, and likewise each other name below the prefixes.
    ///
    /// Joined parameters pass no other rule. A name that one of the prefixes lacks is left to the rules.
    #[must_use]
    pub fn concatenate<T: Into<String>>(
        mut self,
        from: impl IntoIterator<Item = T>,
        to: impl Into<String>,
    ) -> Self {
        let from = from.into_iter().map(Into::into).collect();
        self.merges.push(Merge::Concatenate { from, to: to.into() });
        self
    }

    /// Joins networks of equal shape with the prefixes `from0`, `from1`, … into one
    /// [`EnsembleMlp`](rekindle_catalog::EnsembleMlp).
    ///
    /// The linear layers below each prefix count in the order of their names. Those of one depth become
    /// `to.layers.0`, `to.layers.1`, …. Joined parameters pass no other rule.
    #[must_use]
    pub fn ensemble(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.merges.push(Merge::Ensemble { from: from.into(), to: to.into() });
        self
    }

    /// Leaves out the parameter `name` and all parameters below it, regardless of the rules.
    #[must_use]
    pub fn ignore(mut self, name: impl Into<String>) -> Self {
        self.ignored.push(name.into());
        self
    }

    /// Removes a level from all names, at the front or between two dots: without `_orig_mod`, which
    /// `torch.compile` adds, `_orig_mod.pi.weight` and `pi._orig_mod.weight` are both `pi.weight`.
    ///
    /// Every other part of the map sees the shorter names.
    #[must_use]
    pub fn remove_level(mut self, level: impl Into<String>) -> Self {
        self.removed_levels.push(level.into());
        self
    }

    /// Changes the shape of the parameter with the foreign name `name`, and keeps its elements in
    /// row-major order. One axis may be −1, as in PyTorch: its length follows from the others.
    #[must_use]
    pub fn reshape(mut self, name: impl Into<String>, shape: impl Into<Vec<isize>>) -> Self {
        self.edits.push((name.into(), Edit::Reshape(shape.into())));
        self
    }

    fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Returns the weights under their new names.
    ///
    /// # Errors
    /// - [`ModuleError::UnmappedWeights`] with all names that no rule covers
    /// - [`ModuleError::ClashingWeights`] if two weights get the same name
    /// - [`ModuleError::UnconvertibleWeight`] if a weight cannot be reshaped, reordered or joined
    pub fn apply(&self, weights: &Weights) -> Result<Weights> {
        let mut weights = self.without_levels(weights)?;
        let mut renamed = Weights::new();
        for merge in &self.merges {
            merge.apply(&mut weights, &mut renamed)?;
        }
        let mut targets = Vec::new();
        let mut edits = self.edits.clone();
        for rule in &self.rules {
            targets.extend(rule.targets(&weights));
            edits.extend(rule.edits(&weights));
        }
        let mut unmapped = BTreeSet::new();
        for (name, mut array) in weights {
            let new = targets.iter().find_map(|(from, to)| Some(to.clone() + below(&name, from)?));
            let Some(new) = new else {
                unmapped.insert(name);
                continue;
            };
            for (_, edit) in edits.iter().filter(|(edited, _)| *edited == name) {
                array = edit.apply(&name, array)?;
            }
            insert(&mut renamed, new, &name, array)?;
        }
        if unmapped.is_empty() {
            Ok(renamed)
        } else {
            Err(ModuleError::UnmappedWeights { names: unmapped.into_iter().collect() })
        }
    }

    /// The weights that are not ignored, under names without the removed levels.
    fn without_levels(&self, weights: &Weights) -> Result<Weights> {
        let mut shorter = Weights::new();
        for (name, array) in weights {
            let levels = name.split('.');
            let kept =
                levels.filter(|level| !self.removed_levels.iter().any(|other| other == level));
            let short = kept.collect::<Vec<_>>().join(".");
            if !self.ignored.iter().any(|ignored| below(&short, ignored).is_some()) {
                insert(&mut shorter, short, name, array.clone())?;
            }
        }
        Ok(shorter)
    }
}

/// Inserts a weight under a name that no other weight may have.
fn insert(
    weights: &mut Weights,
    name: String,
    from: &str,
    array: rekindle_checkpoint::Array,
) -> Result<()> {
    if weights.contains_key(&name) {
        return Err(ModuleError::ClashingWeights { name, from: from.into() });
    }
    weights.insert(name, array);
    Ok(())
}

#[cfg(test)]
mod tests;
