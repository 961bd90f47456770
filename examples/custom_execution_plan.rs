//! A custom execution plan: PPO's, written from operators, with a warning about the scale of rewards. A3C's
//! plan replaces it, and both continue exactly from a checkpoint.
//!
//! `cargo run --release --example custom_execution_plan`

#[path = "common/program.rs"]
mod program;

use rekindle::algorithms::{AlgorithmError, AsyncGradients};
use rekindle::prelude::*;

/// PPO's plan: collect a batch, select what can be trained, standardize, learn, publish, report.
#[derive(Debug, Clone)]
pub(crate) struct PpoPlan {
    train_batch_size: usize,
    /// The largest value target so far.
    largest_target: f32,
}

impl PpoPlan {
    pub(crate) fn new(train_batch_size: usize) -> Self {
        Self { train_batch_size, largest_target: 0.0 }
    }

    /// Reports the largest value target so far, and warns when it has grown beyond a sensible scale of rewards,
    /// as the plan of RLlib's PPO does.
    fn warn_about_bad_reward_scales(
        &mut self,
        cx: &mut TrainingContext<'_>,
        data: &rekindle::learner::ModuleData,
    ) -> Result<(), AlgorithmError> {
        for (id, data) in data {
            let targets = data.as_f32(Columns::VALUE_TARGETS)?;
            let largest = targets.iter().fold(0f32, |largest, target| largest.max(target.abs()));
            if largest > self.largest_target.max(1e4) {
                eprintln!("value targets of `{id}` reach {largest}: scale the rewards");
            }
            self.largest_target = self.largest_target.max(largest);
        }
        let largest = f64::from(self.largest_target);
        Ok(cx.metrics.log_value("largest_value_target", largest, Reducer::Item)?)
    }
}

// ANCHOR: plan
impl ExecutionPlan for PpoPlan {
    fn name(&self) -> &str {
        "PpoPlan"
    }

    fn training_step(
        &mut self,
        cx: &mut TrainingContext<'_>,
    ) -> Result<StepReport, AlgorithmError> {
        // 1. Sample until the batch is large enough, and merge the filters of the runners.
        let experience = cx.sample(self.train_batch_size)?;
        // 2. Select the modules that learn, and add advantages.
        let mut data = cx.prepare(&experience)?;
        // 3. Standardize named columns.
        for data in data.values_mut() {
            data.standardize(Columns::ADVANTAGES)?;
        }
        self.warn_about_bad_reward_scales(cx, &data)?;
        // 4. Epochs of minibatches. The KL coefficient adapts at the end, and metrics are collected.
        cx.learn(data)?;
        // 5. Act with the new weights.
        cx.publish_weights()?;
        Ok(StepReport::of(&experience))
    }

    // What the plan keeps between steps is part of checkpoints. The state of a new plan is empty.
    fn get_state(&self) -> Result<State, AlgorithmError> {
        Ok(State::from_data(&self.largest_target)?)
    }

    fn set_state(&mut self, state: &State) -> Result<(), AlgorithmError> {
        self.largest_target = if state.is_empty() { 0.0 } else { state.data_as()? };
        Ok(())
    }
}
// ANCHOR_END: plan

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(4))
        .training(|t| t.lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6))
        .seed(0)
}

/// Trains for `iterations`, saves, and compares three more iterations with those of the restored algorithm.
/// Returns the last mean return, and whether learners and plans are equal.
pub(crate) fn train(
    plan: impl ExecutionPlan + Clone + Sync + 'static,
    iterations: usize,
) -> Result<(f64, bool), MainError> {
    let device = DeviceSpec::Cpu.open()?;
    let folder = std::path::PathBuf::from("runs/custom_execution_plan");
    let name = plan.name().to_owned();
    let with_plan = |config: PpoConfig| config.with_execution_plan(plan);
    let mut algo = with_plan.clone()(config()).build(&device)?;
    for _ in 0..iterations {
        algo.train()?;
    }
    algo.save_to_path(folder.join(&name))?;
    let path = folder.join(&name);
    let mut resumed = Algorithm::from_checkpoint_with::<PpoTraining>(path, &device, with_plan)?;
    let mut mean = f64::NAN;
    for _ in 0..3 {
        mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(mean);
        resumed.train()?;
    }
    let equal = algo.learner().get_state()? == resumed.learner().get_state()?
        && algo.execution_plan().get_state()? == resumed.execution_plan().get_state()?;
    println!("{name}: mean return {mean:.1} after {} steps, equal: {equal}", algo.env_steps());
    Ok((mean, equal))
}

fn main() -> Result<(), MainError> {
    program::show_warnings();
    program::no_arguments(
        "custom_execution_plan",
        "Trains PPO on CartPole with a custom execution plan, and with A3C's.",
    );
    train(PpoPlan::new(1024), 30)?;
    train(AsyncGradients::new(32).deterministic(true), 10)?;
    Ok(())
}
