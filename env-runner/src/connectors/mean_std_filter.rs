//! Observations with mean 0 and standard deviation 1.

use rekindle_core::ConfigError;
use rekindle_env::{BoxDType, BoxSpace, Buffer, Space};
use rekindle_onnx::{ElementType, Graph, Values};
use serde_json::Value;

use super::running_stats::SharedStats;
use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Standardizes float observations by their running mean and standard deviation:
/// `clip((x − μ) / (σ + 1e-6), ±clip_by_value)`; RLlib's `MeanStdFilter`.
///
/// # Shapes
/// A `float32` Box of any shape to one of the same shape. Every element has its own statistics.
///
/// # State
/// Count, mean and sum of squared deviations. Each runner updates its own statistics, and the
/// runners merge them between samples by the parallel form of Welford's algorithm. The merged
/// statistics equal those of one filter over all observations.
///
/// # Non-finite observations
/// The statistics skip observations with a NaN or an infinity, and count them
/// ([`skipped`](Self::skipped)). The result for an infinity is the bound, if there is one; a NaN
/// stays NaN.
#[derive(Debug, Clone)]
pub struct MeanStdFilter {
    de_mean_to_zero: bool,
    de_std_to_one: bool,
    clip_by_value: Option<f32>,
    /// Elements of a row.
    width: usize,
    /// The shape of a row.
    shape: Vec<usize>,
    stats: SharedStats,
    /// `σ + 1e-6` of every element, while rows are transformed.
    divisors: Vec<f64>,
}

const NAME: &str = "MeanStdFilter";

impl MeanStdFilter {
    /// Creates a filter without statistics.
    ///
    /// `de_mean_to_zero` subtracts the mean, `de_std_to_one` divides by the standard deviation, and
    /// `clip_by_value` bounds the absolute result.
    ///
    /// # Errors
    /// [`RunnerError::Config`] if `clip_by_value` is not above 0 and finite, or if all three are off.
    pub fn new(
        de_mean_to_zero: bool,
        de_std_to_one: bool,
        clip_by_value: Option<f32>,
    ) -> Result<Self> {
        if let Some(bound) = clip_by_value
            && !(bound > 0.0 && bound.is_finite())
        {
            return Err(ConfigError::new(
                "MeanStdFilter.clip_by_value",
                bound.to_string(),
                "it must be above 0 and finite; leave it out (`None`) for no bound",
            )
            .into());
        }
        if !de_mean_to_zero && !de_std_to_one && clip_by_value.is_none() {
            return Err(ConfigError::new(
                "MeanStdFilter.de_std_to_one",
                "false",
                "`de_mean_to_zero` and `clip_by_value` are off too, so that the filter \
                             changes nothing; turn one on, or remove the filter",
            )
            .into());
        }
        Ok(Self {
            de_mean_to_zero,
            de_std_to_one,
            clip_by_value,
            width: 0,
            shape: Vec::new(),
            stats: SharedStats::default(),
            divisors: Vec::new(),
        })
    }

    /// Returns the number of observations that the statistics skipped because they were not
    /// finite.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.stats.skipped()
    }
}

