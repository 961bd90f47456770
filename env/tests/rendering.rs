//! Pictures of all built-in environments.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::Driver;
use rekindle_env::diagnostic::RandomEnv;
use rekindle_env::render::{Frame, colors};
use rekindle_env::wrappers::RecordEpisodeStatistics;
use rekindle_env::{
    Buffer, Env, EnvConfig, EnvError, EnvSpec, MultiAgentActions, MultiAgentStep,
    MultiAgentVectorStep, ResetOptions, Space, SyncVectorEnv, VectorEnv, VectorStep, make,
    make_multi_agent, make_multi_agent_vec, make_vec, make_with, registered_ids,
    registered_multi_agent_ids, seeds_from,
};

/// Height and width of the pictures of an environment.
fn size(id: &str) -> (usize, usize) {
    match id {
        "Acrobot-v1" | "Pendulum-v1" => (500, 500),
        "Breakout-v0" => (300, 300),
        "Catch-v0" => (300, 150),
        "RepeatAfterMe-v0" => (100, 500),
        // Carts on a track, and cars in a valley.
        _ => (400, 600),
    }
}

fn count(frame: &Frame, color: [u8; 3]) -> usize {
    frame.pixels().chunks_exact(3).filter(|pixel| *pixel == color).count()
}

#[test]
fn every_environment_draws_its_state() {
    for id in registered_ids() {
        let config = match id.contains("Crashing") {
            true => EnvConfig::new().with("p_crash", 0.0).with("p_crash_reset", 0.0),
            false => EnvConfig::new(),
        };
        let mut driver = Driver::new(make_with(&id, &config).unwrap());
        let mut actions = driver.env.action_space().sampler(0);
        driver.reset(&ResetOptions::seed(3)).unwrap();
        let first = driver.env.render().unwrap();
        assert_eq!((first.height(), first.width()), size(&id), "{id}");
        assert_eq!(first.pixels().len(), 3 * first.height() * first.width());
        assert!(first.fps() > 0.0 && count(&first, first.color(0, 0).unwrap()) > 0);
        assert_eq!(first, driver.env.render().unwrap(), "{id}: rendering changes nothing");
        let mut changes = 0;
        for _ in 0..5 {
            driver.step(&actions.sample()).unwrap();
            changes += usize::from(driver.env.render().unwrap() != first);
        }
        assert!(changes > 0, "{id} draws the same in all states");
    }
}

#[test]
fn every_multi_agent_environment_draws_its_state() {
    for id in registered_multi_agent_ids() {
        let mut env = make_multi_agent(&id).unwrap();
        let mut out = MultiAgentStep::new(env.possible_agents());
        let mut actions = MultiAgentActions::new(env.possible_agents());
        env.reset(&ResetOptions::seed(3), &mut out).unwrap();
        let first = env.render().unwrap();
        let acting: Vec<_> = out.agents_to_act().collect();
        for agent in acting {
            actions.act(agent).unwrap();
        }
        env.step(&actions, &mut out).unwrap();
        let next = env.render().unwrap();
        assert_eq!((next.height(), next.width()), (first.height(), first.width()));
        assert_ne!(next, first, "{id}");
        // A vector draws the environment of an index.
        let mut envs = make_multi_agent_vec(&id, 2).unwrap();
        let mut out = MultiAgentVectorStep::new(envs.possible_agents(), 2);
        envs.reset(&[Some(9), Some(3)], &mut out).unwrap();
        assert_eq!(envs.render(1).unwrap(), first, "{id}");
        assert!(matches!(envs.render(2), Err(EnvError::RowOutOfRange { row: 2, rows: 2 })));
    }
}

#[test]
fn copies_are_drawn_next_to_each_other() {
    let config = EnvConfig::new().with("num_agents", 3);
    let spec = rekindle_env::multi_agent_spec("MultiAgentPendulum-v1").unwrap();
    let mut env = spec.make(&config).unwrap();
    let mut out = MultiAgentStep::new(env.possible_agents());
    env.reset(&ResetOptions::seed(0), &mut out).unwrap();
    let frame = env.render().unwrap();
    assert_eq!((frame.height(), frame.width()), (500, 1500));
}

