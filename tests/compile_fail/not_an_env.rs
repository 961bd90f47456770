// A type that does not implement `Env`, registered as an environment.
//
// expect: `Maze` is not an environment
// expect: implement `Env`: `observation_space`, `action_space`, `reset` and `step`

use rekindle::prelude::*;

#[derive(Debug)]
pub struct Maze;

pub fn spec() -> EnvSpec {
    EnvSpec::new("Maze-v0", |_: &EnvConfig| Ok(Maze))
}
