//! Environments whose steps are scripted by a test.
#![allow(dead_code)] // Each test file uses only a part of this.

use rekindle_env::{
    AgentSpec, Env, Info, MultiAgentActions, MultiAgentEnv, MultiAgentStep, ResetOptions, Result,
    Row, RowMut, Space, Step,
};

/// What a step does: it gets the number of steps since the reset, 0 in the reset itself.
type Script = fn(usize, RowMut<'_>) -> Result<Step>;

/// An environment that plays a script and reports the step as `t` in its info.
pub(crate) struct Scripted {
    observation_space: Space,
    action_space: Space,
    script: Script,
    t: usize,
}

impl Scripted {
    pub(crate) fn new(observation_space: Space, script: Script) -> Self {
        Self { observation_space, action_space: Space::discrete(2).unwrap(), script, t: 0 }
    }
}

impl Env for Scripted {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, _: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.t = 0;
        (self.script)(0, observation).map(|_| ())
    }

    fn step(&mut self, _: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        self.t += 1;
        (self.script)(self.t, observation)
    }

    fn info(&self) -> Info {
        Info::from([("t".to_owned(), self.t as f64)])
    }
}

/// What a step of several agents does, as [`Script`].
type Play = fn(usize, &mut MultiAgentStep) -> Result<()>;

/// A multi-agent environment that plays a script and reports the step as `t` in its info.
pub(crate) struct ScriptedGame {
    agents: Vec<AgentSpec>,
    play: Play,
    t: usize,
}

impl ScriptedGame {
    pub(crate) fn new(observation_space: &Space, play: Play) -> Self {
        let agent = |id| AgentSpec::new(id, observation_space.clone(), Space::discrete(2).unwrap());
        Self { agents: ["a", "b"].map(agent).to_vec(), play, t: 0 }
    }
}

impl MultiAgentEnv for ScriptedGame {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        self.t = 0;
        (self.play)(0, out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        self.t += 1;
        (self.play)(self.t, out)
    }

    fn info(&self) -> Info {
        Info::from([("t".to_owned(), self.t as f64)])
    }
}

pub(crate) fn done(terminated: bool) -> Step {
    Step { reward: 1.0, terminated, truncated: false }
}
