//! Modules with one encoder for all agents, and heads and critics for each: under DQN and its family, SAC, TD3 and TQC.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::SquashedGaussian;
use rekindle::core::AnyTensor;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde::{Deserialize, Serialize};

const FEATURES: usize = 6;

/// A common encoder with heads of action values.
#[derive(Module, Debug)]
pub(super) struct SharedValues {
    encoder: Mlp,
    qf: PerModule<Mlp>,
    target_encoder: Mlp,
    target_qf: PerModule<Mlp>,
    #[module(skip)]
    distribution: Option<ValueDistribution>,
}

impl SharedValues {
    /// Returns the specs of two agents. Values are expected values, or distributions with above 1 atoms or some
    /// quantiles.
    pub(super) fn specs(num_atoms: usize, num_quantiles: Option<usize>) -> MultiRLModuleSpec {
        let config = serde_json::to_value(ValuesConfig { num_atoms, num_quantiles }).unwrap();
        let spec = RLModuleSpec::default().model_config(config);
        MultiRLModuleSpec::shared::<Self>(["0", "1"].map(|id| (id, spec.clone())))
    }

    fn values(&self, [encoder, head]: [&Mlp; 2], batch: &Batch) -> ModuleResult<Batch> {
        let out = head.forward(encoder.forward(batch.float::<2>(Columns::OBS)?));
        let Some(distribution) = self.distribution else {
            return Ok(Batch::new().with(Columns::QF_PREDS, out));
        };
        let ([rows, outputs], atoms) = (out.dims(), distribution.num_atoms());
        let parameters = out.reshape([rows, outputs / atoms, atoms]);
        let q = distribution.expected_values(parameters.clone());
        Ok(Batch::new().with(distribution.column(), parameters).with(Columns::QF_PREDS, q))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesConfig {
    num_atoms: usize,
    num_quantiles: Option<usize>,
}

impl SharedRLModule for SharedValues {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let first = cx.first()?;
        let ValuesConfig { num_atoms, num_quantiles } = first.model_config()?;
        let distribution =
            ValueDistribution::from_settings(num_atoms, [0.0, 20.0], num_quantiles).unwrap();
        let atoms = distribution.map_or(1, |distribution| distribution.num_atoms());
        let encoder = || first.mlp(first.observation_space().flat_dim(), &[8], FEATURES);
        let heads = || {
            PerModule::build(cx, |cx| {
                Ok(cx.mlp(FEATURES, &[], cx.action_space().as_discrete()?.n() * atoms))
            })
        };
        Ok(Self {
            encoder: encoder(),
            qf: heads()?,
            target_encoder: encoder(),
            target_qf: heads()?,
            distribution,
        })
    }

    fn forward_train(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        self.compute_q_values(module_id, batch)
    }

    fn forward_exploration(
        &self,
        module_id: &str,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let q = self.compute_q_values(module_id, batch)?.float::<2>(Columns::QF_PREDS)?;
        Ok(Batch::new().with(Columns::ACTIONS, epsilon_greedy(&q, 0.2, cx)?))
    }

    fn as_q_net(&self) -> Option<&dyn SharedQNet> {
        Some(self)
    }

    fn as_distributional_q_net(&self) -> Option<&dyn SharedDistributionalQNet> {
        self.distribution.map(|_| self as &dyn SharedDistributionalQNet)
    }

    fn as_target_network(&self) -> Option<&dyn SharedTargetNetwork> {
        Some(self)
    }
}

impl SharedQNet for SharedValues {
    fn compute_q_values(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        self.values([&self.encoder, self.qf.get(module_id)?], batch)
    }
}

impl SharedDistributionalQNet for SharedValues {
    fn value_distribution(&self, _: &str) -> ValueDistribution {
        self.distribution.unwrap()
    }
}

impl SharedTargetNetwork for SharedValues {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("encoder", "target_encoder"), ("qf", "target_qf")]
    }

    fn forward_target(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        self.values([&self.target_encoder, self.target_qf.get(module_id)?], batch)
    }
}

/// The kind of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    /// A squashed Gaussian.
    Gaussian,
    /// A function of the observation.
    Deterministic,
    /// Probabilities of choices.
    Discrete,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CriticsConfig {
    policy: Policy,
    quantiles: usize,
}

/// A common encoder with policies and twin critics.
#[derive(Module, Debug)]
pub(super) struct SharedCritics {
    encoder: Mlp,
    pi: PerModule<Mlp>,
    qf: PerModule<Mlp>,
    target_encoder: Mlp,
    target_pi: PerModule<Mlp>,
    target_qf: PerModule<Mlp>,
    #[module(skip)]
    policy: Policy,
}

/// The number of critics.
const CRITICS: usize = 2;

impl SharedCritics {
    /// Returns the specs of two agents, whose critics estimate this many quantiles.
    pub(super) fn specs(policy: Policy, quantiles: usize) -> MultiRLModuleSpec {
        let config = serde_json::to_value(CriticsConfig { policy, quantiles }).unwrap();
        let spec = RLModuleSpec::default().model_config(config);
        MultiRLModuleSpec::shared::<Self>(["0", "1"].map(|id| (id, spec.clone())))
    }

