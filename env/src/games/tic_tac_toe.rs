//! A game with turns.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::env::{ResetOptions, discrete_action, invalid_state, load_state, save_state};
use crate::error::{EnvError, Result};
use crate::multi_agent::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::{Canvas, Frame, colors};
use crate::spaces::Space;

const CELLS: usize = 9;
const LINES: [[usize; 3]; 8] =
    [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];

/// `TicTacToe-v0`: two players take turns, and three marks in a row win.
///
/// - Agents: `player1` and `player2`. The player to move is observed; at the end, both are.
/// - Actions: the cell to mark, 0 to 8, row by row.
/// - Observation: the cells from the player's point of view: 0 empty, 1 its own mark, 2 the
///   opponent's.
/// - Reward, at the end: 1 for the winner and -1 for the loser, or 0 for both in a draw.
/// - Terminates for both with three in a row, with a full board, or when a player marks a cell that
///   is taken. That player has lost, and the board does not change.
/// - Option `first_player` (`random`): `player1`, `player2`, or a random one of them.
/// - Option `action_mask` (false): whether the observation is a `Dict` of the cells, as
///   `observations`, and of an `action_mask`, which is 1 for the empty cells. On a full board,
///   where the game is over, it is 1 for all cells.
///
/// In RLlib's example, a player that marks a taken cell keeps playing. Here, the game ends.
#[derive(Clone, Debug)]
pub struct TicTacToe {
    agents: [AgentSpec; 2],
    action_mask: bool,
    first_player: Option<usize>,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// The player whose mark is in each cell.
    cells: [Option<usize>; CELLS],
    /// The player whose turn it is.
    player: usize,
}

impl State {
    fn has_won(&self, player: usize) -> bool {
        LINES.iter().any(|line| line.iter().all(|&cell| self.cells[cell] == Some(player)))
    }

    fn is_full(&self) -> bool {
        self.cells.iter().all(Option::is_some)
    }
}

impl TicTacToe {
    /// Creates the environment. Options: `first_player` (`random`), `action_mask` (false).
    ///
    /// # Errors
    ///
    /// [`EnvError`] for an unknown option, or one with another value.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("TicTacToe", &["first_player", "action_mask"])?;
        let first_player = match config.get_str("first_player")? {
            None | Some("random") => None,
            Some("player1") => Some(0),
            Some("player2") => Some(1),
            Some(other) => {
                return Err(EnvError::InvalidOption {
                    option: "first_player".to_owned(),
                    expected: "`random`, `player1` or `player2`".to_owned(),
                    found: format!("`{other}`"),
                });
            }
        };
        let action_mask = config.get_bool("action_mask")?.unwrap_or(false);
        let cells = Space::multi_discrete([3; CELLS])?;
        let seen = if action_mask {
            Space::dict([("action_mask", Space::multi_binary(CELLS)?), ("observations", cells)])?
        } else {
            cells
        };
        let marks = Space::discrete(CELLS)?;
        let agents =
            ["player1", "player2"].map(|id| AgentSpec::new(id, seen.clone(), marks.clone()));
        let state = State { rng: Generator::from_entropy(), cells: [None; CELLS], player: 0 };
        Ok(Self { agents, action_mask, first_player, state })
    }

    fn observe(&self, player: usize, out: &mut MultiAgentStep) -> Result<()> {
        let mut row = out.observe(player)?;
        let seen = self.state.cells.map(|mark| match mark {
            None => 0,
            Some(owner) if owner == player => 1,
            Some(_) => 2,
        });
        if !self.action_mask {
            return row.write_i64(&seen);
        }
        row.get_mut("observations")?.write_i64(&seen)?;
        let full = self.state.is_full();
        let mask = self.state.cells.map(|mark| u8::from(full || mark.is_none()));
        row.get_mut("action_mask")?.write_u8(&mask)
    }

    /// Ends the game, with a winner or in a draw.
    fn end(&self, winner: Option<usize>, out: &mut MultiAgentStep) -> Result<()> {
        for player in 0..2 {
            self.observe(player, out)?;
            if let Some(winner) = winner {
                out.add_reward(player, if player == winner { 1.0 } else { -1.0 })?;
            }
        }
        out.terminate_all();
        Ok(())
    }
}

impl MultiAgentEnv for TicTacToe {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        options.deny_unknown(self.name(), &[])?;
        let State { rng, cells, player } = &mut self.state;
        rng.reseed(options.seed);
        *cells = [None; CELLS];
        *player = self.first_player.unwrap_or_else(|| rng.integers(0, 2) as usize);
        self.observe(self.state.player, out)
    }

    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        let (player, opponent) = (self.state.player, 1 - self.state.player);
        let agent = &self.agents[player];
        let action = actions.action(player).ok_or_else(|| EnvError::MissingAction {
            env: self.name().to_owned(),
            agent: agent.id.clone(),
        })?;
        let cell = discrete_action(&agent.action_space, action)? as usize;
        if self.state.cells[cell].is_some() {
            return self.end(Some(opponent), out);
        }
        self.state.cells[cell] = Some(player);
        if self.state.has_won(player) {
            return self.end(Some(player), out);
        }
        if self.state.is_full() {
            return self.end(None, out);
        }
        self.state.player = opponent;
        self.observe(opponent, out)
    }

    fn render(&mut self) -> Result<Frame> {
        let mut canvas = Canvas::new(300, 300, [0.0, 3.0], 0.0);
        for line in [1.0, 2.0] {
            canvas.line([line, 0.1], [line, 2.9], 0.04, colors::GRAY);
            canvas.line([0.1, line], [2.9, line], 0.04, colors::GRAY);
        }
        for (cell, mark) in self.state.cells.iter().enumerate() {
            let (x, y) = ((cell % 3) as f64 + 0.5, 2.5 - (cell / 3) as f64);
            match mark {
                None => {}
                Some(0) => {
                    for side in [-0.3, 0.3] {
                        canvas.line([x - 0.3, y - side], [x + 0.3, y + side], 0.1, colors::RED);
                    }
                }
                Some(_) => {
                    canvas.circle([x, y], 0.35, colors::BLUE);
                    canvas.circle([x, y], 0.25, colors::WHITE);
                }
            }
        }
        Ok(canvas.into_frame()?.with_fps(2.0))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let state: State = load_state(self.name(), state)?;
        if state.cells.iter().flatten().chain([&state.player]).any(|&player| player > 1) {
            return Err(invalid_state(self.name(), "it names a player other than 0 and 1"));
        }
        self.state = state;
        Ok(())
    }

    fn name(&self) -> &str {
        "TicTacToe"
    }
}

impl fmt::Display for TicTacToe {
    /// Writes the board: `x` is `player1`, `o` is `player2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.state.cells.chunks(3) {
            for mark in row {
                f.write_str(match mark {
                    None => ".",
                    Some(0) => "x",
                    Some(_) => "o",
                })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
