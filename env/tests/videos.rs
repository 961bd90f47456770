//! Videos of episodes.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::Driver;
use rekindle_env::render::{Canvas, Frame, colors};
use rekindle_env::video::{VideoFormat, VideoRecorder, VideoWriter};
use rekindle_env::wrappers::RecordVideo;
use rekindle_env::{
    Buffer, EnvError, MultiAgentActions, MultiAgentVectorEnv, MultiAgentVectorStep, ResetOptions,
    Value, VectorEnv, VectorStep, make, make_multi_agent_vec, make_vec, seeds_from,
};

/// The pictures of a GIF as a viewer shows them, and their delays in hundredths of a second.
fn decode(path: &Path) -> Vec<(Frame, u16)> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(File::open(path).unwrap()).unwrap();
    let (height, width) = (usize::from(decoder.height()), usize::from(decoder.width()));
    let mut shown = vec![0; 3 * height * width];
    let mut frames = Vec::new();
    while let Some(picture) = decoder.read_next_frame().unwrap() {
        for (i, pixel) in picture.buffer.chunks_exact(4).enumerate() {
            let (row, column) = (i / usize::from(picture.width), i % usize::from(picture.width));
            let (row, column) =
                (row + usize::from(picture.top), column + usize::from(picture.left));
            if pixel[3] != 0 {
                let start = 3 * (row * width + column);
                shown[start..start + 3].copy_from_slice(&pixel[..3]);
            }
        }
        frames.push((Frame::new(height, width, shown.clone()).unwrap(), picture.delay));
    }
    frames
}

fn ball(height: f64, fps: f64) -> Frame {
    let mut canvas = Canvas::new(60, 40, [0.0, 1.0], 0.0);
    canvas.circle([0.5, height], 0.2, colors::RED);
    canvas.into_frame().unwrap().with_fps(fps)
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_gif_shows_the_frames_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/ball.gif");
    let mut video = VideoWriter::new(&path, VideoFormat::Gif);
    // The ball rests in the last two frames.
    let heights = [0.2, 0.4, 0.6, 0.8, 0.8];
    let frames = heights.map(|height| ball(height, 20.0));
    frames.iter().for_each(|frame| video.push(frame).unwrap());
    assert!(!path.exists(), "a video appears when it is complete");
    video.finish().unwrap();
    assert_eq!(names(path.parent().unwrap()), ["ball.gif"]);
    let decoded = decode(&path);
    assert_eq!(decoded.len(), 5);
    for ((shown, delay), frame) in decoded.iter().zip(&frames) {
        assert_eq!((shown.pixels(), *delay), (frame.pixels(), 5));
    }
}

#[test]
fn frames_faster_than_viewers_are_left_out_and_the_time_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (fps, pictures) in [(50.0, 12), (125.0, 4), (30.0, 12)] {
        let path = folder.path().join("ball.gif");
        let mut video = VideoWriter::new(&path, VideoFormat::Gif);
        for step in 0..12 {
            video.push(&ball(f64::from(step) / 12.0, fps)).unwrap();
        }
        video.finish().unwrap();
        let delays: Vec<_> = decode(&path).into_iter().map(|(_, delay)| delay).collect();
        assert_eq!(delays.len(), pictures, "{fps}");
        let seconds = f64::from(delays.iter().sum::<u16>()) / 100.0;
        assert!((seconds - 12.0 / fps).abs() < 0.011, "{fps}: {delays:?}");
    }
}

#[test]
fn a_frame_of_another_size_is_refused_and_an_unfinished_video_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut video = VideoWriter::new(folder.path().join("ball.gif"), VideoFormat::Gif);
    video.push(&ball(0.5, 10.0)).unwrap();
    let other = Canvas::new(10, 10, [0.0, 1.0], 0.0).into_frame().unwrap();
    assert!(matches!(video.push(&other), Err(EnvError::ShapeMismatch { .. })));
    assert_eq!(names(folder.path()), ["ball.gif.partial"]);
    drop(video);
    assert!(names(folder.path()).is_empty());
    VideoWriter::new(folder.path().join("ball.gif"), VideoFormat::Gif).finish().unwrap();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_video_that_cannot_be_written_is_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let mut video = VideoWriter::new(folder.path().join("file/ball.gif"), VideoFormat::Gif);
    let error = video.push(&ball(0.5, 10.0)).unwrap_err();
    assert!(matches!(error, EnvError::Video { .. }), "{error}");
    assert!(error.to_string().contains("ball.gif"), "{error}");
}

