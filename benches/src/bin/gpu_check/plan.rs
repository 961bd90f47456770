//! The parts in their order, with their time limits.

use std::time::Duration;

/// Parts that share an allowance of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Correctness,
    Measurement,
}

impl Phase {
    /// The time that all parts together may take.
    pub(crate) fn limit(self, toy: bool) -> Duration {
        let seconds = match self {
            Self::Correctness => 240,
            Self::Measurement => 300,
        };
        Duration::from_secs(seconds * slowness(toy))
    }
}

/// What a part runs.
#[derive(Debug)]
pub(crate) enum Call {
    /// A subcommand of this program, with its arguments.
    Own(Vec<String>),
    /// A Python program that needs a package.
    Python { package: &'static str, args: Vec<String> },
}

/// Programs that run at the same time under one limit.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) phase: Phase,
    pub(crate) limit: Duration,
    pub(crate) calls: Vec<Call>,
}

/// Vulkan in software is the slowest device that this is tried on.
fn slowness(toy: bool) -> u64 {
    if toy { 6 } else { 1 }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// Returns the parts. `toy` sizes say that the programs run, and nothing of speed.
pub(crate) fn plan(toy: bool, torch_device: &str) -> Vec<Part> {
    let part = |name, phase, seconds: u64, calls| {
        let limit = Duration::from_secs(seconds * slowness(toy));
        Part { name, phase, limit, calls }
    };
    let own = |command: &str| vec![Call::Own(words(command))];
    let python = |package, command: String| vec![Call::Python { package, args: words(&command) }];
    let sized = |full: &'static str, small: &'static str| if toy { small } else { full };
    // Compilation of kernels takes most of the time, and one core each.
    let shares: &[&str] = if toy { &["0/1"] } else { &["0/4", "1/4", "2/4", "3/4"] };
    let compare = |what: &str| {
        let call =
            |share: &&str| Call::Own(words(&format!("compare --what {what} --share {share}")));
        shares.iter().map(call).collect::<Vec<_>>()
    };
    let torch = |mode: &str| {
        let sizes = sized(
            "--cases mlp-4096,mlp-32768,cnn-256,cnn-1024,cnn_bf16-256,cnn_bf16-1024",
            "--cases mlp-16,cnn-2 --minibatches 2 --seconds 0",
        );
        let program = "scripts/gpu-check.d/update_torch.py";
        python("torch", format!("{program} --device {torch_device} --mode {mode} {sizes}"))
    };
    let toy_learn = "--num-envs 4 --episodes 2 --toy";
    let (correct, measure) = (Phase::Correctness, Phase::Measurement);
    vec![
        part("compare", correct, 120, compare("parts")),
        part("steps", correct, 60, compare("steps")),
        part(
            "learn-cartpole",
            correct,
            60,
            match toy {
                true => {
                    own(&format!("learn --env cartpole {toy_learn} --rollout 32 --max-steps 128"))
                }
                false => own("learn --env cartpole"),
            },
        ),
        part(
            "learn-pendulum",
            correct,
            60,
            match toy {
                true => {
                    own(&format!("learn --env pendulum {toy_learn} --rollout 200 --max-steps 800"))
                }
                false => own("learn --env pendulum"),
            },
        ),
        part("launches", measure, 20, own(sized("launches", "launches --cases mlp-16,cnn-2"))),
        part("peaks", measure, 15, own(sized("peaks", "peaks --side 64 --times 2"))),
        part(
            "rollouts",
            measure,
            30,
            own(sized(
                "rollouts",
                "rollouts --num-envs 8 --rollout 4 --minibatch-size 16 --epochs 1 --seconds 0",
            )),
        ),
        part(
            "update",
            measure,
            90,
            own(sized("update", "update --cases mlp-16,cnn-2 --minibatches 2 --seconds 0")),
        ),
        part("update-eager", measure, 45, torch("eager")),
        part("update-compiled", measure, 90, torch("compile")),
        part("sac", measure, 25, own(sized("sac", "sac --hidden 16 --steps 104 --seconds 0"))),
        part(
            "sac-sb3",
            measure,
            25,
            python(
                "stable_baselines3",
                format!(
                    "xtask/peers/off_policy_sb3.py --device {torch_device} --cases sac-256 --seconds {}",
                    sized("4", "0")
                ),
            ),
        ),
    ]
}
