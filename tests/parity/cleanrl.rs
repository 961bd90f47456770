//! Agents of CleanRL's PPO scripts.
//!
//! Recorded by `scripts/parity/record_cleanrl.py`.

use rekindle::prelude::*;
use serde_json::json;

use crate::support::{Recorded, import};

fn vectors() -> Space {
    Space::unbounded(&[4]).unwrap()
}

#[test]
fn cleanrls_compiled_agent_for_discrete_actions_computes_the_same() {
    let config = json!({ "fcnet_hiddens": [8, 6], "vf_share_layers": false });
    let map = NameMap::cleanrl_ppo().remove_level("_orig_mod");
    let spaces = [vectors(), Space::discrete(2).unwrap()];
    let module = import("cleanrl_discrete", &map, spaces, config);
    Recorded::read("cleanrl_discrete_recorded").check_outputs::<2>(&module);
}

#[test]
fn cleanrls_agent_for_continuous_actions_computes_the_same() {
    let config = json!({ "fcnet_hiddens": [8, 6], "vf_share_layers": false, "free_log_std": true });
    let spaces = [vectors(), Space::boxed(-1.0, 1.0, &[3]).unwrap()];
    let module = import("cleanrl_continuous", &NameMap::cleanrl_ppo(), spaces, config);
    Recorded::read("cleanrl_continuous_recorded").check_outputs::<2>(&module);
}

#[test]
fn cleanrls_agent_for_atari_computes_the_same_from_bytes() {
    let config = json!({
        "conv_filters": [[5, 8, 4, "valid"], [6, 4, 2, "valid"], [4, 3, 1, "valid"]],
        "conv_fcnet_hiddens": [7],
        "vf_share_layers": true,
    });
    let spaces = [Space::image(&[44, 44, 4]).unwrap(), Space::discrete(3).unwrap()];
    let module = import("cleanrl_atari", &NameMap::cleanrl_ppo(), spaces, config);
    Recorded::read("cleanrl_atari_recorded").check_outputs::<4>(&module);
}
