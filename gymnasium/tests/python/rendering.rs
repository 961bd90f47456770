//! Pictures of Python environments.

use rekindle_env::video::{VideoFormat, VideoRecorder};
use rekindle_env::wrappers::RecordVideo;
use rekindle_env::{
    Buffer, Env, EnvConfig, EnvError, MultiAgentStep, ResetOptions, VectorEnv,
    make_multi_agent_with,
};
use rekindle_gymnasium::GymnasiumEnv;
use serde_json::json;

use crate::support::{config, reset, vector};

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn environments_of_a_vector_are_drawn_and_continue_unchanged() {
    let options = json!({"num_workers": 2, "render_mode": "rgb_array"});
    let (mut drawn, mut plain) = (
        vector("gymnasium:CartPole-v1", 3, options.clone()),
        vector("gymnasium:CartPole-v1", 3, options),
    );
    let (mut a, mut b) = (reset(&mut drawn, 0), reset(&mut plain, 0));
    let actions = Buffer::from_i64(vec![1; 3], &[]).unwrap();
    let mut frames = Vec::new();
    for _ in 0..20 {
        let frame = drawn.render(2).unwrap();
        assert_eq!((frame.height(), frame.width(), frame.fps()), (400, 600, 50.0));
        frames.push(frame);
        drawn.step(&actions, &mut a).unwrap();
        plain.step(&actions, &mut b).unwrap();
        crate::support::assert_equal(&a, &b, "with and without pictures");
    }
    assert_ne!(frames[0], frames[5]);
    assert!(matches!(drawn.render(3), Err(EnvError::RowOutOfRange { row: 3, rows: 3 })));
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn an_environment_without_a_render_mode_is_a_typed_error_and_goes_on() {
    let mut env = vector("gymnasium:CartPole-v1", 1, json!({}));
    let mut out = reset(&mut env, 0);
    let error = env.render(0).unwrap_err();
    let EnvError::SubEnv { index: 0, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, EnvError::CannotRender { .. }), "{error}");
    assert!(error.to_string().contains("set the option `render_mode` to \"rgb_array\""), "{error}");
    env.step(&Buffer::from_i64(vec![1], &[]).unwrap(), &mut out).unwrap();
    let error = vector("python:lab:Faulty", 1, json!({})).render(0).unwrap_err();
    assert!(error.to_string().contains("NotImplementedError"), "{error}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn the_last_picture_of_an_episode_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = VideoRecorder::new(VideoFormat::Gif);
    let options = json!({"num_workers": 1, "length": 4});
    let mut env =
        RecordVideo::with_num_envs(vector("python:lab:Drawn", 2, options), 2, recorder.clone());
    recorder.start(folder.path(), "python", 1);
    let mut out = reset(&mut env, 0);
    for _ in 0..4 {
        env.step(&Buffer::from_i64(vec![0; 2], &[]).unwrap(), &mut out).unwrap();
    }
    let [path] = recorder.stop().try_into().unwrap();
    let mut decoder = gif::DecodeOptions::new();
    decoder.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = decoder.read_info(std::fs::File::open(path).unwrap()).unwrap();
    let mut shades = Vec::new();
    while let Some(picture) = decoder.read_next_frame().unwrap() {
        shades.push(picture.buffer[0]);
    }
    // Each step is brighter by 10, up to the last one.
    assert_eq!(shades, [0, 10, 20, 30, 40]);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_single_environment_and_a_game_are_drawn() {
    let mut env = GymnasiumEnv::new("python:lab:Drawn", &config(json!({}))).unwrap();
    let mut row = Buffer::zeros(env.observation_space(), 1);
    env.reset(&ResetOptions::seed(0), row.row_mut(0)).unwrap();
    let frame = env.render().unwrap();
    assert_eq!((frame.height(), frame.width(), frame.fps()), (4, 6, 12.5));
    rekindle_gymnasium::register();
    let options = EnvConfig::new().with("render_mode", "rgb_array").with("show_output", false);
    let mut game = make_multi_agent_with("pettingzoo:classic.tictactoe_v3", &options).unwrap();
    let mut out = MultiAgentStep::new(game.possible_agents());
    game.reset(&ResetOptions::seed(0), &mut out).unwrap();
    let frame = game.render().unwrap();
    assert!(frame.height() > 50 && frame.width() > 50);
}
