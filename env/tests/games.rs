//! Games for one player, played by hand.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::Driver;
use rekindle_env::games::{Breakout, Catch};
use rekindle_env::{Env, EnvConfig, EnvError, ResetOptions, Step, Value};
use serde_json::{Value as Json, json};

fn catch() -> Driver<Catch> {
    Driver::new(Catch::new(&EnvConfig::new()).unwrap())
}

fn breakout() -> Driver<Breakout> {
    Driver::new(Breakout::new(&EnvConfig::new()).unwrap())
}

/// Replaces fields of a saved state.
fn place(env: &mut impl Env, fields: &[(&str, Json)]) -> rekindle_env::Result<()> {
    let mut state = env.state()?.unwrap();
    for (field, value) in fields {
        state[*field] = value.clone();
    }
    env.set_state(&state)
}

fn steps(driver: &mut Driver<impl Env>, actions: &[i64]) -> Vec<Step> {
    actions.iter().map(|&action| driver.step(&Value::from(action)).unwrap()).collect()
}

#[test]
fn a_caught_ball_is_worth_one_after_nine_steps() {
    let mut driver = catch();
    driver.reset(&ResetOptions::new()).unwrap();
    place(&mut driver.env, &[("ball", json!([0, 4]))]).unwrap();
    let played = steps(&mut driver, &[2, 2, 2, 1, 1, 1, 1, 1, 1]);
    assert!(played[..8].iter().all(|step| *step == Step::running(0.0)));
    assert_eq!(played[8], Step { reward: 1.0, terminated: true, truncated: false });
    assert_eq!(driver.observation.as_f32().unwrap().iter().sum::<f32>(), 1.0); // both in one cell
}

#[test]
fn a_missed_ball_costs_one() {
    let mut driver = catch();
    driver.reset(&ResetOptions::new()).unwrap();
    place(&mut driver.env, &[("ball", json!([0, 1]))]).unwrap();
    let played = steps(&mut driver, &[0, 0, 0, 2, 2, 1, 1, 1, 1]); // the wall stops the third 0
    assert_eq!(played[8], Step { reward: -1.0, terminated: true, truncated: false });
    let text = driver.env.to_string();
    assert_eq!(text.lines().last(), Some(".o=.."), "{text}");
}

#[test]
fn catch_observes_ball_and_paddle_as_an_image() {
    let mut driver = catch();
    assert_eq!(driver.env.observation_space().to_string(), "Box(0.0, 1.0, (10, 5, 1), float32)");
    driver.reset(&ResetOptions::new()).unwrap();
    place(&mut driver.env, &[("ball", json!([0, 3]))]).unwrap();
    steps(&mut driver, &[0]);
    let pixels = driver.observation.as_f32().unwrap();
    let lit: Vec<_> = (0..50).filter(|&i| pixels[i] == 1.0).collect();
    assert_eq!(lit, [5 + 3, 45 + 1]); // row 1, column 3 and row 9, column 1
    assert_eq!(pixels.iter().sum::<f32>(), 2.0);
}

#[test]
fn balls_start_in_every_column() {
    let mut driver = catch();
    let mut columns = [0; 5];
    for seed in 0..200 {
        driver.reset(&ResetOptions::seed(seed)).unwrap();
        let pixels = driver.observation.as_f32().unwrap();
        columns[(0..5).find(|&column| pixels[column] == 1.0).unwrap()] += 1;
    }
    assert!(columns.iter().all(|&count| count > 20), "{columns:?}");
}

/// The cell of the ball after each step without a move.
fn balls(driver: &mut Driver<Breakout>, n: usize) -> Vec<(i64, i64)> {
    (0..n)
        .map(|_| {
            steps(driver, &[0]);
            let ball = driver.env.state().unwrap().unwrap()["ball"].clone();
            serde_json::from_value(ball).unwrap()
        })
        .collect()
}

fn at(ball: [i64; 2], heading: [i64; 2], paddle: i64) -> Driver<Breakout> {
    let mut driver = breakout();
    driver.reset(&ResetOptions::seed(0)).unwrap();
    let fields = [("ball", json!(ball)), ("heading", json!(heading)), ("paddle", json!(paddle))];
    place(&mut driver.env, &fields).unwrap();
    driver
}

#[test]
fn the_ball_falls_diagonally_and_turns_at_walls() {
    let mut driver = at([4, 1], [1, -1], 9);
    assert_eq!(balls(&mut driver, 4), [(5, 0), (6, 1), (7, 2), (8, 3)]);
    let lost = steps(&mut driver, &[0]);
    assert_eq!(lost, [Step { reward: 0.0, terminated: true, truncated: false }]);
    assert_eq!(driver.env.to_string().lines().last(), Some("....o....="));
}