#[test]
fn the_episodes_of_an_environment_are_recorded_from_their_start_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = VideoRecorder::new(VideoFormat::Gif);
    let mut driver = Driver::new(RecordVideo::new(make("Catch-v0").unwrap(), recorder.clone()));
    let mut play = |seed| {
        driver.reset(&ResetOptions::seed(seed)).unwrap();
        while !driver.step(&Value::Discrete(1)).unwrap().is_done() {}
    };
    play(0);
    recorder.start(folder.path(), "lazy", 2);
    (1..4).for_each(&mut play);
    assert_eq!(names(folder.path()), ["lazy-episode-1.gif", "lazy-episode-2.gif"]);
    let finished = recorder.stop();
    assert_eq!(finished.len(), 2);
    // One frame for the reset and one for each of nine steps.
    assert_eq!(decode(&finished[0]).len(), 10);
    assert_eq!(decode(&finished[1]).len(), 10);
}

#[test]
fn the_first_episodes_of_a_vector_are_recorded_and_those_that_do_not_end_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = VideoRecorder::new(VideoFormat::Gif);
    let envs = make_vec("Catch-v0", 3).unwrap();
    let mut envs = RecordVideo::with_num_envs(envs, 3, recorder.clone());
    let mut out = VectorStep::new(envs.observation_space(), 3);
    let stay = Buffer::from_i64(vec![1; 3], &[]).unwrap();
    recorder.start(folder.path(), "lazy", 5);
    envs.reset(&seeds_from(Some(0), 3), &mut out).unwrap();
    let mut last = None;
    for step in 1..=12 {
        envs.step(&stay, &mut out).unwrap();
        if step == 8 {
            last = Some(envs.render(0).unwrap());
        }
    }
    // The fourth and the fifth episode are running.
    let finished = recorder.stop();
    assert_eq!(finished.len(), 3);
    envs.step(&stay, &mut out).unwrap();
    let names = names(folder.path());
    assert_eq!(names, ["lazy-episode-1.gif", "lazy-episode-2.gif", "lazy-episode-3.gif"]);
    let frames = decode(&folder.path().join("lazy-episode-1.gif"));
    assert_eq!(frames.len(), 10);
    assert_eq!(frames[8].0.pixels(), last.unwrap().pixels());
    assert_ne!(frames[9].0, frames[8].0, "the last frame shows where the episode ended");
}

#[test]
fn games_of_several_agents_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = VideoRecorder::new(VideoFormat::Gif);
    let envs = make_multi_agent_vec("RockPaperScissors-v0", 2).unwrap();
    let mut envs = RecordVideo::with_num_envs(envs, 2, recorder.clone());
    let mut out = MultiAgentVectorStep::new(envs.possible_agents(), 2);
    let mut actions = vec![MultiAgentActions::new(envs.possible_agents()); 2];
    recorder.start(folder.path(), "hands", 1);
    envs.reset(&[Some(0), Some(1)], &mut out).unwrap();
    for round in 0..10 {
        for actions in &mut actions {
            actions.clear();
            actions.act(0).unwrap().write_discrete(round % 3).unwrap();
            actions.act(1).unwrap().write_discrete(2).unwrap();
        }
        envs.step(&actions, &mut out).unwrap();
    }
    assert_eq!(decode(&recorder.stop()[0]).len(), 11);
}

/// Programs that take the place of `ffmpeg`. One test, because the variable belongs to the whole program.
#[test]
#[cfg(unix)]
fn mp4_needs_ffmpeg_and_reports_its_failures() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ffmpeg");
    let script = |text: &str| {
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = folder.path().join("ball.mp4");
    let record = || {
        let mut video = VideoWriter::new(&path, VideoFormat::Mp4);
        (0..3).try_for_each(|step| video.push(&ball(f64::from(step) / 3.0, 25.0)))?;
        video.finish()
    };
    // SAFETY: no other thread of this test reads the environment, and other tests of this file read no variables.
    #[expect(unsafe_code, reason = "the variable names the program")]
    unsafe {
        std::env::set_var("REKINDLE_FFMPEG", &program);
    }
    let error = record().unwrap_err();
    assert!(matches!(error, EnvError::MissingProgram { .. }), "{error}");
    assert!(error.to_string().contains("install ffmpeg"), "{error}");
    let error = VideoFormat::Mp4.check().unwrap_err().to_string();
    assert!(error.contains("install ffmpeg") && VideoFormat::Gif.check().is_ok(), "{error}");

    // Writes its arguments and its input instead of a video.
    script("for last; do :; done; echo \"$@\" > \"$last\"; cat >> \"$last\"");
    record().unwrap();
    let written = fs::read(&path).unwrap();
    let arguments = String::from_utf8_lossy(&written[..written.len() - 3 * 3 * 60 * 40]);
    assert!(arguments.contains("-video_size 40x60 -framerate 25 "), "{arguments}");
    assert!(written.ends_with(ball(2.0 / 3.0, 25.0).pixels()));

    script("echo 'no encoder' >&2; exit 3");
    let message = record().unwrap_err().to_string();
    assert!(message.contains("ball.mp4") && message.contains("no encoder"), "{message}");
}
