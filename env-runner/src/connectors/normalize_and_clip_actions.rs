//! From the policy's actions to the environment's.

use rekindle_env::{BoxDType, Buffer, Space};

use super::{Connector, ConnectorContext};
use crate::Result;

/// Maps actions from [−1, 1] to the bounds of bounded float Boxes, or clips them to the bounds.
///
/// With `normalize_actions` the module acts in [−1, 1]: `low + (a + 1)·(high − low)/2`, then
/// clipped. Otherwise, with `clip_actions`, actions are clipped to the bounds. In a Dict or Tuple
/// this holds for each float Box at any depth; actions of other spaces pass unchanged. The sampled
/// actions, which losses use, are not changed.
#[derive(Debug, Clone)]
pub struct NormalizeAndClipActions(Rule);

/// What happens to the actions of a space.
#[derive(Debug, Clone)]
enum Rule {
    /// They pass.
    Keep,
    /// They are scaled to the bounds of each element, or only clipped.
    Bound { low: Vec<f32>, high: Vec<f32>, normalize: bool },
    /// Each part of a Dict has a rule of its own.
    Dict(Vec<(String, Self)>),
    /// Each part of a Tuple has a rule of its own.
    Tuple(Vec<Self>),
}

impl NormalizeAndClipActions {
    /// The connector for an action space.
    pub fn new(space: &Space, normalize_actions: bool, clip_actions: bool) -> Self {
        Self(Rule::new(space, normalize_actions, clip_actions))
    }

    /// Scales the environment's actions to [−1, 1], or copies those that are not scaled.
    ///
    /// # Errors
    /// If the actions are not of the action space.
    pub fn invert(&self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        self.0.invert(output, input)
    }
}

impl Rule {
    fn new(space: &Space, normalize_actions: bool, clip_actions: bool) -> Self {
        let rule = |part: &Space| Self::new(part, normalize_actions, clip_actions);
        match space {
            Space::Box(b) if b.dtype() == BoxDType::Float32 => {
                let normalize = normalize_actions && b.is_bounded();
                if !normalize && !clip_actions {
                    return Self::Keep;
                }
                Self::Bound { low: b.low().to_vec(), high: b.high().to_vec(), normalize }
            }
            Space::Dict(dict) => {
                Self::Dict(dict.iter().map(|(key, part)| (key.to_string(), rule(part))).collect())
            }
            Space::Tuple(tuple) => Self::Tuple(tuple.spaces().iter().map(rule).collect()),
            _ => Self::Keep,
        }
    }

    fn apply(&self, input: &Buffer, output: &mut Buffer) -> Result<()> {
        match self {
            Self::Keep => {
                output.clear();
                output.extend_from(input, 0..input.rows())?;
            }
            Self::Bound { low, high, normalize } => {
                let bounds = low.iter().zip(high).cycle();
                let actions = output.as_f32_mut()?.iter_mut().zip(input.as_f32()?);
                for ((out, a), (low, high)) in actions.zip(bounds) {
                    let a = if *normalize { low + (a + 1.0) * (high - low) / 2.0 } else { *a };
                    *out = a.clamp(*low, *high);
                }
            }
            Self::Dict(parts) => {
                for (key, rule) in parts {
                    rule.apply(input.get(key)?, output.part_mut(key)?)?;
                }
            }
            Self::Tuple(parts) => {
                for (position, rule) in parts.iter().enumerate() {
                    rule.apply(input.index(position)?, output.part_mut(&position.to_string())?)?;
                }
            }
        }
        Ok(())
    }

    fn invert(&self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        match self {
            Self::Bound { low, high, normalize: true } => {
                let bounds = low.iter().zip(high).cycle();
                let actions = input.as_f32_mut()?.iter_mut().zip(output.as_f32()?);
                for ((out, a), (low, high)) in actions.zip(bounds) {
                    *out = if high > low { 2.0 * (a - low) / (high - low) - 1.0 } else { 0.0 };
                }
            }
            Self::Dict(parts) => {
                for (key, rule) in parts {
                    rule.invert(output.get(key)?, input.part_mut(key)?)?;
                }
            }
            Self::Tuple(parts) => {
                for (position, rule) in parts.iter().enumerate() {
                    rule.invert(output.index(position)?, input.part_mut(&position.to_string())?)?;
                }
            }
            Self::Keep | Self::Bound { .. } => {
                input.clear();
                input.extend_from(output, 0..output.rows())?;
            }
        }
        Ok(())
    }
}

