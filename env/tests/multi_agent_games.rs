//! Games for two players, played to the end.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/multi_agent.rs"]
#[allow(dead_code)] // Each test file uses only a part of this.
mod table;

use rekindle_env::games::{RockPaperScissors, TicTacToe};
use rekindle_env::{
    EnvConfig, EnvError, MultiAgentEnv, ResetOptions, make_multi_agent, make_multi_agent_with,
};
use table::Table;

fn made(id: &str, config: &EnvConfig) -> Table<Box<dyn MultiAgentEnv>> {
    Table::new(make_multi_agent_with(id, config).unwrap())
}

fn tic_tac_toe(config: &EnvConfig) -> Table<Box<dyn MultiAgentEnv>> {
    let mut table = made("TicTacToe-v0", &config.clone().with("first_player", "player1"));
    table.reset(&ResetOptions::new()).unwrap();
    table
}

/// Marks cells in turns, starting with `player1`.
fn play(table: &mut Table<Box<dyn MultiAgentEnv>>, cells: &[i64]) {
    for (turn, &cell) in cells.iter().enumerate() {
        assert_eq!(table.to_act(), [turn % 2]);
        table.step(&[(turn % 2, cell)]).unwrap();
    }
}

fn cells(table: &Table<Box<dyn MultiAgentEnv>>, player: usize) -> Vec<i64> {
    table.out.observation(player).unwrap().as_i64().unwrap().to_vec()
}

#[test]
fn every_pair_of_hands_has_its_outcome() {
    let mut table = made("RockPaperScissors-v0", &EnvConfig::new());
    table.reset(&ResetOptions::new()).unwrap();
    let seen = |table: &Table<_>, player| -> i64 {
        let table: &Table<Box<dyn MultiAgentEnv>> = table;
        table.out.observation(player).unwrap().as_discrete().unwrap()
    };
    assert_eq!([seen(&table, 0), seen(&table, 1)], [3, 3]); // no hand yet
    let outcomes = [[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]];
    for first in 0..3 {
        for second in 0..3 {
            table.step(&[(0, first), (1, second)]).unwrap();
            let reward = outcomes[first as usize][second as usize];
            assert_eq!(table.rewards(), [reward, -reward]);
            assert_eq!([seen(&table, 0), seen(&table, 1)], [second, first]);
            assert!(!table.out.is_done());
        }
    }
    table.step(&[(0, 0), (1, 0)]).unwrap();
    assert!(table.out.all_terminated() && !table.out.all_truncated());
    assert_eq!(table.terminated(), [true, true]);
}

#[test]
fn with_lizard_and_spock_every_hand_beats_two_others() {
    let config = EnvConfig::new().with("sheldon_cooper_mode", true).with("num_rounds", 25);
    let mut table = made("RockPaperScissors-v0", &config);
    table.reset(&ResetOptions::new()).unwrap();
    let mut wins = [0; 5];
    for first in 0..5 {
        for second in 0..5 {
            table.step(&[(0, first), (1, second)]).unwrap();
            assert_eq!(table.rewards()[0], -table.rewards()[1]);
            assert_eq!(table.rewards()[0] == 0.0, first == second);
            wins[first as usize] += i32::from(table.rewards()[0] > 0.0);
        }
    }
    assert_eq!(wins, [2; 5]);
    assert!(table.out.is_done());
}

#[test]
fn three_in_a_row_win_and_the_waiting_loser_is_observed_and_rewarded() {
    let mut table = tic_tac_toe(&EnvConfig::new());
    assert_eq!(cells(&table, 0), [0; 9]);
    assert!(!table.out.observed(1));
    play(&mut table, &[0, 3, 1, 4]);
    assert_eq!(table.rewards(), [0.0, 0.0]);
    assert_eq!(cells(&table, 0), [1, 1, 0, 2, 2, 0, 0, 0, 0]);
    table.step(&[(0, 2)]).unwrap();
    assert_eq!(table.rewards(), [1.0, -1.0]);
    assert_eq!((table.terminated(), table.truncated()), (vec![true; 2], vec![false; 2]));
    assert_eq!(cells(&table, 0), [1, 1, 1, 2, 2, 0, 0, 0, 0]);
    assert_eq!(cells(&table, 1), [2, 2, 2, 1, 1, 0, 0, 0, 0]);
    assert!(table.to_act().is_empty());
    assert!(matches!(table.step(&[]).unwrap_err(), EnvError::StepAfterDone { .. }));
}

