//! The default module of action values.

mod config;
mod head;

use std::borrow::Cow;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{BoxEncoder, CatalogError, check_encoder};
use rekindle_core::{Batch, Columns, Schedule};
use rekindle_env::{Buffer, Space};
use rekindle_onnx::{Graph, PolicyOutputs, Values};

use crate::action_mask::ActionMask;
use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};
use crate::exploration::{ExplorationContext, epsilon_greedy, greedy};
use crate::module::RLModule;
use crate::roles::{DistributionalQNet, QNet, TargetNetwork, ValueDistribution};

pub use config::QNetworkConfig;
pub use head::QHead;

/// Units of the hidden layer that the heads of a noisy network have if the model config gives them none.
const NOISY_HIDDEN: usize = 256;

/// An encoder and a head of action values, and slow copies of both; RLlib's `DefaultDQNTorchRLModule`.
///
/// It explores ε-greedily: with the probability that [`QNetworkConfig::epsilon`] has after the environment
/// steps so far, an action is drawn from all with equal probability; otherwise the action of the largest value
/// is taken. A noisy network ([`QNetworkConfig::noisy`]) draws noise for each step and row instead. Greedy actions
/// of inference are those of the largest value, without noise. Built for inference only, it has no target networks.
///
/// With [`QNetworkConfig::num_atoms`] or [`QNetworkConfig::num_quantiles`], the network has a distribution of
/// each action's return, and acts by its mean.
///
/// Observations may be a Dict with an action mask: a part `action_mask` of one number per action, 1 for an
/// allowed action and 0 for a masked one. The encoder sees the other parts: the part itself if there is one,
/// otherwise a Dict of them. Masked actions have the value float-min. They are never taken, and do not count in
/// the mean of a dueling network. A mask that allows nothing is an error where an action is to be chosen.
///
/// With a recurrent encoder (`use_lstm`) it has memory, and learns from sequences of `max_seq_len` steps.
///
/// Its model config has the fields of `DefaultModelConfig` and of [`QNetworkConfig`].
#[derive(Module, Debug)]
pub struct QNetwork {
    encoder: BoxEncoder,
    qf: QHead,
    target_encoder: Option<BoxEncoder>,
    target_qf: Option<QHead>,
    #[module(skip)]
    epsilon: Schedule,
    #[module(skip)]
    distribution: Option<ValueDistribution>,
    #[module(skip)]
    mask: Option<ActionMask>,
    /// The number of actions, and the first of them.
    actions: usize,
    first_action: i64,
    is_stateful: bool,
    max_seq_len: usize,
}

impl QNetwork {
    /// Computes the values of all actions with one of the two networks.
    fn values(
        &self,
        encoder: &BoxEncoder,
        head: &QHead,
        batch: &Batch,
        noise: Option<&Tensor<2>>,
    ) -> Result<Batch> {
        let observations = batch.column(Columns::OBS)?;
        let (seen, mask) = ActionMask::read_if(self.mask.as_ref(), observations)?;
        let mut outputs = Batch::new();
        let out = match self.is_stateful {
            false => head.forward_from(encoder, &seen, mask.as_ref(), noise)?,
            true => {
                let state = batch.column(Columns::STATE_IN)?;
                let (features, state) = encoder.forward_recurrent(&seen, state)?;
                outputs.insert(Columns::STATE_OUT, state);
                head.forward(features, mask.as_ref(), noise)
            }
        };
        let q = match &self.distribution {
            None => out,
            Some(distribution) => {
                let [rows, _] = out.dims();
                let parameters = out.reshape([rows, self.actions, distribution.num_atoms()]);
                outputs.insert(distribution.column(), parameters.clone());
                distribution.expected_values(parameters)
            }
        };
        let q = match mask {
            None => q,
            Some(mask) => q.mask_fill(mask.equal_elem(0.0), f32::MIN),
        };
        Ok(outputs.with(Columns::QF_PREDS, q))
    }

