//! The info of the step that ends an episode, in vectors that reset in the same step.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/scripted.rs"]
mod scripted;

use rekindle_env::{
    Buffer, MultiAgentActions, MultiAgentVectorEnv, MultiAgentVectorStep, Space,
    SyncMultiAgentVectorEnv, SyncVectorEnv, VectorEnv, VectorStep,
};
use scripted::{Scripted, ScriptedGame, done};

#[test]
fn the_info_of_an_episodes_last_step_survives_the_automatic_reset() {
    let env = || {
        Scripted::new(Space::discrete(9).unwrap(), |t, mut o| {
            o.write_discrete(t as i64)?;
            Ok(done(t == 3))
        })
    };
    let mut envs: Box<dyn VectorEnv> = Box::new(SyncVectorEnv::new(vec![env(), env()]).unwrap());
    let mut out = VectorStep::new(envs.observation_space(), 2);
    envs.reset(&[None, None], &mut out).unwrap();
    envs.reset_one(1, None, &mut out).unwrap();
    let actions = Buffer::from_i64(vec![0, 0], &[]).unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        envs.step(&actions, &mut out).unwrap();
        let info = if out.is_done(0) { envs.final_info(0) } else { envs.info(0) };
        seen.push(info["t"]);
    }
    assert_eq!(seen, [1.0, 2.0, 3.0, 1.0]);
    assert!(envs.final_info(2).is_empty());
}

#[test]
fn the_info_of_a_games_last_step_survives_the_automatic_reset() {
    let game = ScriptedGame::new(&Space::discrete(9).unwrap(), |t, out| {
        out.observe(0)?.write_discrete(t as i64)?;
        if t == 2 {
            out.terminate_all();
        }
        Ok(())
    });
    let mut envs: Box<dyn MultiAgentVectorEnv> =
        Box::new(SyncMultiAgentVectorEnv::new(vec![game]).unwrap());
    let agents = envs.possible_agents();
    let actions = [MultiAgentActions::new(agents)];
    let mut out = MultiAgentVectorStep::new(agents, 1);
    envs.reset(&[None], &mut out).unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        envs.step(&actions, &mut out).unwrap();
        let info = if out.is_done(0) { envs.final_info(0) } else { envs.info(0) };
        seen.push(info["t"]);
    }
    assert_eq!(seen, [1.0, 2.0, 1.0]);
    assert!(envs.final_info(1).is_empty());
}
