//! Forward passes and training steps of MLPs: rekindle's side of `mlp-forward` and `mlp-train` in
//! `cargo xtask compare`.

use burn::prelude::*;
use clap::ValueEnum;
use rekindle::catalog::ModelBuilder;
use rekindle::core::rng::{Purpose, stream};
use rekindle::learner::{Gradients, Optimizer};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, rate, report, sizes};

/// Runs MLPs 4 → H → H → 2 (tanh) and prints rows per second as JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Operation on each batch
    #[arg(long, default_value = "forward")]
    what: What,
    /// HIDDENxBATCH of each case: width of the hidden layers, rows per batch
    #[arg(long, value_delimiter = ',', default_value = "64x1,64x128")]
    cases: Vec<String>,
    /// Seconds to measure each case
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Seed of the parameters
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// A forward pass whose outputs the host reads
    Forward,
    /// Forward pass, mean square, backward pass and a step of Adam
    Train,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    for case in &args.cases {
        let [hidden, batch] = sizes(case)?;
        let rng = stream(args.seed, 0, 0, Purpose::Init);
        let inputs: Vec<f32> = (0..4 * batch).map(|i| (i as f32).sin()).collect();
        let inputs = TensorData::new(inputs, [batch, 4]);
        let config = MlpConfig::new(4, &[hidden, hidden], Some(2));
        let value = match args.what {
            What::Forward => {
                let mlp = config.build(&ModelBuilder::new(&device, rng));
                let inputs = Tensor::<2>::from_data(inputs, &device);
                measure(args.seconds, batch, || {
                    let _read = mlp.forward(inputs.clone()).into_data();
                    Ok(())
                })?
            }
            What::Train => {
                let device = device.clone().autodiff();
                let mut mlp = Some(config.build(&ModelBuilder::new(&device, rng)).train());
                let inputs = Tensor::<2>::from_data(inputs, &device);
                let mut optimizer = Optimizer::new(OptimizerConfig::default());
                measure(args.seconds, batch, || {
                    let module = mlp.take().ok_or("the previous step failed")?;
                    let loss = module.forward(inputs.clone()).square().mean();
                    let gradients = Gradients::take(&module, &mut loss.backward());
                    let (module, outcome) = optimizer.step(1e-4, None, module, gradients);
                    mlp = Some(module);
                    Ok(outcome?)
                })?
            }
        };
        report(case, value, None);
    }
    Ok(())
}

/// Measures rows per second, after a warm-up of a tenth of a second.
fn measure(seconds: f64, batch: usize, mut step: impl FnMut() -> Outcome) -> Outcome<f64> {
    // Several steps per reading of the clock, so that reading it costs nothing.
    let count = usize::max(1, 1024 / batch);
    let mut steps = || {
        for _ in 0..count {
            step()?;
        }
        Ok((count * batch) as u64)
    };
    rate(seconds.min(0.1), &mut steps)?;
    rate(seconds, steps)
}
