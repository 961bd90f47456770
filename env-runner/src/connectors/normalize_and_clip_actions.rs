//! Scaling and clipping of actions.

use rekindle_env::{BoxDType, BoxSpace, Buffer, Space};
use rekindle_onnx::{ElementType, Graph, Values};
use serde_json::Value;

use super::{Connector, ConnectorContext};
use crate::Result;

/// Scales actions from [−1, 1] to the bounds of bounded Boxes, or clips them to the bounds; RLlib's
/// `NormalizeAndClipActions`.
///
/// | Box | `normalize_actions` (default) | `clip_actions` alone | neither |
/// |---|---|---|---|
/// | bounded | `low + (a + 1)·(high − low)/2`, clipped | clipped | unchanged |
/// | some bounds infinite | not scaled; clipped to the finite ones | clipped | unchanged |
/// | unbounded | unchanged | unchanged | unchanged |
/// | of integers | as above, then rounded | rounded, clipped | rounded, clipped |
///
/// RLlib leaves a Box with some infinite bounds unclipped under `normalize_actions`, so that its
/// actions leave the space. In a Dict or Tuple the table holds for each Box at any depth; actions of
/// other spaces pass unchanged. The sampled actions, which losses use, are not changed.
///
/// # Shapes
/// The [`module_space`](Self::module_space), where Boxes of integers are `float32`, to the action
/// space of the environment.
///
/// # State
/// None.
#[derive(Debug, Clone)]
pub struct NormalizeAndClipActions {
    space: Space,
    rule: Rule,
}

/// The transformation of the actions of a space.
#[derive(Debug, Clone)]
enum Rule {
    /// Actions pass unchanged.
    Keep,
    /// Actions are scaled to the bounds of each element and clipped, or only clipped.
    Bound { low: Vec<f32>, high: Vec<f32>, normalize: bool },
    /// Each part of a Dict has its own rule.
    Dict(Vec<(String, Self)>),
    /// Each part of a Tuple has its own rule.
    Tuple(Vec<Self>),
}

impl NormalizeAndClipActions {
    /// Creates the connector for the action space of an environment.
    #[must_use]
    pub fn new(space: &Space, normalize_actions: bool, clip_actions: bool) -> Self {
        Self { space: space.clone(), rule: Rule::new(space, normalize_actions, clip_actions) }
    }

    /// Returns the space that the module acts in: the environment's, with Boxes of integers as
    /// `float32`.
    #[must_use]
    pub fn module_space(&self) -> Space {
        module_space(&self.space)
    }
}

fn module_space(space: &Space) -> Space {
    let float = match space {
        Space::Box(b) if b.dtype() != BoxDType::Float32 => {
            BoxSpace::new(b.low(), b.high(), b.shape()).map(Space::Box)
        }
        Space::Dict(dict) => Space::dict(dict.iter().map(|(key, part)| (key, module_space(part)))),
        Space::Tuple(tuple) => {
            Space::tuple(tuple.spaces().iter().map(module_space).collect::<Vec<_>>())
        }
        _ => Ok(space.clone()),
    };
    // The space stays valid, because only the element type changes.
    float.unwrap_or_else(|_| space.clone())
}

impl Rule {
    fn new(space: &Space, normalize_actions: bool, clip_actions: bool) -> Self {
        let rule = |part: &Space| Self::new(part, normalize_actions, clip_actions);
        match space {
            Space::Box(b) => {
                let is_float = b.dtype() == BoxDType::Float32;
                if is_float && !normalize_actions && !clip_actions {
                    return Self::Keep;
                }
                let normalize = normalize_actions && b.is_bounded();
                Self::Bound { low: b.low().to_vec(), high: b.high().to_vec(), normalize }
            }
            Space::Dict(dict) => {
                Self::Dict(dict.iter().map(|(key, part)| (key.to_string(), rule(part))).collect())
            }
            Space::Tuple(tuple) => Self::Tuple(tuple.spaces().iter().map(rule).collect()),
            _ => Self::Keep,
        }
    }

