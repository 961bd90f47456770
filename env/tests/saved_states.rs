//! States with numbers that JSON does not have.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

use std::collections::BTreeMap;

use rekindle_env::multi_agent::{MultiAgentChecker, MultiAgentTimeLimit};
use rekindle_env::wrappers::{OrderEnforcing, RecordEpisodeStatistics, TimeLimit};
use rekindle_env::{
    AgentSpec, Buffer, Env, EnvError, MultiAgentActions, MultiAgentEnv, MultiAgentStep,
    MultiAgentVectorEnv, MultiAgentVectorStep, ResetOptions, Result, Row, RowMut, Space, Step,
    SyncMultiAgentVectorEnv, SyncVectorEnv, VectorEnv, VectorStep, load_state, save_state,
};
use serde_json::Value as Json;

/// Through the text of a checkpoint.
fn written_and_read(state: &Json) -> Json {
    serde_json::from_str(&state.to_string()).unwrap()
}

#[test]
fn infinities_survive_a_saved_state() {
    let saved = save_state(&(1_u32, f64::NEG_INFINITY)).unwrap().unwrap();
    let loaded: (u32, f64) = load_state("Swing", &written_and_read(&saved)).unwrap();
    assert_eq!(loaded, (1, f64::NEG_INFINITY));

    let maps = BTreeMap::from([("best", Some(f32::INFINITY)), ("none", None)]);
    let saved = save_state(&maps).unwrap().unwrap();
    let loaded: BTreeMap<String, Option<f32>> =
        load_state("Swing", &written_and_read(&saved)).unwrap();
    assert_eq!(loaded["best"], Some(f32::INFINITY));
    assert_eq!(loaded["none"], None);

    let saved = save_state(&[f64::NAN]).unwrap().unwrap();
    let [nan]: [f64; 1] = load_state("Swing", &written_and_read(&saved)).unwrap();
    assert!(nan.is_nan());
}

#[test]
fn a_null_in_the_place_of_a_number_is_still_refused() {
    let error = load_state::<f64>("Swing", &Json::Null).unwrap_err();
    assert!(matches!(error, EnvError::InvalidState { ref env, .. } if env == "Swing"), "{error}");
}

/// Keeps its best reward, which is -inf before the first step, as one agent or as two.
struct Best {
    space: Space,
    agents: Vec<AgentSpec>,
    best: f64,
}

impl Best {
    fn new() -> Self {
        let space = Space::discrete(2).unwrap();
        let agents = ["a", "b"].map(|id| AgentSpec::new(id, space.clone(), space.clone()));
        Self { space, agents: agents.to_vec(), best: f64::NEG_INFINITY }
    }
}

impl Env for Best {
    fn observation_space(&self) -> &Space {
        &self.space
    }

    fn action_space(&self) -> &Space {
        &self.space
    }

    fn reset(&mut self, _: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        observation.write_discrete(0)
    }

    fn step(&mut self, _: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        observation.write_discrete(0)?;
        // Infinite rewards reach what wrappers and vectors save, too.
        Ok(Step { terminated: true, ..Step::running(self.best) })
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.best)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.best = load_state("Best", state)?;
        Ok(())
    }
}

impl MultiAgentEnv for Best {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        out.observe(0)?.write_discrete(0)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        out.add_reward(1, self.best)?;
        out.observe(0)?.write_discrete(0)
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.best)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.best = load_state("Best", state)?;
        Ok(())
    }
}

#[test]
fn infinities_survive_wrappers_and_vectors() {
    let wrapped = || {
        let env = TimeLimit::new(RecordEpisodeStatistics::new(Best::new()), 9).unwrap();
        OrderEnforcing::new(env)
    };
    let mut envs = SyncVectorEnv::new(vec![wrapped(), wrapped()]).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    envs.reset(&[None, None], &mut out).unwrap();
    envs.step(&Buffer::from_i64(vec![0, 0], &[]).unwrap(), &mut out).unwrap();
    assert_eq!(out.rewards, [f64::NEG_INFINITY; 2]);

    let state = written_and_read(&envs.state().unwrap().unwrap());
    let mut restored = SyncVectorEnv::new(vec![wrapped(), wrapped()]).unwrap();
    restored.set_state(&state).unwrap();
    let best = &written_and_read(&restored.state().unwrap().unwrap())[0]["env"]["env"]["env"];
    assert_eq!(load_state::<f64>("Best", best).unwrap(), f64::NEG_INFINITY);
    assert_eq!(restored.final_info(0), envs.final_info(7));
    assert_eq!(restored.info(0)["episode.r"], f64::NEG_INFINITY);

    let text = serde_json::to_string(&out).unwrap();
    assert_eq!(serde_json::from_str::<VectorStep>(&text).unwrap(), out);
}

#[test]
fn infinities_survive_multi_agent_wrappers_and_vectors() {
    let wrapped = || MultiAgentChecker::new(MultiAgentTimeLimit::new(Best::new(), 9).unwrap());
    let mut envs = SyncMultiAgentVectorEnv::new(vec![wrapped()]).unwrap();
    let mut out = MultiAgentVectorStep::new(envs.possible_agents(), 1);
    let mut actions = [MultiAgentActions::new(envs.possible_agents())];
    envs.reset(&[None], &mut out).unwrap();
    actions[0].act(0).unwrap().write_discrete(0).unwrap();
    envs.step(&actions, &mut out).unwrap();

    let state = written_and_read(&envs.state().unwrap().unwrap());
    let mut restored = SyncMultiAgentVectorEnv::new(vec![wrapped()]).unwrap();
    restored.set_state(&state).unwrap();
    assert_eq!(restored.state().unwrap().unwrap(), envs.state().unwrap().unwrap());

    let text = serde_json::to_string(&out).unwrap();
    let read: MultiAgentVectorStep = serde_json::from_str(&text).unwrap();
    assert_eq!(read.outcome(0).unwrap().reward(1), f64::NEG_INFINITY);
    assert_eq!(read, out);
}
