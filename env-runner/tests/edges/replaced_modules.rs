//! Replacing a module by one of any type and size while its agents are in mid-episode.

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::Mlp;
use rekindle_core::{Batch, Columns};
use rekindle_env_runner::{Amount, EnvRunner, EnvRunnerConfig, Experience, SampleOptions};
use rekindle_rl_module::{ModuleContext, RLModule, RLModuleSpec, Result};

use crate::support::{all, mlp, open, set_modules};

/// Returns the first action, without a distribution.
#[derive(Module, Debug)]
struct Heuristic {
    unused: Mlp,
}

impl RLModule for Heuristic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: cx.mlp(1, &[], 1) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let rows = batch.column(Columns::OBS)?.rows();
        Ok(Batch::new().with(Columns::ACTIONS, Tensor::<1, Int>::zeros([rows], &Device::flex())))
    }
}

fn lstm(cells: usize) -> RLModuleSpec {
    let settings = serde_json::json!({
        "fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": cells,
    });
    RLModuleSpec::default().model_config(settings)
}

fn collect(runner: &mut dyn EnvRunner) -> Experience {
    runner.collect(Amount::Timesteps(7), SampleOptions::default()).unwrap()
}

/// Checks for a learner's needs: one kind of rows per module, with all columns.
fn check(experience: &Experience, probabilities: bool, cells: Option<usize>) {
    for rollout in experience.rollouts.values().flatten() {
        let rows = rollout.rewards.len();
        assert!(rows > 0);
        assert_eq!([rollout.observations.rows(), rollout.actions.rows()], [rows, rows]);
        for name in [Columns::ACTION_LOGP, Columns::ACTION_DIST_INPUTS] {
            let column = rollout.extras.get(name);
            assert_eq!(column.map(|column| column.rows()), probabilities.then_some(rows), "{name}");
        }
        let states = rollout.states.as_ref();
        assert_eq!(states.map(|states| states.state_in.rows()), cells.map(|_| rows));
        let widths = states.map(|states| states.state_in.leaves()[0].1.as_f32().unwrap().len());
        assert!(widths.is_none_or(|len| len % (rows * cells.unwrap()) == 0));
        assert_eq!(
            states.map(|states| states.final_states.rows()),
            cells.map(|_| rollout.segments.len())
        );
    }
}

#[test]
fn rows_of_another_module_are_cut_cleanly() {
    let all_agents = ["TicTacToe-v0", "RockPaperScissors-v0", "CartPole-v1"];
    for env in all_agents {
        let multi_agent = (env != "CartPole-v1")
            .then(|| rekindle_env_runner::MultiAgentConfig::default().policy_mapping(all("p")));
        let config = EnvRunnerConfig::new(env).num_envs(3).multi_agent(multi_agent);
        if env == "TicTacToe-v0" {
            // The first action is soon taken: the heuristic cannot play to the end.
            for sizes in [[None, Some(4)], [Some(4), Some(8)], [Some(8), None]] {
                let mut runner = open(config.clone());
                let spec = |size: Option<usize>| size.map_or_else(mlp, lstm);
                for size in sizes {
                    set_modules(&mut *runner, &spec(size));
                    check(&collect(&mut *runner), true, size);
                    check(&collect(&mut *runner), true, size);
                }
            }
            continue;
        }
        let heuristic = RLModuleSpec::of::<Heuristic>();
        let mut runner = open(config);
        for (spec, probabilities, cells) in [
            (mlp(), true, None),
            (heuristic.clone(), false, None),
            (lstm(4), true, Some(4)),
            (lstm(8), true, Some(8)),
            (heuristic, false, None),
            (mlp(), true, None),
        ] {
            set_modules(&mut *runner, &spec);
            check(&collect(&mut *runner), probabilities, cells);
            check(&collect(&mut *runner), probabilities, cells);
        }
    }
}

/// The network does not learn from moves of the replaced heuristic whose outcome was open.
#[test]
fn open_actions_of_a_replaced_module_are_not_recorded() {
    use crate::support::{bin, game};
    // Both agents act in turn: one action is always open.
    let config = game("edges/Turns-v0", &["a", "b"], bin(), all("p"), |_, t, _, out| {
        out.observe(t % 2)?.write_f32(&[t as f32])
    });
    let heuristic = RLModuleSpec::of::<Heuristic>();
    for (first, second, probabilities) in
        [(heuristic.clone(), mlp(), true), (mlp(), heuristic, false)]
    {
        let mut runner = open(config.clone());
        set_modules(&mut *runner, &first);
        collect(&mut *runner);
        set_modules(&mut *runner, &second);
        let experience = collect(&mut *runner);
        check(&experience, probabilities, None);
        let rollout = &experience.rollouts["p"][0];
        // Seven actions, the last of each agent open; the open ones of the first call are gone.
        let steps: Vec<_> = rollout.segments.iter().map(|s| (s.t_started, s.len)).collect();
        assert_eq!(steps, [(4, 3), (3, 3)]);
    }
}