impl Connector for NormalizeAndClipActions {
    fn name(&self) -> &'static str {
        "NormalizeAndClipActions"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        Ok(input.clone())
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        _cx: ConnectorContext<'_>,
    ) -> Result<()> {
        self.0.apply(input, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(space: &Space, normalize: bool, clip: bool, actions: &[f32]) -> Vec<f32> {
        let input = Buffer::from_f32(actions.to_vec(), &[1]).unwrap();
        let mut output = Buffer::zeros(space, actions.len());
        let mut connector = NormalizeAndClipActions::new(space, normalize, clip);
        connector.transform(&input, &mut output, ConnectorContext::rows(true)).unwrap();
        output.as_f32().unwrap().to_vec()
    }

    #[test]
    fn a76_minus_one_half_in_0_to_4_becomes_1() {
        let space = Space::boxed(0.0, 4.0, &[1]).unwrap();
        assert_eq!(apply(&space, true, false, &[-0.5, -7.0, 1.0]), [1.0, 0.0, 4.0]);
    }

    #[test]
    fn clipping_keeps_the_scale_and_without_both_nothing_changes() {
        let space = Space::boxed(0.0, 4.0, &[1]).unwrap();
        assert_eq!(apply(&space, false, true, &[-0.5, 3.0, 9.0]), [0.0, 3.0, 4.0]);
        assert_eq!(apply(&space, false, false, &[-0.5, 9.0]), [-0.5, 9.0]);
    }

    #[test]
    fn discrete_actions_pass_unchanged() {
        let space = Space::discrete(3).unwrap();
        let input = Buffer::from_i64(vec![2, 0], &[]).unwrap();
        let mut output = Buffer::zeros(&space, 2);
        NormalizeAndClipActions::new(&space, true, true)
            .transform(&input, &mut output, ConnectorContext::rows(true))
            .unwrap();
        assert_eq!(input, output);
    }

    /// A thumbstick, a trigger without bounds, and buttons.
    fn nested() -> (Space, Buffer) {
        let triggers =
            Space::tuple([Space::unbounded(&[1]).unwrap(), Space::multi_binary(2).unwrap()]);
        let space = Space::dict([
            ("stick", Space::box_between([0.0, -2.0], [4.0, 2.0]).unwrap()),
            ("button", Space::discrete(3).unwrap()),
            ("triggers", triggers.unwrap()),
        ])
        .unwrap();
        let mut input = Buffer::zeros(&space, 2);
        for row in 0..2 {
            let mut action = input.row_mut(row);
            action.get_mut("stick").unwrap().write_f32(&[-0.5, 7.0]).unwrap();
            action.get_mut("button").unwrap().set_discrete(2).unwrap();
            let mut triggers = action.get_mut("triggers").unwrap();
            triggers.index_mut(0).unwrap().write_f32(&[-9.0]).unwrap();
            triggers.index_mut(1).unwrap().write_bytes(&[1, 0]).unwrap();
        }
        (space, input)
    }

    #[test]
    fn float_boxes_inside_dicts_and_tuples_are_bounded_and_other_parts_pass() {
        let (space, input) = nested();
        let sticks = [
            (true, false, [1.0, 2.0]),
            (true, true, [1.0, 2.0]),
            (false, true, [0.0, 2.0]),
            (false, false, [-0.5, 7.0]),
        ];
        for (normalize, clip, stick) in sticks {
            let mut output = Buffer::zeros(&space, 2);
            NormalizeAndClipActions::new(&space, normalize, clip)
                .transform(&input, &mut output, ConnectorContext::rows(true))
                .unwrap();
            assert_eq!(output.get("stick").unwrap().as_f32().unwrap(), [stick, stick].concat());
            for part in ["button", "triggers"] {
                assert_eq!(output.get(part).unwrap(), input.get(part).unwrap());
            }
        }
    }

    #[test]
    fn actions_of_another_space_are_refused() {
        let (space, _) = nested();
        let flat = Buffer::from_f32(vec![0.0; 2], &[2]).unwrap();
        let mut output = Buffer::zeros(&space, 1);
        let mut connector = NormalizeAndClipActions::new(&space, true, false);
        assert!(connector.transform(&flat, &mut output, ConnectorContext::rows(true)).is_err());
    }
}