#[test]
fn the_paddle_below_turns_the_ball_up_and_its_edge_turns_it_back() {
    let mut driver = at([8, 3], [1, 1], 3);
    assert_eq!(balls(&mut driver, 3), [(8, 4), (7, 5), (6, 6)]);
    let mut driver = at([8, 3], [1, 1], 4);
    assert_eq!(balls(&mut driver, 3), [(8, 3), (7, 2), (6, 1)]);
    // The paddle moves before the ball does.
    let mut driver = at([8, 3], [1, 1], 2);
    assert_eq!(steps(&mut driver, &[2, 0]), [Step::running(0.0); 2]);
    let mut driver = at([8, 3], [1, 1], 4);
    assert!(steps(&mut driver, &[2])[0].terminated);
}

#[test]
fn a_brick_breaks_for_one_point_and_turns_the_ball() {
    let mut driver = at([4, 5], [-1, 1], 0);
    assert_eq!(steps(&mut driver, &[0]), [Step::running(1.0)]);
    let text = driver.env.to_string();
    assert_eq!(text.lines().nth(3), Some("######.###"));
    assert_eq!(balls(&mut driver, 2), [(5, 7), (6, 8)]);
}

#[test]
fn a_ball_among_bricks_stays_where_a_brick_is_in_its_way() {
    let gap = (1_u32 << 30) - 1 - (1 << 26); // no brick in row 3, column 6
    let mut driver = at([3, 6], [-1, 1], 0);
    place(&mut driver.env, &[("bricks", json!(gap))]).unwrap();
    assert_eq!(steps(&mut driver, &[0])[0].reward, 1.0); // row 2, column 7
    assert_eq!(balls(&mut driver, 1), [(4, 7)]);

    let mut driver = at([0, 2], [-1, 1], 0);
    assert_eq!(steps(&mut driver, &[0])[0].reward, 1.0); // row 1, column 3, from above
    let text = driver.env.to_string();
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), ["...o......", "###.######"]);
}

#[test]
fn bricks_return_when_the_ball_is_below_them() {
    let mut driver = at([4, 5], [-1, 1], 0);
    place(&mut driver.env, &[("bricks", json!(1 << 26))]).unwrap(); // row 3, column 6
    assert_eq!(steps(&mut driver, &[0])[0].reward, 1.0);
    assert_eq!(driver.env.state().unwrap().unwrap()["bricks"], json!((1 << 30) - 1));

    let mut driver = at([1, 5], [1, 1], 0);
    place(&mut driver.env, &[("bricks", json!(1 << 16))]).unwrap(); // row 2, column 6
    let bricks = |driver: &Driver<Breakout>| driver.env.state().unwrap().unwrap()["bricks"].clone();
    assert_eq!(steps(&mut driver, &[0])[0].reward, 1.0);
    assert_eq!(bricks(&driver), json!(0));
    assert_eq!(balls(&mut driver, 4), [(0, 7), (1, 8), (2, 9), (3, 8)]);
    assert_eq!(bricks(&driver), json!(0));
    assert_eq!(balls(&mut driver, 1), [(4, 7)]);
    assert_eq!(bricks(&driver), json!((1 << 30) - 1));
}

#[test]
fn breakout_observes_four_channels() {
    let mut driver = at([5, 5], [1, 1], 4);
    steps(&mut driver, &[2]);
    let pixels = driver.observation.as_f32().unwrap();
    let lit = |channel: usize| -> Vec<_> {
        (0..100).filter(|cell| pixels[cell * 4 + channel] == 1.0).collect()
    };
    assert_eq!(lit(0), [95]); // paddle
    assert_eq!(lit(1), [66]); // ball
    assert_eq!(lit(2), [55]); // trail
    assert_eq!(lit(3), (10..40).collect::<Vec<_>>()); // bricks
}

#[test]
fn a_paddle_that_follows_the_ball_breaks_many_bricks() {
    let mut driver = breakout();
    driver.reset(&ResetOptions::seed(3)).unwrap();
    let mut score = 0.0;
    for _ in 0..3000 {
        let state = driver.env.state().unwrap().unwrap();
        let (ball, paddle) = (state["ball"][1].as_i64(), state["paddle"].as_i64());
        let action = match ball.cmp(&paddle) {
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Greater => 2,
        };
        let step = steps(&mut driver, &[action])[0];
        assert!(!step.is_done(), "{}", driver.env);
        score += step.reward;
    }
    assert!(score > 100.0, "{score}");
}

#[test]
fn states_off_the_board_are_refused() {
    let mut catch = catch();
    catch.reset(&ResetOptions::new()).unwrap();
    for (field, value) in [("ball", json!([10, 0])), ("ball", json!([0, 5])), ("paddle", json!(5))]
    {
        let error = place(&mut catch.env, &[(field, value)]).unwrap_err();
        assert!(matches!(error, EnvError::InvalidState { .. }), "{error}");
    }
    let mut breakout = breakout();
    breakout.reset(&ResetOptions::new()).unwrap();
    let bad = [
        ("ball", json!([0, -1])),
        ("paddle", json!(10)),
        ("heading", json!([0, 1])),
        ("heading", json!([1, i64::MIN])),
        ("bricks", json!(1 << 30)),
    ];
    for (field, value) in bad {
        let error = place(&mut breakout.env, &[(field, value)]).unwrap_err();
        assert!(matches!(error, EnvError::InvalidState { .. }), "{error}");
    }
}
