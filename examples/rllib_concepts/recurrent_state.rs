//! `get_initial_state`, `state_in_0`, `state_out_0`: a module that counts the steps of its episode.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::AlgorithmConfig;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// A policy that sees the time. The time is its state, not a part of the observation.
#[derive(Module, Debug)]
struct Counting {
    policy: Mlp,
}

impl RLModule for Counting {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim() + 1, &[16], actions) })
    }

    /// Names each part of the state; RLlib's parts are `state_in_0`, `state_in_1`, ….
    fn initial_state(&self) -> ModuleResult<Option<Buffer>> {
        Ok(Some(Buffer::from_dict([("t", Buffer::from_f32(vec![0.0], &[1])?)])?))
    }

    fn max_seq_len(&self) -> usize {
        5
    }

    /// Rows are sequences of `T` steps, one after the other. Each starts from its own state. `T` is 1 while
    /// the module acts.
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let observations = batch.float::<2>(Columns::OBS)?;
        let first = batch.nested(Columns::STATE_IN)?.float::<2>("t")?;
        let (rows, device) = (observations.dims()[0], observations.device());
        let steps = rows / first.dims()[0];
        let later =
            Tensor::<1, Int>::arange(0..steps as i64, &device).float().unsqueeze_dim::<2>(0);
        let t = (first.clone() + later).reshape([rows, 1]);
        let input = Tensor::cat(vec![observations, t.clone() / 100.0], 1);
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, self.policy.forward(input))
            .with(Columns::STATE_OUT, Batch::new().with("t", first + steps as f32))
            .with("steps_before", t.squeeze_dim::<1>(1)))
    }
}

/// Trains with the state, and compares it with the steps that the module recorded while it acted.
pub(crate) fn a_state_that_counts() -> Result<(), Box<dyn Error>> {
    let config = AlgorithmConfig::from_loss("Counting", |cx, batch| {
        Ok(cx.mean(cx.logp()? * batch.float::<1>(Columns::REWARDS)?)?.neg())
    })
    .stats(|cx, batch| {
        let first = batch.nested(Columns::STATE_IN)?.float::<2>("t")?;
        let error = cx.outputs()?.float::<1>("steps_before")? - batch.float::<1>("steps_before")?;
        let counts = cx.mask()?.unwrap_or_else(|| error.ones_like());
        Ok(vec![("state_error", (error * counts).abs().max()), ("last_start", first.max())])
    })
    .rl_module(RLModuleSpec::of::<Counting>())
    .environment("CartPole-v1")
    .training(|t| t.train_batch_size(200))
    .seed(0);
    let result = config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    let metric = |name: &str| result.get(&format!("learners/default_policy/{name}"));
    // Training computes the same counts as acting, from states in the middle of episodes too.
    assert_eq!(metric("state_error"), Some(0.0));
    assert!(metric("last_start").is_some_and(|t| t >= 5.0 && t % 5.0 == 0.0), "{result}");
    Ok(())
}
