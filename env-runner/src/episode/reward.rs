//! Rewards that survive text formats, which have no infinities.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A reward: a number, or `"inf"`, `"-inf"`, `"NaN"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Reward {
    Finite(f64),
    NonFinite(String),
}

pub(super) fn serialize<S: Serializer>(rewards: &[f64], to: S) -> Result<S::Ok, S::Error> {
    if !to.is_human_readable() {
        return rewards.serialize(to);
    }
    to.collect_seq(rewards.iter().map(|&reward| {
        if reward.is_finite() {
            Reward::Finite(reward)
        } else {
            Reward::NonFinite(reward.to_string())
        }
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    if !from.is_human_readable() {
        return Vec::deserialize(from);
    }
    let rewards = Vec::<Reward>::deserialize(from)?;
    rewards.into_iter().map(read).collect()
}

fn read<E: de::Error>(reward: Reward) -> Result<f64, E> {
    match reward {
        Reward::Finite(reward) => Ok(reward),
        Reward::NonFinite(text) => match text.as_str() {
            "inf" | "-inf" | "NaN" => text.parse().map_err(E::custom),
            _ => Err(E::invalid_value(de::Unexpected::Str(&text), &"a reward")),
        },
    }
}