#[test]
fn a_leaning_pole_is_drawn_leaning() {
    let mut driver = Driver::new(make("CartPole-v1").unwrap());
    driver.reset(&ResetOptions::seed(0)).unwrap();
    // Push to the left: the pole falls to the right.
    let push = rekindle_env::Value::Discrete(0);
    while !driver.step(&push).unwrap().is_done() {}
    let frame = driver.env.render().unwrap();
    let poles =
        (0..frame.height()).flat_map(|row| (0..frame.width()).map(move |column| (row, column)));
    let poles: Vec<_> =
        poles.filter(|&(row, column)| frame.color(row, column) == Some(colors::BROWN)).collect();
    let (top, bottom) = (poles.first().unwrap(), poles.last().unwrap());
    assert!(top.1 > bottom.1 && bottom.0 - top.0 > 80, "{top:?} {bottom:?}");
}

#[test]
fn wrapped_environments_and_vectors_pass_pictures_on() {
    let mut plain = Driver::new(make("CartPole-v1").unwrap());
    plain.reset(&ResetOptions::seed(5)).unwrap();
    let expected = plain.env.render().unwrap();
    let wrapped = RecordEpisodeStatistics::new(make("CartPole-v1").unwrap());
    let mut wrapped = Driver::new(wrapped);
    wrapped.reset(&ResetOptions::seed(5)).unwrap();
    assert_eq!(wrapped.env.render().unwrap(), expected);

    let mut envs = make_vec("CartPole-v1", 3).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 3);
    envs.reset(&seeds_from(Some(3), 3), &mut out).unwrap();
    assert_eq!(envs.render(2).unwrap(), expected);
    assert_ne!(envs.render(1).unwrap(), expected);
}

#[test]
fn the_last_picture_of_an_episode_is_kept_on_request() {
    let mut envs = make_vec("Catch-v0", 2).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    let stay = Buffer::from_i64(vec![1; 2], &[]).unwrap();
    envs.reset(&seeds_from(Some(0), 2), &mut out).unwrap();
    envs.keep_final_frame(1, true);
    for _ in 0..9 {
        assert!(envs.final_frame(1).is_none());
        envs.step(&stay, &mut out).unwrap();
    }
    assert!(out.is_done(0) && out.is_done(1));
    // The ball is in the last row of the last picture, and in the first row of the next episode.
    let ball = |frame: &Frame, row: usize| {
        (0..frame.width()).any(|column| frame.color(30 * row + 15, column) == Some(colors::YELLOW))
    };
    let last = envs.final_frame(1).unwrap();
    assert!(ball(&last, 9) && !ball(&last, 0));
    assert!(ball(&envs.render(1).unwrap(), 0));
    assert!(envs.final_frame(0).is_none() && envs.final_frame(1).is_none());
}

#[test]
fn an_environment_that_draws_nothing_is_a_typed_error() {
    let new = |_: &EnvConfig| Ok(RandomEnv::new(Space::discrete(2)?, Space::discrete(2)?));
    let spec = EnvSpec::new("Lab/Blind-v0", new);
    let mut env = spec.make(&EnvConfig::new()).unwrap();
    let error = env.render().unwrap_err();
    assert!(matches!(&error, EnvError::CannotRender { env, .. } if env == "Lab/Blind-v0"));
    assert_eq!(
        error.to_string(),
        "`Lab/Blind-v0` cannot be rendered: it draws nothing; implement `render`"
    );
    let mut envs = SyncVectorEnv::new(vec![env]).unwrap();
    let error = envs.render(0).unwrap_err();
    assert!(
        matches!(error, EnvError::SubEnv { index: 0, source } if matches!(*source, EnvError::CannotRender { .. }))
    );
}
