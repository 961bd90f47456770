//! Updates of Stable-Baselines3's SAC and TD3 and of sb3-contrib's TQC: losses and gradients of every step.
//!
//! Recorded by `scripts/parity/record_sb3_off_policy.py`. Noise is that of the same generator on both sides.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle::algorithms::sac::SacLoss;
use rekindle::algorithms::{SacTraining, Td3Training, TqcTraining, TrainingConfig};
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use rekindle::rl_module::{DeterministicActorCritic, SoftActorCritic};
use serde_json::json;

use crate::support::{Recorded, assert_weights_close, cpu, present_gradients};

/// The temperature of the recorded updates.
const LOG_ALPHA: f32 = -0.7;

struct Update {
    recorded: Recorded,
    module: AnyRLModule,
    loss: Box<dyn Loss>,
    rng: Generator,
    log_alpha: Tensor<1>,
}

impl Update {
    fn new(name: &str, spec: RLModuleSpec, loss: Box<dyn Loss>) -> Self {
        let recorded = Recorded::read(name);
        let device = cpu().autodiff();
        let mut module = spec
            .observation_space(Space::unbounded(&[3]).unwrap())
            .action_space(Space::boxed(-1.0, 1.0, &[2]).unwrap())
            .build(&device)
            .unwrap();
        module.load_state_dict(&recorded.part("state")).unwrap();
        let log_alpha = Tensor::from_floats([LOG_ALPHA], &device).require_grad();
        Self { recorded, module, loss, rng: Generator::from_seed(7), log_alpha }
    }

    /// Checks one phase: its loss, and the gradients of the parameters with a prefix.
    fn phase(&mut self, phase: usize, name: &str, prefixes: &[&str]) {
        let device = cpu().autodiff();
        let mut batch = Batch::new();
        for (column, from) in [
            (Columns::OBS, "obs"),
            (Columns::NEXT_OBS, "next_obs"),
            (Columns::ACTIONS, "actions"),
            (Columns::REWARDS, "rewards"),
            (Columns::DISCOUNTS, "discounts"),
        ] {
            batch.insert(column, self.recorded.tensor(from, &device));
        }
        let scalars = BTreeMap::from([(SacLoss::LOG_ALPHA.to_owned(), self.log_alpha.clone())]);
        let at = PrepareContext::new("a", &self.module, &device);
        let mut cx = LossContext::new(at, &batch, &scalars, &mut self.rng);
        cx.phase = phase;
        let total = self.loss.compute(&cx).unwrap().total;
        self.recorded.check(&format!("{name}_loss"), total.clone());
        let mut tape = total.backward();
        if name == "alpha" {
            self.recorded.check("alpha_grad", self.log_alpha.grad(&tape).unwrap());
            return;
        }
        let found = present_gradients(&self.module, &mut tape);
        let of_phase = |name: &String| {
            prefixes
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|n| n.starts_with('.')))
        };
        let expected = self.recorded.part("grad");
        let expected: BTreeMap<_, _> = expected.into_iter().filter(|(n, _)| of_phase(n)).collect();
        assert!(!expected.is_empty());
        // No other parameter has a gradient.
        assert_weights_close(&found, &expected);
    }

    /// Takes over the critics after their recorded step.
    fn step_critics(&mut self) {
        let stepped = self.recorded.part("stepped");
        let report = self.module.load_matching(&stepped).unwrap();
        assert_eq!(report.loaded.len(), stepped.len());
    }

    fn check(mut self, temperature: bool) {
        self.acts_alike();
        self.phase(0, "critic", &["qf"]);
        self.step_critics();
        self.phase(1, "actor", &["encoder", "pi"]);
        if temperature {
            self.phase(2, "alpha", &[]);
        }
    }

    /// Compares greedy actions.
    fn acts_alike(&self) {
        let obs = self.recorded.tensor("obs", &cpu());
        let batch = Batch::new().with(Columns::OBS, obs);
        let out = self.module.forward_inference(&batch).unwrap();
        let actions = match out.contains(Columns::ACTIONS) {
            true => out.float::<2>(Columns::ACTIONS).unwrap(),
            false => out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap().narrow(1, 0, 2).tanh(),
        };
        assert_eq!(to_f32(actions.clone()).unwrap().len(), 32);
        self.recorded.check("greedy", actions);
    }
}

fn model(more: serde_json::Value) -> serde_json::Value {
    let mut all = json!({ "fcnet_hiddens": [8], "fcnet_activation": "relu" });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn sacs_losses_and_gradients_are_those_of_sb3() {
    let spec = RLModuleSpec::of::<SoftActorCritic>().model_config(model(json!({})));
    Update::new("sb3_sac", spec, SacTraining::default().loss()).check(true);
}

#[test]
fn tqcs_losses_and_gradients_are_those_of_sb3_contrib() {
    let spec = RLModuleSpec::of::<SoftActorCritic>();
    let spec = spec.model_config(model(json!({ "num_quantiles": 5 })));
    let config = TqcTraining::default().num_quantiles(5).top_quantiles_to_drop_per_critic(1);
    Update::new("sb3_tqc", spec, config.loss()).check(true);
}

#[test]
fn td3s_losses_and_gradients_are_those_of_sb3() {
    let spec = RLModuleSpec::of::<DeterministicActorCritic>().model_config(model(json!({})));
    Update::new("sb3_td3", spec, Td3Training::default().policy_delay(1).loss()).check(false);
}