    /// Returns the actions of the space from actions that are counted from 0.
    fn named(&self, actions: Tensor<1, Int>) -> Tensor<1, Int> {
        if self.first_action == 0 { actions } else { actions + self.first_action }
    }

    /// Returns actions, which are counted from 0, and the state after them.
    fn chosen(&self, actions: Tensor<1, Int>, outputs: &Batch) -> Result<Batch> {
        let chosen = Batch::new().with(Columns::ACTIONS, self.named(actions));
        Ok(match self.is_stateful {
            true => chosen.with(Columns::STATE_OUT, outputs.column(Columns::STATE_OUT)?.clone()),
            false => chosen,
        })
    }

    /// Returns the noise of a training pass, which is the same for all rows, `[1, noise_dim]`; `None` for a pass with
    /// the means.
    fn noise(&self, batch: &Batch) -> Result<Option<Tensor<2>>> {
        Ok(match self.noise_dim() > 0 && batch.contains(Columns::NOISE) {
            true => {
                let noise = batch.float::<2>(Columns::NOISE)?;
                let rows = noise.dims()[0].min(1);
                Some(noise.narrow(0, 0, rows))
            }
            false => None,
        })
    }

    /// Draws noise for each row from the row's own stream, `[rows, noise_dim]`.
    fn draw_noise(
        &self,
        rows: usize,
        cx: &mut ExplorationContext,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let width = self.noise_dim();
        let mut noise = Vec::with_capacity(rows * width);
        for row in 0..rows {
            let rng = cx.rng(row)?;
            noise.extend((0..width).map(|_| rng.standard_normal() as f32));
        }
        Ok(Tensor::from_data(TensorData::new(noise, [rows, width]), device))
    }
}

