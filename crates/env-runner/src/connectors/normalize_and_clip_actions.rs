//! From the policy's actions to the environment's.

use rekindle_env::{BoxDType, Buffer, Space};

use super::Connector;
use crate::Result;

/// Maps actions from [−1, 1] to the bounds of a bounded float Box, or clips them to its bounds.
///
/// With `normalize_actions` the module acts in [−1, 1]: `low + (a + 1)·(high − low)/2`, then
/// clipped. Otherwise, with `clip_actions`, actions are clipped to the bounds. Actions of other
/// spaces pass unchanged. The sampled actions, which losses use, are not changed.
#[derive(Debug, Clone)]
pub struct NormalizeAndClipActions {
    bounds: Option<(Vec<f32>, Vec<f32>)>,
    normalize: bool,
}

impl NormalizeAndClipActions {
    /// The connector for an action space.
    pub fn new(space: &Space, normalize_actions: bool, clip_actions: bool) -> Self {
        let bounds = match space {
            Space::Box(b) if b.dtype() == BoxDType::Float32 => {
                Some((b.low().to_vec(), b.high().to_vec(), b.is_bounded()))
            }
            _ => None,
        };
        let normalize = normalize_actions && matches!(bounds, Some((_, _, true)));
        let active = normalize || clip_actions;
        Self { bounds: bounds.filter(|_| active).map(|(low, high, _)| (low, high)), normalize }
    }
}

impl Connector for NormalizeAndClipActions {
    fn name(&self) -> &'static str {
        "NormalizeAndClipActions"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        Ok(input.clone())
    }

    fn transform(&mut self, input: &Buffer, output: &mut Buffer, _update: bool) -> Result<()> {
        let Some((low, high)) = &self.bounds else {
            for row in 0..input.rows() {
                output.copy_row(row, input, row)?;
            }
            return Ok(());
        };
        let bounds = low.iter().zip(high).cycle();
        for ((out, a), (low, high)) in
            output.as_f32_mut()?.iter_mut().zip(input.as_f32()?).zip(bounds)
        {
            let a = if self.normalize { low + (a + 1.0) * (high - low) / 2.0 } else { *a };
            *out = a.clamp(*low, *high);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(space: &Space, normalize: bool, clip: bool, actions: &[f32]) -> Vec<f32> {
        let input = Buffer::from_f32(actions.to_vec(), &[1]).unwrap();
        let mut output = Buffer::zeros(space, actions.len());
        let mut connector = NormalizeAndClipActions::new(space, normalize, clip);
        connector.transform(&input, &mut output, true).unwrap();
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
            .transform(&input, &mut output, true)
            .unwrap();
        assert_eq!(input, output);
    }
}
