//! Mappings from agents to modules that act in other spaces, and mappings of unknown agents.

use std::collections::BTreeMap;

use rekindle_env::{
    AgentSpec, EnvConfig, MultiAgentActions, MultiAgentEnv, MultiAgentEnvSpec, MultiAgentStep,
    ResetOptions, Result, Space, register_multi_agent,
};
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, MultiAgentConfig, PolicyMapping, PublishedAt, RunnerError,
    SampleOptions,
};

use crate::support::{bin, game, mlp, one, open, random, set_modules};

/// Agents who all see zeros for three steps, each in its own spaces.
struct Unequal(Vec<AgentSpec>, usize);

impl MultiAgentEnv for Unequal {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.0
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        self.1 = 0;
        self.step(&MultiAgentActions::new(&self.0), out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        for agent in 0..self.0.len() {
            let width = self.0[agent].observation_space.flat_dim();
            out.observe(agent)?.write_f32(&vec![0.0; width])?;
        }
        if self.1 == 3 {
            out.terminate_all();
        }
        self.1 += 1;
        Ok(())
    }
}

/// Registers an environment with the agents `a` and `b` of these observations and actions.
fn unequal(id: &'static str, a: [Space; 2], b: [Space; 2]) -> EnvRunnerConfig {
    let agents: Vec<_> = [("a", a), ("b", b)]
        .map(|(id, [observations, actions])| AgentSpec::new(id, observations, actions))
        .into();
    let make = move |_: &EnvConfig| Ok(Unequal(agents.clone(), 0));
    register_multi_agent(MultiAgentEnvSpec::new(id, make)).unwrap();
    let multi_agent = MultiAgentConfig::default().policy_mapping(PolicyMapping::ByAgent);
    EnvRunnerConfig::new(id).multi_agent(multi_agent)
}

fn table<const N: usize>(pairs: [(&str, &str); N]) -> PolicyMapping {
    let pairs = pairs.map(|(agent, module)| (agent.into(), module.into()));
    PolicyMapping::Table(BTreeMap::from(pairs))
}

fn torque(bound: f32) -> Space {
    Space::boxed(-bound, bound, &[1]).unwrap()
}

#[test]
fn an_agent_is_not_mapped_to_a_module_that_acts_in_other_spaces() {
    let wide = Space::unbounded(&[2]).unwrap();
    let choice = |n| Space::discrete(n).unwrap();
    for (config, field) in [
        (unequal("edges/Torques-v0", [one(), torque(1.0)], [one(), torque(100.0)]), "action space"),
        (unequal("edges/Choices-v0", [one(), choice(2)], [one(), choice(5)]), "action space"),
        (unequal("edges/Widths-v0", [one(), bin()], [wide, bin()]), "observation space"),
    ] {
        let mut runner = open(config);
        set_modules(&mut *runner, &mlp());
        runner.collect(Amount::Timesteps(5), SampleOptions::default()).unwrap();
        let before = runner.get_state().unwrap();
        for (mapping, module, agents) in [
            (table([("a", "b"), ("b", "a")]), "module `a`", "[b]"),
            (table([("a", "b"), ("b", "new")]), "module `b`", "[a]"),
        ] {
            let multi_agent = MultiAgentConfig::default().policy_mapping(mapping);
            let error = runner.set_multi_agent(multi_agent).unwrap_err().to_string();
            for part in [module, agents, field] {
                assert!(error.contains(part), "no `{part}` in: {error}");
            }
            assert_eq!(runner.get_state().unwrap(), before);
        }
        runner.collect(Amount::Timesteps(5), SampleOptions::default()).unwrap();
    }
}

/// The first episodes, which the spaces of modules are taken from, map otherwise.
#[test]
fn a_function_that_maps_an_agent_to_other_spaces_later_is_an_error() {
    let mut config = unequal("edges/Swaps-v0", [one(), torque(1.0)], [one(), torque(100.0)]);
    let mapping = PolicyMapping::from_fn("edges/swaps", |agent, episode| {
        if episode.episode < 64 { agent.clone() } else { "b".into() }
    });
    config.multi_agent = Some(MultiAgentConfig::default().policy_mapping(mapping));
    let mut runner = open(config);
    let error = runner.collect(Amount::Timesteps(300), random()).unwrap_err().to_string();
    for part in ["module `b`", "[a]", "action space"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

/// A saved mapping may give a module other spaces than it has now. The module then waits for the
/// weights that go with the state.
#[test]
fn a_restored_mapping_does_not_bring_modules_into_other_spaces() {
    let config = unequal("edges/Restored-v0", [one(), torque(1.0)], [one(), torque(100.0)]);
    let mapping = table([("a", "b"), ("b", "a")]);
    let swapped = config.clone().multi_agent(MultiAgentConfig::default().policy_mapping(mapping));
    let mut runner = open(config);
    let modules = set_modules(&mut *runner, &mlp());
    runner.set_state(&open(swapped).get_state().unwrap()).unwrap();
    let error = runner.set_modules(&modules, PublishedAt::new(1, 0)).unwrap_err();
    assert!(matches!(error, RunnerError::ModuleSpaces { .. }), "{error}");
    let error = runner.collect(Amount::Timesteps(5), SampleOptions::default()).unwrap_err();
    assert!(matches!(error, RunnerError::NoModule), "{error}");
}

#[test]
fn a_table_that_names_an_agent_that_is_not_there_is_refused() {
    let mapping = table([("a", "p"), ("b", "p"), ("hnter", "p")]);
    let config = game("edges/Named-v0", &["a", "b"], bin(), mapping, |_, _, _, out| {
        out.observe(0)?.write_f32(&[0.0])
    });
    let device = burn::prelude::Device::flex();
    let new = |config| rekindle_env_runner::MultiAgentEnvRunner::new(config, 0, &device);
    let error = new(config.clone()).unwrap_err().to_string();
    for part in ["`hnter`", "edges/Named-v0", "[a, b]"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    // Evaluation may have fewer agents than training, and shares its mapping.
    new(config.clone().in_evaluation(true)).unwrap();
    let known = MultiAgentConfig::default().policy_mapping(table([("a", "p"), ("b", "p")]));
    let unknown = config.multi_agent.clone().unwrap();
    let mut runner = new(config.multi_agent(known)).unwrap();
    let error = runner.set_multi_agent(unknown).unwrap_err().to_string();
    assert!(error.contains("`hnter`"), "{error}");
}