impl Connector for MeanStdFilter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let refuse = |reason: &str| RunnerError::ConnectorSpace {
            connector: NAME.into(),
            space: input.to_string(),
            reason: reason.into(),
        };
        let Space::Box(space) = input else {
            return Err(refuse(
                "only Boxes can be standardized; flatten the observations first, or name a part \
                 with `on_part`",
            ));
        };
        if space.dtype() != BoxDType::Float32 {
            return Err(refuse(
                "only float32 observations can be standardized; integers are scaled by the \
                 encoder, or by `FlattenObservations` before the filter",
            ));
        }
        let bound = match self.clip_by_value {
            Some(bound) if self.de_std_to_one && self.de_mean_to_zero => bound,
            _ => f32::INFINITY,
        };
        let size = space.size();
        Ok(Space::Box(BoxSpace::new(vec![-bound; size], vec![bound; size], space.shape())?))
    }

    fn set_input_space(&mut self, input: &Space) {
        self.width = input.flat_dim();
        self.shape = input.as_box().map(|space| space.shape().to_vec()).unwrap_or_default();
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        self.width = input.shape()?.iter().product();
        let (data, width) = (input.as_f32()?, self.width.max(1));
        self.stats.reserve(self.width);
        if cx.update {
            for row in data.chunks_exact(width) {
                self.stats.push(NAME, row.iter().map(|x| f64::from(*x)));
            }
        }
        let stats = self.stats.current();
        self.divisors.clear();
        self.divisors.extend((0..self.width).map(|i| match self.de_std_to_one {
            true => stats.std(i) + 1e-6,
            false => 1.0,
        }));
        let rows = output.as_f32_mut()?.chunks_exact_mut(width).zip(data.chunks_exact(width));
        for (out, row) in rows {
            for (i, ((out, x), divisor)) in out.iter_mut().zip(row).zip(&self.divisors).enumerate()
            {
                let mean = if self.de_mean_to_zero { stats.mean(i) } else { 0.0 };
                let y = ((f64::from(*x) - mean) / divisor) as f32;
                *out = self.clip_by_value.map_or(y, |bound| y.clamp(-bound, bound));
            }
        }
        Ok(())
    }

    /// Computes in double precision, as [`transform`](Self::transform) does.
    fn export_onnx(&self, graph: &mut Graph, rows: &Values) -> Result<Values> {
        let (width, mut stats) = (self.width, self.stats.clone());
        stats.reserve(width);
        let stats = stats.current();
        let shape: Vec<i64> =
            [-1].into_iter().chain(self.shape.iter().map(|n| *n as i64)).collect();
        let mut x = graph.rows(rows.one()?, width);
        x = graph.cast(&x, ElementType::Float64);
        if self.de_mean_to_zero {
            let mean: Vec<_> = (0..width).map(|i| stats.mean(i)).collect();
            let mean = graph.doubles(&mean, &[width]);
            x = graph.sub(&x, &mean);
        }
        if self.de_std_to_one {
            let divisors: Vec<_> = (0..width).map(|i| stats.std(i) + 1e-6).collect();
            let divisors = graph.doubles(&divisors, &[width]);
            x = graph.div(&x, &divisors);
        }
        x = graph.cast(&x, ElementType::Float32);
        if let Some(bound) = self.clip_by_value {
            x = graph.clip(&x, -bound, bound);
        }
        Ok(graph.reshape(&x, &shape).into())
    }

    fn get_state(&self) -> Result<Value> {
        self.stats.save()
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        self.stats.load(NAME, state, self.width)
    }

    fn take_delta(&mut self) -> Result<Value> {
        self.stats.take_delta()
    }

    fn merge(&mut self, deltas: &[Value]) -> Result<()> {
        self.stats.merge(NAME, deltas, self.width)
    }

    fn get_memory(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data: &[f32]) -> Buffer {
        Buffer::from_f32(data.to_vec(), &[1]).unwrap()
    }

    fn filter(clip_by_value: Option<f32>) -> MeanStdFilter {
        let mut filter = MeanStdFilter::new(true, true, clip_by_value).unwrap();
        filter.set_input_space(&Space::unbounded(&[1]).unwrap());
        filter
    }

    fn transform(filter: &mut MeanStdFilter, data: &[f32], update: bool) -> Vec<f32> {
        let mut out = column(&vec![0.0; data.len()]);
        filter.transform(&column(data), &mut out, ConnectorContext::rows(update)).unwrap();
        out.as_f32().unwrap().to_vec()
    }

    #[test]
    fn statistics_over_1_2_3_4_are_mean_2_5_and_variance_5_thirds() {
        let mut filter = filter(Some(10.0));
        let out = transform(&mut filter, &[1.0, 2.0, 3.0, 4.0], true);
        assert_eq!(filter.stats.current().mean(0), 2.5);
        assert!((filter.stats.current().std(0) - 1.290994).abs() < 1e-6);
        let expected = (4.0 - 2.5) / (1.290994 + 1e-6);
        assert!((out[3] - expected).abs() < 1e-5);
    }

    #[test]
    fn merging_the_deltas_of_two_filters_equals_one_filter_over_the_union() {
        let data: Vec<f32> = (0..40).map(|i| (i as f32 * 1.7).sin() * 5.0 + 2.0).collect();
        let mut one = filter(None);
        transform(&mut one, &data, true);
        let mut two = [filter(None), filter(None)];
        for round in 0..2 {
            for (i, filter) in two.iter_mut().enumerate() {
                let from = round * 20 + i * 10;
                transform(filter, &data[from..from + 10], true);
            }
            let deltas: Vec<_> = two.iter_mut().map(|f| f.take_delta().unwrap()).collect();
            two.iter_mut().for_each(|f| f.merge(&deltas).unwrap());
        }
        assert_eq!(two[0].stats, two[1].stats);
        assert_eq!(two[0].get_state().unwrap()["current"]["count"], 40.0);
        let [one, two] = [one.stats.current(), two[0].stats.current()];
        assert!((two.mean(0) - one.mean(0)).abs() < 1e-12);
        assert!((two.std(0) - one.std(0)).abs() < 1e-12);
    }

    #[test]
    fn frozen_filters_transform_without_learning_and_states_round_trip() {
        let mut filter = filter(Some(10.0));
        transform(&mut filter, &[1.0, 2.0, 6.0], true);
        let state = filter.get_state().unwrap();
        let out = transform(&mut filter, &[9.0, 9.0, 9.0], false);
        assert_eq!(filter.get_state().unwrap(), state);
        let mut restored = self::filter(Some(10.0));
        restored.set_state(&state).unwrap();
        assert_eq!(out, transform(&mut restored, &[9.0, 9.0, 9.0], false));
        assert!(restored.set_state(&serde_json::json!({"n": 1})).is_err());
        assert_eq!(restored.get_state().unwrap(), state);
    }

    #[test]
    fn an_observation_that_is_not_finite_leaves_the_filter_finite_and_loadable() {
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut with = filter(Some(10.0));
            let out = transform(&mut with, &[1.0, 2.0, bad, 6.0], true);
            match bad.is_nan() {
                true => assert!(out[2].is_nan(), "{out:?}"),
                false => assert_eq!(out[2], 10.0_f32.copysign(bad), "{out:?}"),
            }
            let mut without = filter(Some(10.0));
            transform(&mut without, &[1.0, 2.0, 6.0], true);
            let next = transform(&mut with, &[3.0], false);
            assert_eq!(next, transform(&mut without, &[3.0], false));
            assert_eq!((with.skipped(), without.skipped()), (1, 0));
            let mut restored = filter(Some(10.0));
            restored.set_state(&with.get_state().unwrap()).unwrap();
            assert_eq!(restored.stats, with.stats);
        }
    }

    #[test]
    fn no_rows_leave_the_statistics_as_they_are() {
        let mut filter = filter(None);
        transform(&mut filter, &[1.0, 2.0, 6.0], true);
        let state = filter.get_state().unwrap();
        transform(&mut filter, &[], true);
        assert_eq!(filter.get_state().unwrap(), state);
    }

    #[test]
    fn spaces_and_settings_that_cannot_work_are_refused_by_name() {
        let filter = MeanStdFilter::new(true, true, None).unwrap();
        let bytes = filter.output_space(&Space::image(&[4]).unwrap()).unwrap_err().to_string();
        assert!(bytes.contains("`MeanStdFilter`") && bytes.contains("only float32"), "{bytes}");
        for bound in [-1.0, 0.0, f32::NAN, f32::INFINITY] {
            let error = MeanStdFilter::new(true, true, Some(bound)).unwrap_err().to_string();
            assert!(
                error.contains(&format!("`MeanStdFilter.clip_by_value` is {bound}")),
                "{error}"
            );
        }
        assert!(MeanStdFilter::new(false, false, None).is_err());
    }
}