impl RLModule for QNetwork {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let Space::Discrete(actions) = cx.action_space() else {
            return Err(ModuleError::ActionSpace {
                module: cx.module.into(),
                space: cx.action_space().to_string(),
                reason: "it has a value for each action of a Discrete space; use SAC, TQC or TD3 for a Box, and PPO for other spaces",
            });
        };
        let (mut config, own) = cx.extended_model_config::<QNetworkConfig>()?;
        own.validate().map_err(CatalogError::from)?;
        let distribution = own.value_distribution().map_err(CatalogError::from)?;
        let (mask, seen) = match ActionMask::divide(cx.observation_space(), actions)? {
            Some((mask, seen)) => (Some(mask), Cow::Owned(seen)),
            None => (None, Cow::Borrowed(cx.observation_space())),
        };
        cx.check_model_config_for(&config, &seen)?;
        let heads_are_unset =
            config.head_fcnet_hiddens.is_empty() && config.vf_head_fcnet_hiddens.is_none();
        // The noise of output layers alone explores too little.
        if own.noisy && heads_are_unset {
            config.head_fcnet_hiddens = vec![NOISY_HIDDEN];
        }
        if own.use_layernorm {
            config.fcnet_use_layernorm = true;
            config.conv_use_layernorm = true;
            config.head_fcnet_use_layernorm = true;
        }
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        let new_encoder = || -> Result<BoxEncoder> {
            let encoder = match config.use_lstm {
                true => catalog.build_recurrent_encoder(build, &seen)?,
                false => catalog.build_encoder(build, &seen)?,
            };
            check_encoder(&*encoder, &seen, cx.device())?;
            Ok(encoder)
        };
        let atoms = distribution.map_or(1, |distribution| distribution.num_atoms());
        let new_head = |features| -> Result<QHead> {
            let af = catalog.build_q_head(build, features, actions.n() * atoms)?;
            let mut head = QHead::new(af).atoms(atoms);
            if own.dueling {
                head = head.dueling(catalog.build_q_head(build, features, atoms)?);
            }
            Ok(if own.noisy { head.noisy(cx.builder(), own.sigma0) } else { head })
        };
        let encoder = new_encoder()?;
        let features = encoder.output_dim();
        let qf = new_head(features)?;
        let (target_encoder, target_qf) = match own.target_network && !cx.inference_only() {
            true => (Some(new_encoder()?), Some(new_head(features)?)),
            false => (None, None),
        };
        let is_stateful = encoder.initial_state()?.is_some();
        Ok(Self {
            encoder,
            qf,
            target_encoder,
            target_qf,
            epsilon: own.epsilon,
            distribution,
            mask,
            actions: actions.n(),
            first_action: actions.start(),
            is_stateful,
            max_seq_len: config.max_seq_len,
        })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        self.compute_q_values(batch)
    }

    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        let is_noisy = self.noise_dim() > 0;
        let noise = match is_noisy {
            true => {
                let device = self.devices().into_iter().next().unwrap_or_default();
                Some(self.draw_noise(batch.rows(), cx, &device)?)
            }
            false => None,
        };
        let outputs = self.values(&self.encoder, &self.qf, batch, noise.as_ref())?;
        let q = outputs.float::<2>(Columns::QF_PREDS)?;
        let actions = match is_noisy {
            true => greedy(&q)?,
            false => epsilon_greedy(&q, self.epsilon.value(cx.env_steps()), cx)?,
        };
        let found = self.chosen(actions, &outputs)?;
        Ok(found.with(Columns::QF_PREDS, q))
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        let outputs = self.values(&self.encoder, &self.qf, batch, None)?;
        let q = outputs.float::<2>(Columns::QF_PREDS)?;
        let actions = match &self.mask {
            // The values stay on the device.
            None => q.argmax(1).squeeze_dim::<1>(1),
            Some(_) => greedy(&q)?,
        };
        self.chosen(actions, &outputs)
    }

    fn noise_dim(&self) -> usize {
        self.qf.noise_dim()
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(self.encoder.initial_state()?)
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<PolicyOutputs> {
        let (seen, mask) = ActionMask::export_if(self.mask.as_ref(), observations)?;
        let features = self.encoder.export_onnx(graph, &seen)?;
        let mut q = self.qf.export_onnx(graph, &features, mask.as_ref())?;
        if let Some(distribution) = &self.distribution {
            let atoms = distribution.num_atoms() as i64;
            let parameters = graph.reshape(&q, &[-1, self.actions as i64, atoms]);
            q = distribution.export_onnx(graph, &parameters);
        }
        if let Some(mask) = &mask {
            let (zero, smallest) = (graph.scalar(0.0), graph.scalar(f32::MIN));
            let is_masked = graph.node("Equal", &[mask, &zero], &[]);
            q = graph.node("Where", &[&is_masked, &smallest, &q], &[]);
        }
        let (best, first) = (graph.argmax(&q), graph.ints(&[self.first_action], &[1]));
        Ok(PolicyOutputs::of_actions(graph.add(&best, &first)))
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }

    fn as_distributional_q_net(&self) -> Option<&dyn DistributionalQNet> {
        self.distribution.as_ref().map(|_| self as &dyn DistributionalQNet)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        self.target_qf.as_ref().map(|_| self as &dyn TargetNetwork)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["target_encoder", "target_qf"]
    }
}

impl QNet for QNetwork {
    fn compute_q_values(&self, batch: &Batch) -> Result<Batch> {
        self.values(&self.encoder, &self.qf, batch, self.noise(batch)?.as_ref())
    }
}

impl DistributionalQNet for QNetwork {
    fn value_distribution(&self) -> ValueDistribution {
        // Without a distribution, the module does not have the role, and its values are single numbers.
        self.distribution.unwrap_or(ValueDistribution::Quantile { num_quantiles: 1 })
    }
}

impl TargetNetwork for QNetwork {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("encoder", "target_encoder"), ("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let (Some(encoder), Some(qf)) = (&self.target_encoder, &self.target_qf) else {
            return Err(ModuleError::Mismatch(
                "this module was built without target networks, for inference only or with `target_network` false".into(),
            ));
        };
        self.values(encoder, qf, batch, self.noise(batch)?.as_ref())
    }
}

#[cfg(test)]
mod tests;
