//! Videos of evaluation episodes.

use std::fs::{self, File};
use std::path::Path;

use burn::prelude::Device;
use rekindle::algorithms::{RunConfig, VideoConfig};
use rekindle::env::EnvSpec;
use rekindle::env::diagnostic::RandomEnv;
use rekindle::prelude::*;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn catch() -> PpoConfig {
    PpoConfig::new()
        .environment("Catch-v0")
        .env_runners(|e| e.num_envs_per_env_runner(2))
        .model("conv_filters", serde_json::json!([[4, 3, 2]]))
        .model("head_fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(36).minibatch_size(18).num_epochs(1))
        .evaluation(|e| e.evaluation_interval(1).evaluation_duration(4))
        .seed(3)
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The number of pictures of a GIF.
fn pictures(path: &Path) -> usize {
    let mut decoder = gif::DecodeOptions::new().read_info(File::open(path).unwrap()).unwrap();
    let mut pictures = 0;
    while decoder.read_next_frame().unwrap().is_some() {
        pictures += 1;
    }
    pictures
}

#[test]
fn evaluations_of_a_run_leave_videos_in_its_folder() {
    let runs = tempfile::tempdir().unwrap();
    let config =
        catch().evaluation(|e| e.evaluation_video(VideoConfig::default().episodes(2).interval(2)));
    let algo = config.build(&device()).unwrap();
    let mut algo = algo.with_run_folder(runs.path(), RunConfig::default()).unwrap();
    let mut plain = catch().build(&device()).unwrap();
    for _ in 0..3 {
        let (recorded, expected) = (algo.train().unwrap(), plain.train().unwrap());
        let returns = "evaluation/env_runners/episode_return_mean";
        assert_eq!(recorded.get(returns), expected.get(returns), "videos change nothing");
    }
    let folder = algo.run_folder().unwrap().path().join("videos");
    // The first and the third of three evaluations, after which the iterations are named.
    let expected = [
        "iteration-00000001-episode-1.gif",
        "iteration-00000001-episode-2.gif",
        "iteration-00000003-episode-1.gif",
        "iteration-00000003-episode-2.gif",
    ];
    assert_eq!(names(&folder), expected);
    // One for the reset and one for each of nine steps.
    assert!(expected.iter().all(|name| pictures(&folder.join(name)) == 10));
}

#[test]
fn an_evaluation_in_another_folder_and_with_several_agents_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let config = PpoConfig::new()
        .environment("RockPaperScissors-v0")
        .multi_agent(|m| m.policies(["p"]).policy_mapping(PolicyMapping::All("p".into())))
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(20).minibatch_size(20).num_epochs(1))
        .evaluation(|e| {
            e.evaluation_duration(1)
                .evaluation_video(VideoConfig::default().folder(folder.path().to_owned()))
        })
        .seed(0);
    config.build(&device()).unwrap().evaluate().unwrap();
    let name = "iteration-00000000-episode-1.gif";
    assert_eq!(names(folder.path()), [name]);
    assert_eq!(pictures(&folder.path().join(name)), 11);
}

#[test]
fn an_environment_that_draws_nothing_fails_the_evaluation_with_its_name() {
    let new = |_: &EnvConfig| Ok(RandomEnv::new(Space::discrete(2)?, Space::discrete(2)?));
    rekindle::env::register(EnvSpec::new("Test/Blind-v0", new)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = PpoConfig::new()
        .environment("Test/Blind-v0")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(20).minibatch_size(20).num_epochs(1))
        .evaluation(|e| {
            e.evaluation_video(VideoConfig::default().folder(folder.path().to_owned()))
        });
    let error = config.build(&device()).unwrap().evaluate().unwrap_err().to_string();
    assert!(error.contains("`Test/Blind-v0` cannot be rendered"), "{error}");
}

#[test]
fn settings_of_videos_are_data() {
    let text = r#"{"evaluation": {"evaluation_video": {"episodes": 3, "format": "mp4"}}}"#;
    let config = PpoConfig::from_json(text).unwrap();
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["evaluation"]["evaluation_video"]["format"], "mp4");
    let invalid = PpoConfig::new()
        .environment("CartPole-v1")
        .evaluation(|e| e.evaluation_video(VideoConfig::default().episodes(0)));
    let error = invalid.validate().unwrap_err().to_string();
    assert!(error.contains("evaluation_video.episodes"), "{error}");
}
