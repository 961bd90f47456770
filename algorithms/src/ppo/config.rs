//! The settings that only PPO has.

use std::collections::BTreeMap;

use rekindle_core::ModuleId;
use rekindle_learner::{GradClipBy, LearnerConfig, Objective, OptimizerConfig, Schedule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PpoObjective;
use crate::{AlgorithmError, Result, TrainingConfig};

/// PPO's settings; defaults are RLlib's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoTraining {
    /// Learning rate, over environment steps.
    pub lr: Schedule,
    /// Discount per step.
    pub gamma: f64,
    /// λ of generalised advantage estimation: 0 trusts the value function, 1 the returns.
    pub lambda_: f64,
    /// Environment steps of an update.
    pub train_batch_size: usize,
    /// Passes over the batch.
    pub num_epochs: usize,
    /// Rows of a minibatch; `None` takes the whole batch at once.
    pub minibatch_size: Option<usize>,
    /// Whether each pass goes through the rows in a new random order.
    pub shuffle_batch_per_epoch: bool,
    /// Whether a value function serves as baseline. Without, advantages are returns, and the
    /// module needs no value function.
    pub use_critic: bool,
    /// Whether advantages are generalised advantage estimates; otherwise returns minus values.
    pub use_gae: bool,
    /// Whether the divergence from the old policy is penalised.
    pub use_kl_loss: bool,
    /// Initial weight of that penalty; it adapts to `kl_target`.
    pub kl_coeff: f64,
    /// Divergence that the weight of the penalty adapts to.
    pub kl_target: f64,
    /// Weight of the value loss.
    pub vf_loss_coeff: f64,
    /// Weight of the entropy bonus, over environment steps.
    pub entropy_coeff: Schedule,
    /// The ratio of new to old probability counts up to 1 ± this.
    pub clip_param: f64,
    /// Bound on the squared error of the value function; infinity (`null` in JSON) for none. Scale
    /// it with the squared scale of the returns.
    #[serde(with = "infinite")]
    pub vf_clip_param: f64,
    /// Bound on gradients; `None` does not clip.
    pub grad_clip: Option<f64>,
    /// What `grad_clip` bounds.
    pub grad_clip_by: GradClipBy,
    /// The rule that turns gradients into steps.
    pub optimizer: OptimizerConfig,
}

impl Default for PpoTraining {
    fn default() -> Self {
        Self {
            lr: Schedule::Constant(5e-5),
            gamma: 0.99,
            lambda_: 1.0,
            train_batch_size: 4000,
            num_epochs: 30,
            minibatch_size: Some(128),
            shuffle_batch_per_epoch: true,
            use_critic: true,
            use_gae: true,
            use_kl_loss: true,
            kl_coeff: 0.2,
            kl_target: 0.01,
            vf_loss_coeff: 1.0,
            entropy_coeff: Schedule::Constant(0.0),
            clip_param: 0.3,
            vf_clip_param: 10.0,
            grad_clip: None,
            grad_clip_by: GradClipBy::GlobalNorm,
            optimizer: OptimizerConfig::default(),
        }
    }
}

/// Builder methods named after their fields.
macro_rules! setters {
    ($($doc:literal $field:ident: $ty:ty;)*) => {
        $(#[doc = $doc]
        #[must_use]
        pub fn $field(mut self, $field: $ty) -> Self {
            self.$field = $field.into();
            self
        })*
    };
}

#[allow(clippy::useless_conversion, reason = "some setters convert, all share one macro")]
impl PpoTraining {
    setters! {
        "Sets the learning rate: a number, or points over environment steps."
        lr: impl Into<Schedule>;
        "Sets the discount per step."
        gamma: f64;
        "Sets λ of generalised advantage estimation."
        lambda_: f64;
        "Sets the environment steps of an update."
        train_batch_size: usize;
        "Sets the passes over the batch."
        num_epochs: usize;
        "Sets the rows of a minibatch; `None` takes the whole batch at once."
        minibatch_size: impl Into<Option<usize>>;
        "Sets whether each pass goes through the rows in a new random order."
        shuffle_batch_per_epoch: bool;
        "Sets whether a value function serves as baseline."
        use_critic: bool;
        "Sets whether advantages are generalised advantage estimates."
        use_gae: bool;
        "Sets whether the divergence from the old policy is penalised."
        use_kl_loss: bool;
        "Sets the initial weight of that penalty."
        kl_coeff: f64;
        "Sets the divergence that the weight adapts to."
        kl_target: f64;
        "Sets the weight of the value loss."
        vf_loss_coeff: f64;
        "Sets the weight of the entropy bonus: a number, or points over environment steps."
        entropy_coeff: impl Into<Schedule>;
        "Sets how far the ratio of probabilities counts."
        clip_param: f64;
        "Sets the bound on the squared error of the value function."
        vf_clip_param: f64;
        "Sets the bound on gradients; `None` does not clip."
        grad_clip: impl Into<Option<f64>>;
        "Sets what `grad_clip` bounds."
        grad_clip_by: GradClipBy;
        "Sets the rule that turns gradients into steps."
        optimizer: OptimizerConfig;
    }
}

impl TrainingConfig for PpoTraining {
    const NAME: &'static str = "PPO";

    fn validate(&self) -> Result<()> {
        let refuse = |field, value: f64, constraint: &str| {
            let (value, constraint) = (value.to_string(), constraint.into());
            Err(AlgorithmError::InvalidConfig { field, value, constraint })
        };
        for (field, value) in [("gamma", self.gamma), ("lambda_", self.lambda_)] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(field, value, "it must be between 0 and 1");
            }
        }
        for (field, value) in [
            ("clip_param", self.clip_param),
            ("kl_target", self.kl_target),
            ("vf_clip_param", self.vf_clip_param),
        ] {
            if value.is_nan() || value <= 0.0 {
                return refuse(field, value, "it must be positive");
            }
        }
        for (field, value) in [("kl_coeff", self.kl_coeff), ("vf_loss_coeff", self.vf_loss_coeff)] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(field, value, "it must be finite and not negative");
            }
        }
        if self.train_batch_size == 0 {
            return refuse("train_batch_size", 0.0, "an update needs at least one step");
        }
        if let Some(size) = self.minibatch_size
            && size > self.train_batch_size
        {
            return refuse(
                "minibatch_size",
                size as f64,
                &format!("a minibatch is at most the batch of {} steps", self.train_batch_size),
            );
        }
        self.entropy_coeff.validate("entropy_coeff")?;
        Ok(self.learner(0).validate()?)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self, seed: u64) -> LearnerConfig {
        LearnerConfig {
            lr: self.lr.clone(),
            grad_clip: self.grad_clip,
            grad_clip_by: self.grad_clip_by,
            num_epochs: self.num_epochs,
            minibatch_size: self.minibatch_size,
            shuffle_batch_per_epoch: self.shuffle_batch_per_epoch,
            optimizer: self.optimizer,
            seed,
            policies_to_train: None,
            modules: BTreeMap::new(),
        }
    }

    fn objective(&self, modules: BTreeMap<ModuleId, Self>) -> Box<dyn Objective> {
        Box::new(PpoObjective::new(self.clone()).with_modules(modules))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(false))])
    }
}

/// JSON has no infinity: it is written as `null`.
mod infinite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(value).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or(f64::INFINITY))
    }
}
