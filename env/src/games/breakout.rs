//! A ball that breaks bricks.

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

const SIZE: i64 = 10;
const BOTTOM: i64 = SIZE - 1;
/// The first row of bricks.
const BRICKS_TOP: i64 = 1;
/// The first row below the bricks.
const BRICKS_END: i64 = 4;
const ALL_BRICKS: u32 = (1 << ((BRICKS_END - BRICKS_TOP) * SIZE)) - 1;
const CHANNELS: usize = 4;

/// `Breakout-v0`: keep a ball in play and break bricks with it, on a grid of 10 by 10 cells.
///
/// The game follows the description in *MinAtar* (Young and Tian 2019), without sticky actions. The
/// description leaves some cases open, for which the rules here are our own, so results are not
/// comparable with MinAtar's.
///
/// - Observation: an image of 10 rows, 10 columns and 4 channels of 0 or 1: paddle, ball, trail,
///   bricks.
/// - Actions: 0 leaves the paddle, 1 moves it to the left, 2 to the right; walls stop it.
/// - Reward: 1 for each brick.
/// - Terminates when the ball reaches the bottom row.
///
/// Rows count from the top, 0 to 9. Bricks fill rows 1 to 3. The paddle is one cell of row 9 and
/// starts in column 4. The ball starts in row 4 in a random column, and falls to the left or to the
/// right at random. In each step, the paddle moves first. Then the ball moves by one cell
/// diagonally:
///
/// 1. If the ball would leave the grid at a side or at the top, it turns around in that direction,
///    and moves in the new direction in the same step.
/// 2. If the cell ahead is a brick, the brick breaks and the ball turns around vertically. It only
///    moves sideways in this step, or stays if another brick is in the way.
/// 3. If the cell ahead is in row 9, there are three cases. If the paddle is directly below the
///    ball, the ball turns up and only moves sideways in this step. If the paddle is in the cell
///    ahead, the ball stays and turns around in both directions. Otherwise the ball moves into row
///    9, and the episode ends.
/// 4. When no brick is left, all bricks return as soon as the ball is below them.
///
/// A ball that only moves sideways changes the color of its cell on a chess board, so that it can
/// reach every brick. The trail is the cell behind the ball against its direction, clamped to the
/// grid: ball and trail show the direction.
#[derive(Clone, Debug)]
pub struct Breakout {
    observation_space: Space,
    action_space: Space,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// Column in the last row.
    paddle: i64,
    /// Row and column.
    ball: (i64, i64),
    /// Rows and columns per step, each 1 or -1.
    heading: (i64, i64),
    /// One bit per brick, row-major.
    bricks: u32,
}

impl State {
    fn brick(row: i64, column: i64) -> u32 {
        if (BRICKS_TOP..BRICKS_END).contains(&row) && (0..SIZE).contains(&column) {
            1 << ((row - BRICKS_TOP) * SIZE + column)
        } else {
            0
        }
    }

    fn has_brick(&self, row: i64, column: i64) -> bool {
        self.bricks & Self::brick(row, column) != 0
    }

    fn trail(&self) -> (i64, i64) {
        let behind = |at: i64, heading: i64| (at - heading).clamp(0, BOTTOM);
        (behind(self.ball.0, self.heading.0), behind(self.ball.1, self.heading.1))
    }

    /// Moves the ball. Returns the reward and whether the ball is lost.
    fn move_ball(&mut self) -> (f64, bool) {
        let ahead = |at: i64, heading: &mut i64| {
            if !(0..SIZE).contains(&(at + *heading)) {
                *heading = -*heading;
            }
            at + *heading
        };
        let row = ahead(self.ball.0, &mut self.heading.0);
        let column = ahead(self.ball.1, &mut self.heading.1);

        let brick = self.bricks & Self::brick(row, column);
        if brick != 0 {
            self.bricks &= !brick;
            self.heading.0 = -self.heading.0;
            if !self.has_brick(self.ball.0, column) {
                self.ball.1 = column;
            }
            return (1.0, false);
        }
        if row == BOTTOM && self.paddle == self.ball.1 {
            self.heading.0 = -1;
            self.ball.1 = column;
            return (0.0, false);
        }
        if row == BOTTOM && self.paddle == column {
            self.heading = (-1, -self.heading.1);
            return (0.0, false);
        }
        self.ball = (row, column);
        (0.0, row == BOTTOM)
    }
}