#[test]
fn the_second_player_can_win_too() {
    let mut table = tic_tac_toe(&EnvConfig::new());
    play(&mut table, &[0, 2, 1, 4, 8, 6]); // the other diagonal
    assert_eq!(table.rewards(), [-1.0, 1.0]);
    assert!(table.out.is_done());
}

#[test]
fn a_full_board_is_a_draw() {
    let mut table = tic_tac_toe(&EnvConfig::new());
    play(&mut table, &[0, 1, 2, 4, 3, 5, 7, 6]);
    assert!(!table.out.is_done());
    table.step(&[(0, 8)]).unwrap();
    assert_eq!((table.rewards(), table.terminated()), (vec![0.0; 2], vec![true; 2]));
}

#[test]
fn a_mark_on_a_taken_cell_loses_at_once() {
    let mut table = tic_tac_toe(&EnvConfig::new());
    play(&mut table, &[4, 4]);
    assert_eq!((table.rewards(), table.terminated()), (vec![1.0, -1.0], vec![true; 2]));
    assert_eq!(cells(&table, 1), [0, 0, 0, 0, 2, 0, 0, 0, 0]);
}

#[test]
fn the_mask_marks_the_empty_cells() {
    let mut table = tic_tac_toe(&EnvConfig::new().with("action_mask", true));
    play(&mut table, &[0, 8]);
    let row = table.out.observation(0).unwrap();
    assert_eq!(row.get("action_mask").unwrap().as_u8().unwrap(), [0, 1, 1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(row.get("observations").unwrap().as_i64().unwrap(), [1, 0, 0, 0, 0, 0, 0, 0, 2]);
    let mut table = tic_tac_toe(&EnvConfig::new().with("action_mask", true));
    play(&mut table, &[0, 1, 2, 4, 3, 5, 7, 6, 8]);
    let row = table.out.observation(1).unwrap();
    assert_eq!(row.get("action_mask").unwrap().as_u8().unwrap(), [1; 9]);
}

#[test]
fn the_first_player_is_random() {
    let mut table = Table::new(make_multi_agent("TicTacToe-v0").unwrap());
    let mut begun = [0; 2];
    for seed in 0..100 {
        table.reset(&ResetOptions::seed(seed)).unwrap();
        begun[table.to_act()[0]] += 1;
    }
    assert!(begun.iter().all(|&count| count > 25), "{begun:?}");
}

#[test]
fn boards_print_as_text() {
    let env = TicTacToe::new(&EnvConfig::new().with("first_player", "player2")).unwrap();
    let mut table = Table::new(env);
    table.reset(&ResetOptions::new()).unwrap();
    table.out.clear(); // without a checker, the test clears the slots
    table.step(&[(1, 0)]).unwrap();
    table.step(&[(0, 4)]).unwrap();
    assert_eq!(table.env.to_string(), "o..\n.x.\n...\n");
}

#[test]
fn options_outside_their_range_are_refused() {
    let bad = |option: &str, value: &str| {
        let config = EnvConfig::new().with(option, value);
        [TicTacToe::new(&config).err(), RockPaperScissors::new(&config).err()]
    };
    assert!(matches!(&bad("first_player", "x")[0], Some(EnvError::InvalidOption { .. })));
    assert!(matches!(&bad("rounds", "x")[1], Some(EnvError::UnknownOption { .. })));
    let none = EnvConfig::new().with("num_rounds", 0);
    assert!(matches!(RockPaperScissors::new(&none), Err(EnvError::InvalidOption { .. })));
}