    fn values(&self, [encoder, critics]: [&Mlp; 2], batch: &Batch) -> ModuleResult<Tensor<3>> {
        let features = encoder.forward(batch.float::<2>(Columns::OBS)?);
        let inputs = match self.policy {
            Policy::Discrete => features,
            _ => Tensor::cat(vec![features, batch.float::<2>(Columns::ACTIONS)?], 1),
        };
        let out = critics.forward(inputs);
        let [rows, outputs] = out.dims();
        Ok(out.reshape([rows, CRITICS, outputs / CRITICS]))
    }

    fn outputs(&self, module_id: &str, batch: &Batch) -> ModuleResult<Tensor<2>> {
        let features = self.encoder.forward(batch.float::<2>(Columns::OBS)?);
        Ok(self.pi.get(module_id)?.forward(features))
    }
}

fn unit(dim: usize) -> SquashedGaussian {
    SquashedGaussian::new(vec![-1.0; dim], vec![1.0; dim]).unwrap()
}

impl SharedRLModule for SharedCritics {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let first = cx.first()?;
        let CriticsConfig { policy, quantiles } = first.model_config()?;
        let encoder = || first.mlp(first.observation_space().flat_dim(), &[8], FEATURES);
        let policies = || {
            PerModule::build(cx, |cx| {
                let dim = cx.action_space().flat_dim();
                let outputs = if policy == Policy::Gaussian { 2 * dim } else { dim };
                Ok(cx.mlp(FEATURES, &[], outputs))
            })
        };
        let critics = || {
            PerModule::build(cx, |cx| {
                let dim = cx.action_space().flat_dim();
                Ok(match policy {
                    Policy::Discrete => cx.mlp(FEATURES, &[8], CRITICS * dim),
                    _ => cx.mlp(FEATURES + dim, &[8], CRITICS * quantiles),
                })
            })
        };
        Ok(Self {
            encoder: encoder(),
            pi: policies()?,
            qf: critics()?,
            target_encoder: encoder(),
            target_pi: policies()?,
            target_qf: critics()?,
            policy,
        })
    }

    fn forward_train(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let outputs = self.outputs(module_id, batch)?;
        Ok(match self.policy {
            Policy::Deterministic => {
                Batch::new().with(Columns::ACTIONS, Column::from(AnyTensor::from(outputs.tanh())))
            }
            _ => Batch::new().with(Columns::ACTION_DIST_INPUTS, outputs),
        })
    }

    fn action_distribution(_: &str, cx: &ModuleContext<'_>) -> ModuleResult<Arc<dyn Distribution>> {
        match cx.action_space() {
            Space::Box(space) => Ok(Arc::new(unit(space.size()))),
            space => Ok(cx.catalog().action_distribution(space)?),
        }
    }

    fn as_action_critic(&self) -> Option<&dyn SharedActionCritic> {
        Some(self)
    }

    fn as_stochastic_policy(&self) -> Option<&dyn SharedStochasticPolicy> {
        (self.policy == Policy::Gaussian).then_some(self)
    }

    fn as_deterministic_policy(&self) -> Option<&dyn SharedDeterministicPolicy> {
        (self.policy == Policy::Deterministic).then_some(self)
    }

    fn as_target_network(&self) -> Option<&dyn SharedTargetNetwork> {
        Some(self)
    }
}

impl SharedActionCritic for SharedCritics {
    fn compute_action_values(&self, module_id: &str, batch: &Batch) -> ModuleResult<Tensor<3>> {
        self.values([&self.encoder, self.qf.get(module_id)?], batch)
    }
}

impl SharedStochasticPolicy for SharedCritics {
    fn rsample(
        &self,
        module_id: &str,
        batch: &Batch,
        noise: Tensor<2>,
    ) -> ModuleResult<(Tensor<2>, Tensor<1>)> {
        let [_, dim] = noise.dims();
        Ok(unit(dim).rsample_and_logp(self.outputs(module_id, batch)?, noise)?)
    }
}

impl SharedDeterministicPolicy for SharedCritics {
    fn compute_actions(&self, module_id: &str, batch: &Batch) -> ModuleResult<Tensor<2>> {
        Ok(self.outputs(module_id, batch)?.tanh())
    }

    fn compute_target_actions(&self, module_id: &str, batch: &Batch) -> ModuleResult<Tensor<2>> {
        let features = self.target_encoder.forward(batch.float::<2>(Columns::OBS)?);
        Ok(self.target_pi.get(module_id)?.forward(features).tanh())
    }
}

impl SharedTargetNetwork for SharedCritics {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("encoder", "target_encoder"), ("pi", "target_pi"), ("qf", "target_qf")]
    }

    fn forward_target(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let values = self.values([&self.target_encoder, self.target_qf.get(module_id)?], batch)?;
        Ok(Batch::new().with(Columns::QF_PREDS, values))
    }
}