impl Breakout {
    /// Creates the environment, which has no options.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownOption`](crate::EnvError::UnknownOption) for any option.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("Breakout", &[])?;
        let size = SIZE as usize;
        let state = State {
            rng: Generator::from_entropy(),
            paddle: 4,
            ball: (BRICKS_END, 0),
            heading: (1, 1),
            bricks: ALL_BRICKS,
        };
        Ok(Self {
            observation_space: Space::boxed(0.0, 1.0, &[size, size, CHANNELS])?,
            action_space: Space::discrete(3)?,
            state,
        })
    }

    fn observe(&self, observation: RowMut<'_>) -> Result<()> {
        let pixels = observation.as_f32_mut()?;
        pixels.fill(0.0);
        let mut light = |(row, column): (i64, i64), channel: usize| {
            let cell = usize::try_from(row * SIZE + column).unwrap_or(usize::MAX / CHANNELS - 1);
            if let Some(pixel) = pixels.get_mut(cell * CHANNELS + channel) {
                *pixel = 1.0;
            }
        };
        light((BOTTOM, self.state.paddle), 0);
        light(self.state.ball, 1);
        light(self.state.trail(), 2);
        for row in BRICKS_TOP..BRICKS_END {
            for column in 0..SIZE {
                if self.state.has_brick(row, column) {
                    light((row, column), 3);
                }
            }
        }
        Ok(())
    }
}

impl Env for Breakout {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        options.deny_unknown(self.name(), &[])?;
        let State { rng, paddle, ball, heading, bricks } = &mut self.state;
        rng.reseed(options.seed);
        *paddle = 4;
        *ball = (BRICKS_END, rng.integers(0, SIZE));
        *heading = (1, 2 * rng.integers(0, 2) - 1);
        *bricks = ALL_BRICKS;
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        match discrete_action(&self.action_space, action)? {
            1 => self.state.paddle = (self.state.paddle - 1).max(0),
            2 => self.state.paddle = (self.state.paddle + 1).min(BOTTOM),
            _ => {}
        }
        let (reward, terminated) = self.state.move_ball();
        if self.state.bricks == 0 && self.state.ball.0 >= BRICKS_END {
            self.state.bricks = ALL_BRICKS;
        }
        self.observe(observation)?;
        Ok(Step { reward, terminated, truncated: false })
    }

    fn render(&mut self) -> Result<Frame> {
        let size = SIZE as usize;
        let mut board = Board::new(size, size);
        let at = |position: i64| usize::try_from(position).unwrap_or(size);
        for row in BRICKS_TOP..BRICKS_END {
            let color = [colors::RED, colors::BROWN, colors::TEAL][at(row - BRICKS_TOP) % 3];
            for column in (0..SIZE).filter(|&column| self.state.has_brick(row, column)) {
                board.square(at(row), at(column), color);
            }
        }
        board.square(at(BOTTOM), at(self.state.paddle), colors::WHITE);
        let (trail, ball) = (self.state.trail(), self.state.ball);
        board.disk(at(trail.0), at(trail.1), colors::GRAY);
        board.disk(at(ball.0), at(ball.1), colors::YELLOW);
        board.into_frame()
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let state: State = load_state(self.name(), state)?;
        let on_board = [state.paddle, state.ball.0, state.ball.1].map(|at| (0..SIZE).contains(&at));
        let headings = [state.heading.0, state.heading.1].map(|heading| matches!(heading, 1 | -1));
        if on_board != [true; 3] || headings != [true; 2] || state.bricks > ALL_BRICKS {
            return Err(invalid_state(
                self.name(),
                "the ball, the paddle or a brick is off the board",
            ));
        }
        self.state = state;
        Ok(())
    }

    fn name(&self) -> &str {
        "Breakout"
    }
}

impl fmt::Display for Breakout {
    /// Writes the board: `#` is a brick, `o` the ball, `'` its trail, `=` the paddle.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in 0..SIZE {
            for column in 0..SIZE {
                f.write_str(match (row, column) {
                    at if at == self.state.ball => "o",
                    at if at == (BOTTOM, self.state.paddle) => "=",
                    (row, column) if self.state.has_brick(row, column) => "#",
                    at if at == self.state.trail() => "'",
                    _ => ".",
                })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
