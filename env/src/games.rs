//! Small games for one or two players.
//!
//! The documentation of each game states its complete rules, so that tests can play by hand. All
//! games can be [rendered](crate::Env::render), and boards print as text through
//! [`Display`](std::fmt::Display).

mod board;
mod breakout;
mod catch;
mod rock_paper_scissors;
mod tic_tac_toe;

pub use breakout::Breakout;
pub use catch::Catch;
pub use rock_paper_scissors::RockPaperScissors;
pub use tic_tac_toe::TicTacToe;

use crate::registry::EnvSpec;

/// The games for one player.
pub(crate) fn specs() -> Vec<EnvSpec> {
    vec![
        EnvSpec::new("Breakout-v0", Breakout::new).with_max_episode_steps(10_000),
        EnvSpec::new("Catch-v0", Catch::new).with_reward_threshold(0.95),
    ]
}
