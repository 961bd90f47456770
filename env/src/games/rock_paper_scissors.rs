//! A game with simultaneous moves.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::env::{ResetOptions, discrete_action, invalid_state, load_state, save_state};
use crate::error::{EnvError, Result};
use crate::multi_agent::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::options::EnvConfig;
use crate::render::{Canvas, Frame, Point, colors};
use crate::spaces::Space;

/// For each hand, the two it beats: rock, paper, scissors, lizard, Spock.
const BEATS: [[i64; 2]; 5] = [[2, 3], [0, 4], [1, 3], [1, 4], [0, 2]];

/// `RockPaperScissors-v0`: two players show a hand at the same time, for ten rounds.
///
/// - Agents: `player1` and `player2`, which both act in every step.
/// - Actions: 0 rock, 1 paper, 2 scissors.
/// - Observation: the last hand of the opponent, or 3 in the first round.
/// - Reward: 1 for the winner of a round and -1 for the loser; 0 for both if the hands are equal.
/// - Terminates for both after `num_rounds` (10) rounds.
/// - Option `sheldon_cooper_mode` (false): two more hands, 3 lizard and 4 Spock; the observation of
///   the first round is 5. Lizard beats paper and Spock, and Spock beats rock and scissors.
///
/// In RLlib's example, the first observation is a hand, too.
#[derive(Clone, Debug)]
pub struct RockPaperScissors {
    agents: [AgentSpec; 2],
    num_rounds: usize,
    rounds: usize,
    /// The hands of the last round.
    hands: Option<[i64; 2]>,
}

impl RockPaperScissors {
    /// Creates the environment. Options: `num_rounds` (10), `sheldon_cooper_mode` (false).
    ///
    /// # Errors
    ///
    /// [`EnvError`] for an unknown option, one of another type, or 0 rounds.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("RockPaperScissors", &["num_rounds", "sheldon_cooper_mode"])?;
        let num_rounds = config.get_i64("num_rounds")?.unwrap_or(10);
        let num_rounds =
            usize::try_from(num_rounds).ok().filter(|&rounds| rounds > 0).ok_or_else(|| {
                EnvError::InvalidOption {
                    option: "num_rounds".to_owned(),
                    expected: "at least 1".to_owned(),
                    found: num_rounds.to_string(),
                }
            })?;
        let hands = if config.get_bool("sheldon_cooper_mode")?.unwrap_or(false) { 5 } else { 3 };
        let (seen, shown) = (Space::discrete(hands + 1)?, Space::discrete(hands)?);
        let agents =
            ["player1", "player2"].map(|id| AgentSpec::new(id, seen.clone(), shown.clone()));
        Ok(Self { agents, num_rounds, rounds: 0, hands: None })
    }
}

impl MultiAgentEnv for RockPaperScissors {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        options.deny_unknown(self.name(), &[])?;
        (self.rounds, self.hands) = (0, None);
        for (player, agent) in self.agents.iter().enumerate() {
            let none_yet = agent.action_space.as_discrete()?.n() as i64;
            out.observe(player)?.write_discrete(none_yet)?;
        }
        Ok(())
    }

    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        let mut hands = [0; 2];
        for (player, (hand, agent)) in hands.iter_mut().zip(&self.agents).enumerate() {
            let action = actions.action(player).ok_or_else(|| EnvError::MissingAction {
                env: self.name().to_owned(),
                agent: agent.id.clone(),
            })?;
            *hand = discrete_action(&agent.action_space, action)?;
        }
        for (player, opponent) in [(0, 1), (1, 0)] {
            let (mine, theirs) = (hands[player], hands[opponent]);
            let beats = |a: i64, b: i64| BEATS[a as usize].contains(&b);
            let reward = f64::from(beats(mine, theirs)) - f64::from(beats(theirs, mine));
            out.observe(player)?.write_discrete(theirs)?;
            out.add_reward(player, reward)?;
        }
        self.rounds += 1;
        self.hands = Some(hands);
        if self.rounds >= self.num_rounds {
            out.terminate_all();
        }
        Ok(())
    }

    fn render(&mut self) -> Result<Frame> {
        let mut canvas = Canvas::new(150, 300, [0.0, 2.0], 0.0);
        canvas.fill(colors::DARK);
        for (player, &hand) in self.hands.iter().flatten().enumerate() {
            draw_hand(&mut canvas, hand, [player as f64 + 0.5, 0.5]);
        }
        Ok(canvas.into_frame()?.with_fps(2.0))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&State { rounds: self.rounds, hands: self.hands })
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let State { rounds, hands } = load_state(self.name(), state)?;
        if rounds > self.num_rounds {
            let reason = format!("it has {rounds} rounds, but a game has {}", self.num_rounds);
            return Err(invalid_state(self.name(), reason));
        }
        (self.rounds, self.hands) = (rounds, hands);
        Ok(())
    }

    fn name(&self) -> &str {
        "RockPaperScissors"
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rounds: usize,
    /// Missing in states of earlier versions. Only pictures show it.
    #[serde(default)]
    hands: Option<[i64; 2]>,
}

/// Draws a hand around `center`: a round rock, square paper, crossed scissors, a flat lizard or Spock's two fingers.
fn draw_hand(canvas: &mut Canvas, hand: i64, [x, y]: Point) {
    match hand {
        0 => canvas.circle([x, y], 0.3, colors::GRAY),
        1 => canvas.rectangle([x - 0.3, y - 0.3], [x + 0.3, y + 0.3], colors::WHITE),
        2 => {
            canvas.line([x - 0.3, y - 0.3], [x + 0.3, y + 0.3], 0.12, colors::RED);
            canvas.line([x - 0.3, y + 0.3], [x + 0.3, y - 0.3], 0.12, colors::RED);
        }
        3 => canvas.line([x - 0.3, y], [x + 0.3, y], 0.15, colors::TEAL),
        _ => {
            canvas.line([x, y - 0.3], [x - 0.2, y + 0.3], 0.12, colors::YELLOW);
            canvas.line([x, y - 0.3], [x + 0.2, y + 0.3], 0.12, colors::YELLOW);
        }
    }
}
