//! A falling ball that must be caught.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::board::Board;
use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, discrete_action, invalid_state, load_state, save_state};
use crate::error::Result;
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::{Frame, colors};
use crate::spaces::Space;

const ROWS: usize = 10;
const COLUMNS: usize = 5;

/// `Catch-v0`: move a paddle under a falling ball, as in `catch` of the behavior suite *bsuite*
/// (Osband et al. 2020).
///
/// - Observation: an image of 10 rows, 5 columns and 1 channel, which is 1 at the ball and the
///   paddle.
/// - Actions: 0 moves the paddle to the left, 1 leaves it, 2 moves it to the right; walls stop it.
/// - Starts with the ball in a random column of the top row and the paddle in the middle of the
///   bottom row. Each step moves the paddle first; then the ball falls by one row.
/// - Reward: 1 if the ball reaches the bottom row at the paddle, -1 if it does so elsewhere, and 0
///   before.
/// - Terminates when the ball reaches the bottom row, after 9 steps.
#[derive(Clone, Debug)]
pub struct Catch {
    observation_space: Space,
    action_space: Space,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// Row and column.
    ball: (usize, usize),
    /// Column in the last row.
    paddle: usize,
}

impl Catch {
    /// Creates the environment, which has no options.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownOption`](crate::EnvError::UnknownOption) for any option.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("Catch", &[])?;
        Ok(Self {
            observation_space: Space::boxed(0.0, 1.0, &[ROWS, COLUMNS, 1])?,
            action_space: Space::discrete(3)?,
            state: State { rng: Generator::from_entropy(), ball: (0, 0), paddle: COLUMNS / 2 },
        })
    }

    fn is_lit(&self, row: usize, column: usize) -> bool {
        self.state.ball == (row, column) || (ROWS - 1, self.state.paddle) == (row, column)
    }

    fn observe(&self, observation: RowMut<'_>) -> Result<()> {
        for (i, pixel) in observation.as_f32_mut()?.iter_mut().enumerate() {
            *pixel = f32::from(self.is_lit(i / COLUMNS, i % COLUMNS));
        }
        Ok(())
    }
}

impl Env for Catch {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        options.deny_unknown(self.name(), &[])?;
        self.state.rng.reseed(options.seed);
        self.state.ball = (0, self.state.rng.integers(0, COLUMNS as i64) as usize);
        self.state.paddle = COLUMNS / 2;
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let State { ball, paddle, .. } = &mut self.state;
        match discrete_action(&self.action_space, action)? {
            0 => *paddle = paddle.saturating_sub(1),
            2 => *paddle = (*paddle + 1).min(COLUMNS - 1),
            _ => {}
        }
        ball.0 += 1;
        let terminated = ball.0 >= ROWS - 1;
        let reward = match (terminated, ball.1 == *paddle) {
            (false, _) => 0.0,
            (true, true) => 1.0,
            (true, false) => -1.0,
        };
        self.observe(observation)?;
        Ok(Step { reward, terminated, truncated: false })
    }

    fn render(&mut self) -> Result<Frame> {
        let mut board = Board::new(ROWS, COLUMNS);
        board.square(ROWS - 1, self.state.paddle, colors::WHITE);
        board.disk(self.state.ball.0, self.state.ball.1, colors::YELLOW);
        board.into_frame()
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let state: State = load_state(self.name(), state)?;
        if state.ball.0 >= ROWS || state.ball.1.max(state.paddle) >= COLUMNS {
            return Err(invalid_state(self.name(), "the ball or the paddle is off the board"));
        }
        self.state = state;
        Ok(())
    }

    fn name(&self) -> &str {
        "Catch"
    }
}

impl fmt::Display for Catch {
    /// Writes the board: `o` is the ball, `=` the paddle.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                f.write_str(match (self.is_lit(row, column), self.state.ball == (row, column)) {
                    (false, _) => ".",
                    (true, true) => "o",
                    (true, false) => "=",
                })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
