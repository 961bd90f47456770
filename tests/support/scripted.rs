//! Environments whose behavior is a function in the test.
#![allow(dead_code, reason = "every test takes what it needs")]

use rekindle::env::EnvError;
use rekindle::prelude::*;

/// Writes the observation at step `t` of an episode (0 after a reset), given the action before it,
/// and returns the step.
pub(crate) type Script =
    fn(t: usize, action: Option<Row<'_>>, RowMut<'_>) -> Result<Step, EnvError>;

struct Scripted {
    spaces: [Space; 2],
    script: Script,
    t: usize,
}

impl Env for Scripted {
    fn observation_space(&self) -> &Space {
        &self.spaces[0]
    }

    fn action_space(&self) -> &Space {
        &self.spaces[1]
    }

    fn reset(&mut self, _: &ResetOptions, observation: RowMut<'_>) -> Result<(), EnvError> {
        self.t = 0;
        (self.script)(0, None, observation).map(|_| ())
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step, EnvError> {
        self.t += 1;
        (self.script)(self.t, Some(action), observation)
    }
}

/// Registers an environment with the given spaces of observations and actions.
pub(crate) fn env(id: &'static str, spaces: [Space; 2], script: Script) {
    let make = move |_: &EnvConfig| Ok(Scripted { spaces: spaces.clone(), script, t: 0 });
    register(EnvSpec::new(id, make)).unwrap();
}

/// Shows and pays agents at step `t` of an episode (0 after a reset).
pub(crate) type Game = fn(t: usize, &mut MultiAgentStep) -> Result<(), EnvError>;

struct ScriptedGame {
    agents: Vec<AgentSpec>,
    game: Game,
    t: usize,
}

impl MultiAgentEnv for ScriptedGame {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        self.t = 0;
        (self.game)(0, out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        self.t += 1;
        (self.game)(self.t, out)
    }
}

/// Registers a multi-agent environment whose agents have these ids and numbers of observed values.
/// They choose between two actions.
pub(crate) fn game(id: &'static str, agents: &[(&str, usize)], game: Game) {
    let agent = |(id, width): &(&str, usize)| {
        AgentSpec::new(*id, Space::unbounded(&[*width]).unwrap(), Space::discrete(2).unwrap())
    };
    game_of(id, agents.iter().map(agent).collect(), game);
}

/// Registers a multi-agent environment of these agents.
pub(crate) fn game_of(id: &'static str, agents: Vec<AgentSpec>, game: Game) {
    let make = move |_: &EnvConfig| Ok(ScriptedGame { agents: agents.clone(), game, t: 0 });
    register_multi_agent(MultiAgentEnvSpec::new(id, make)).unwrap();
}