    /// Transforms the module's actions to the environment's.
    fn apply(&self, input: &Buffer, output: &mut Buffer) -> Result<()> {
        match self {
            Self::Keep => copy(input, output)?,
            Self::Bound { low, high, normalize } => {
                let bound = |a: f32, low: f32, high: f32| {
                    let width = high - low;
                    let a = match *normalize {
                        true if width.is_finite() => low + (a + 1.0) * width / 2.0,
                        true => wide(a, low, high),
                        false => a,
                    };
                    a.clamp(low, high)
                };
                let bounds = low.iter().zip(high).cycle();
                let actions = input.as_f32()?.iter().zip(bounds);
                let actions = actions.map(|(a, (low, high))| bound(*a, *low, *high));
                if let Ok(floats) = output.as_f32_mut() {
                    floats.iter_mut().zip(actions).for_each(|(out, a)| *out = a);
                } else if let Ok(bytes) = output.as_u8_mut() {
                    bytes.iter_mut().zip(actions).for_each(|(out, a)| *out = a.round() as u8);
                } else {
                    let integers = output.as_i64_mut()?.iter_mut().zip(actions);
                    integers.for_each(|(out, a)| *out = a.round() as i64);
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

    /// Adds the transform of the actions of a space to an ONNX graph. Whole numbers stay floats.
    fn export_onnx(&self, space: &Space, graph: &mut Graph, actions: &Values) -> Result<Values> {
        let part = |name: &str, rule: &Self, space: &Space, graph: &mut Graph| {
            Ok((name.to_owned(), rule.export_onnx(space, graph, actions.part(name)?)?))
        };
        Ok(match (self, space) {
            (Self::Bound { low, high, normalize }, Space::Box(space)) => {
                let mut a = graph.rows(actions.one()?, low.len());
                if *normalize {
                    // In double precision, because the width of the bounds may be beyond single precision.
                    let [low, half]: [Vec<f64>; 2] = [
                        low.iter().map(|low| f64::from(*low)).collect(),
                        low.iter()
                            .zip(high)
                            .map(|(l, h)| (f64::from(*h) - f64::from(*l)) / 2.0)
                            .collect(),
                    ];
                    let [low, half] = [low, half].map(|row| graph.doubles(&row, &[row.len()]));
                    let one = graph.doubles(&[1.0], &[1]);
                    a = graph.cast(&a, ElementType::Float64);
                    a = graph.add(&a, &one);
                    a = graph.mul(&a, &half);
                    a = graph.add(&a, &low);
                    a = graph.cast(&a, ElementType::Float32);
                }
                let [low, high] = [low, high].map(|row| graph.floats(row, &[row.len()]));
                a = graph.max(&a, &low);
                a = graph.min(&a, &high);
                match space.dtype() {
                    BoxDType::Float32 => a.into(),
                    _ => graph.round_half_away(&a).into(),
                }
            }
            (Self::Dict(rules), Space::Dict(dict)) => {
                let parts = rules.iter().map(|(key, rule)| part(key, rule, dict.get(key)?, graph));
                Values::Parts(parts.collect::<Result<_>>()?)
            }
            (Self::Tuple(rules), Space::Tuple(tuple)) => {
                let parts = rules.iter().zip(tuple.spaces()).enumerate();
                let parts = parts.map(|(position, (rule, space))| {
                    part(&position.to_string(), rule, space, graph)
                });
                Values::Parts(parts.collect::<Result<_>>()?)
            }
            _ => actions.clone(),
        })
    }

    /// Transforms the environment's actions to the module's.
    fn invert(&self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        match self {
            Self::Keep => copy(output, input)?,
            Self::Bound { low, high, normalize } => {
                let scale = |a: f32, low: f32, high: f32| match *normalize {
                    true if (high - low).is_infinite() => wide_inverse(a, low, high),
                    true if high > low => 2.0 * (a - low) / (high - low) - 1.0,
                    true => 0.0,
                    false => a,
                };
                let bounds = low.iter().zip(high).cycle();
                let actions = input.as_f32_mut()?.iter_mut().zip(bounds);
                let actions = actions.map(|(out, (low, high))| (out, *low, *high));
                if let Ok(floats) = output.as_f32() {
                    actions.zip(floats).for_each(|((x, l, h), a)| *x = scale(*a, l, h));
                } else if let Ok(bytes) = output.as_u8() {
                    actions.zip(bytes).for_each(|((x, l, h), a)| *x = scale(f32::from(*a), l, h));
                } else {
                    let integers = actions.zip(output.as_i64()?);
                    integers.for_each(|((x, l, h), a)| *x = scale(*a as f32, l, h));
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
        }
        Ok(())
    }
}

/// Scales an action to bounds whose width is beyond single precision.
#[cold]
fn wide(a: f32, low: f32, high: f32) -> f32 {
    let (low, high) = (f64::from(low), f64::from(high));
    (low + (f64::from(a) + 1.0) * (high - low) / 2.0) as f32
}

/// Undoes [`wide`].
#[cold]
fn wide_inverse(a: f32, low: f32, high: f32) -> f32 {
    let (low, high) = (f64::from(low), f64::from(high));
    (2.0 * (f64::from(a) - low) / (high - low) - 1.0) as f32
}

fn copy(from: &Buffer, to: &mut Buffer) -> Result<()> {
    to.clear();
    Ok(to.extend_from(from, 0..from.rows())?)
}

impl Connector for NormalizeAndClipActions {
    fn name(&self) -> &'static str {
        "NormalizeAndClipActions"
    }

    fn output_space(&self, _input: &Space) -> Result<Space> {
        Ok(self.space.clone())
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        _cx: ConnectorContext<'_>,
    ) -> Result<()> {
        self.rule.apply(input, output)
    }

    /// Scales the environment's actions to [−1, 1], or copies those that are not scaled. Clipping
    /// and rounding are not undone.
    fn invert(&self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        self.rule.invert(output, input)
    }

    fn export_onnx(&self, graph: &mut Graph, rows: &Values) -> Result<Values> {
        self.rule.export_onnx(&self.space, graph, rows)
    }

    fn get_memory(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn get_state(&self) -> Result<Value> {
        Ok(Value::Null)
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
    fn minus_one_half_in_0_to_4_becomes_1() {
        let space = Space::boxed(0.0, 4.0, &[1]).unwrap();
        assert_eq!(apply(&space, true, false, &[-0.5, -7.0, 1.0]), [1.0, 0.0, 4.0]);
    }

    /// The width of these bounds is beyond single precision.
    #[test]
    fn bounds_may_be_as_wide_as_single_precision() {
        let space = Space::boxed(-3e38, 3e38, &[1]).unwrap();
        let scaled = apply(&space, true, false, &[-1.0, -0.5, 0.0, 0.5, 1.0, 7.0]);
        assert_eq!(scaled, [-3e38, -1.5e38, 0.0, 1.5e38, 3e38, 3e38]);
        let connector = NormalizeAndClipActions::new(&space, true, false);
        let mut units = Buffer::zeros(&space, 4);
        let actions = Buffer::from_f32(vec![-3e38, 0.0, 1.5e38, 3e38], &[1]).unwrap();
        connector.invert(&actions, &mut units).unwrap();
        assert_eq!(units.as_f32().unwrap(), [-1.0, 0.0, 0.5, 1.0]);
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
            action.get_mut("button").unwrap().write_discrete(2).unwrap();
            let mut triggers = action.get_mut("triggers").unwrap();
            triggers.index_mut(0).unwrap().write_f32(&[-9.0]).unwrap();
            triggers.index_mut(1).unwrap().write_u8(&[1, 0]).unwrap();
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

    #[test]
    fn boxes_with_some_infinite_bounds_are_clipped_to_the_finite_ones() {
        let inf = f32::INFINITY;
        let space = Space::box_between([-1.0, -inf, 0.0], [inf, 2.0, 4.0]).unwrap();
        let input = Buffer::from_f32(vec![-3.0, 3.0, -3.0, 9.0, -9.0, 3.0], &[3]).unwrap();
        for (normalize, clip) in [(true, false), (true, true), (false, true)] {
            let mut output = Buffer::zeros(&space, 2);
            let mut connector = NormalizeAndClipActions::new(&space, normalize, clip);
            connector.transform(&input, &mut output, ConnectorContext::rows(true)).unwrap();
            assert_eq!(output.as_f32().unwrap(), [-1.0, 2.0, 0.0, 9.0, -9.0, 3.0]);
            assert!((0..2).all(|row| space.contains_row(output.row(row))));
        }
    }

    #[test]
    fn actions_of_integers_are_scaled_rounded_and_clipped() {
        let space = Space::Box(BoxSpace::bytes(10, 20, &[1]).unwrap());
        let connector = |normalize| NormalizeAndClipActions::new(&space, normalize, false);
        assert_eq!(connector(true).module_space(), Space::boxed(10.0, 20.0, &[1]).unwrap());
        let actions = [-7.0, -1.0, -0.29, 0.5, 1.0, 7.0];
        let transform = |mut connector: NormalizeAndClipActions, actions: &[f32]| {
            let input = Buffer::from_f32(actions.to_vec(), &[1]).unwrap();
            let mut output = Buffer::zeros(&space, actions.len());
            connector.transform(&input, &mut output, ConnectorContext::rows(true)).unwrap();
            output
        };
        let scaled = transform(connector(true), &actions);
        assert_eq!(scaled.as_u8().unwrap(), [10, 10, 14, 18, 20, 20]);
        let kept = transform(connector(false), &[12.4, 12.6, 300.0, -5.0]);
        assert_eq!(kept.as_u8().unwrap(), [12, 13, 20, 10]);
        // Every integer has actions that lead to it.
        let all = Buffer::from_u8((10..=20).collect(), &[1]).unwrap();
        for normalize in [true, false] {
            let connector = connector(normalize);
            let mut units = Buffer::zeros(&connector.module_space(), 11);
            connector.invert(&all, &mut units).unwrap();
            assert_eq!(transform(connector, units.as_f32().unwrap()), all);
        }
    }

    #[test]
    fn inverting_gives_the_actions_that_the_module_would_have_sampled() {
        let (space, _) = nested();
        for (normalize, expected) in [(true, [-0.5, 0.75]), (false, [1.0, 1.5])] {
            let mut connector = NormalizeAndClipActions::new(&space, normalize, false);
            let mut executed = Buffer::zeros(&space, 2);
            for row in 0..2 {
                let mut action = executed.row_mut(row);
                action.get_mut("stick").unwrap().write_f32(&[1.0, 1.5]).unwrap();
                action.get_mut("button").unwrap().write_discrete(2).unwrap();
            }
            let mut units = Buffer::zeros(&connector.module_space(), 2);
            connector.invert(&executed, &mut units).unwrap();
            let sticks = [expected, expected].concat();
            assert_eq!(units.get("stick").unwrap().as_f32().unwrap(), sticks);
            let mut again = Buffer::zeros(&space, 2);
            connector.transform(&units, &mut again, ConnectorContext::rows(true)).unwrap();
            assert_eq!(again, executed);
        }
        // Where only one action exists, the module may sample any.
        let point =
            NormalizeAndClipActions::new(&Space::boxed(3.0, 3.0, &[1]).unwrap(), true, false);
        let mut units = Buffer::from_f32(vec![9.0], &[1]).unwrap();
        point.invert(&Buffer::from_f32(vec![3.0], &[1]).unwrap(), &mut units).unwrap();
        assert_eq!(units.as_f32().unwrap(), [0.0]);
    }
}
