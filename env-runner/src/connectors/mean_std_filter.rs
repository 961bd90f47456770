//! Observations with mean 0 and standard deviation 1.

use rekindle_env::{Buffer, Space};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Count, mean and sum of squared deviations of every element of a row (Welford).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunningStats {
    count: f64,
    mean: Vec<f64>,
    m2: Vec<f64>,
}

impl RunningStats {
    fn reserve(&mut self, width: usize) {
        self.mean.resize(width, 0.0);
        self.m2.resize(width, 0.0);
    }

    fn push(&mut self, row: &[f32]) {
        self.count += 1.0;
        for ((x, mean), m2) in row.iter().zip(&mut self.mean).zip(&mut self.m2) {
            let x = f64::from(*x);
            let delta = x - *mean;
            *mean += delta / self.count;
            *m2 += delta * (x - *mean);
        }
    }

    /// The statistics of both sets of rows together (Chan et al., 1979).
    fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        self.reserve(other.mean.len());
        let count = self.count + other.count;
        for (i, (mean, m2)) in self.mean.iter_mut().zip(&mut self.m2).enumerate() {
            let delta = other.mean[i] - *mean;
            *mean += delta * other.count / count;
            *m2 += other.m2[i] + delta * delta * self.count * other.count / count;
        }
        self.count = count;
    }

    /// The sample standard deviation; 1 until two rows were seen.
    fn std(&self, index: usize) -> f64 {
        if self.count < 2.0 { 1.0 } else { (self.m2[index] / (self.count - 1.0)).sqrt() }
    }

    fn is_consistent(&self) -> bool {
        self.mean.len() == self.m2.len() && self.count >= 0.0
    }
}

/// Standardises float observations by their running mean and standard deviation:
/// `clip((x − μ) / (σ + 1e-6), ±clip_by_value)`.
///
/// Runners learn separately and merge what they learnt between samples, by the parallel form of
/// Welford's algorithm: merging equals one filter that saw everything.
#[derive(Debug, Clone)]
pub struct MeanStdFilter {
    de_mean_to_zero: bool,
    de_std_to_one: bool,
    clip_by_value: Option<f32>,
    /// As of the last merge.
    merged: RunningStats,
    /// Learnt since.
    delta: RunningStats,
    /// `merged` and `delta` together: what rows are standardised with.
    current: RunningStats,
}

impl MeanStdFilter {
    /// A filter that has seen nothing.
    pub fn new(de_mean_to_zero: bool, de_std_to_one: bool, clip_by_value: Option<f32>) -> Self {
        Self {
            de_mean_to_zero,
            de_std_to_one,
            clip_by_value,
            merged: RunningStats::default(),
            delta: RunningStats::default(),
            current: RunningStats::default(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterState {
    merged: RunningStats,
    delta: RunningStats,
    current: RunningStats,
}

fn parse<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|e| invalid(e.to_string()))
}

fn invalid(reason: String) -> RunnerError {
    RunnerError::InvalidState { component: "MeanStdFilter", reason }
}

impl Connector for MeanStdFilter {
    fn name(&self) -> &'static str {
        "MeanStdFilter"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let refuse = |reason: &str| RunnerError::ConnectorSpace {
            connector: self.name().into(),
            space: input.to_string(),
            reason: reason.into(),
        };
        let Space::Box(space) = input else {
            return Err(refuse("only Box observations can be standardised"));
        };
        let width: usize = space.shape().iter().product();
        let bound = match self.clip_by_value {
            Some(bound) if self.de_std_to_one && self.de_mean_to_zero => bound,
            _ => f32::INFINITY,
        };
        Ok(Space::Box(rekindle_env::BoxSpace::new(
            vec![-bound; width],
            vec![bound; width],
            space.shape(),
        )?))
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        let rows = input.rows().max(1);
        let data = input.as_f32()?;
        let width = data.len() / rows;
        for stats in [&mut self.delta, &mut self.current] {
            stats.reserve(width);
        }
        if cx.update && width > 0 {
            for row in data.chunks_exact(width) {
                self.delta.push(row);
                self.current.push(row);
            }
        }
        for (i, (out, x)) in output.as_f32_mut()?.iter_mut().zip(data).enumerate() {
            let (mut y, i) = (f64::from(*x), i % width);
            if self.de_mean_to_zero {
                y -= self.current.mean[i];
            }
            if self.de_std_to_one {
                y /= self.current.std(i) + 1e-6;
            }
            let y = y as f32;
            *out = self.clip_by_value.map_or(y, |bound| y.clamp(-bound, bound));
        }
        Ok(())
    }

    fn get_state(&self) -> Result<Value> {
        let state = FilterState {
            merged: self.merged.clone(),
            delta: self.delta.clone(),
            current: self.current.clone(),
        };
        serde_json::to_value(state).map_err(|e| invalid(e.to_string()))
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        let state: FilterState = parse(state)?;
        if ![&state.merged, &state.delta, &state.current].iter().all(|s| s.is_consistent()) {
            return Err(invalid("mean and deviation differ in length".into()));
        }
        self.merged = state.merged;
        self.delta = state.delta;
        self.current = state.current;
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Value> {
        let delta = std::mem::take(&mut self.delta);
        serde_json::to_value(delta).map_err(|e| invalid(e.to_string()))
    }

    fn merge(&mut self, deltas: &[Value]) -> Result<()> {
        for delta in deltas {
            let delta: RunningStats = parse(delta)?;
            if !delta.is_consistent() {
                return Err(invalid("mean and deviation differ in length".into()));
            }
            self.merged.merge(&delta);
        }
        self.current = self.merged.clone();
        self.delta = RunningStats::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data: &[f32]) -> Buffer {
        Buffer::from_f32(data.to_vec(), &[1]).unwrap()
    }

    #[test]
    fn a76_statistics_over_1_2_3_4_are_mean_2_5_and_variance_5_thirds() {
        let mut filter = MeanStdFilter::new(true, true, Some(10.0));
        let mut out = column(&[0.0; 4]);
        filter
            .transform(&column(&[1.0, 2.0, 3.0, 4.0]), &mut out, ConnectorContext::rows(true))
            .unwrap();
        assert_eq!(filter.current.mean, [2.5]);
        assert!((filter.current.std(0) - 1.290994).abs() < 1e-6);
        let expected = (4.0 - 2.5) / (1.290994 + 1e-6);
        assert!((out.as_f32().unwrap()[3] - expected).abs() < 1e-5);
    }

    #[test]
    fn merging_the_deltas_of_two_filters_equals_one_filter_over_the_union() {
        let data: Vec<f32> = (0..40).map(|i| (i as f32 * 1.7).sin() * 5.0 + 2.0).collect();
        let mut one = MeanStdFilter::new(true, true, None);
        let mut out = column(&[0.0; 40]);
        one.transform(&column(&data), &mut out, ConnectorContext::rows(true)).unwrap();

        let mut two: Vec<_> = (0..2).map(|_| MeanStdFilter::new(true, true, None)).collect();
        for round in 0..2 {
            for (i, filter) in two.iter_mut().enumerate() {
                let from = round * 20 + i * 10;
                let mut out = column(&[0.0; 10]);
                filter
                    .transform(
                        &column(&data[from..from + 10]),
                        &mut out,
                        ConnectorContext::rows(true),
                    )
                    .unwrap();
            }
            let deltas: Vec<_> = two.iter_mut().map(|f| f.take_delta().unwrap()).collect();
            two.iter_mut().for_each(|f| f.merge(&deltas).unwrap());
        }
        assert_eq!(two[0].current, two[1].current);
        assert_eq!(two[0].current.count, 40.0);
        assert!((two[0].current.mean[0] - one.current.mean[0]).abs() < 1e-12);
        assert!((two[0].current.std(0) - one.current.std(0)).abs() < 1e-12);
    }

    #[test]
    fn frozen_filters_transform_without_learning_and_states_round_trip() {
        let mut filter = MeanStdFilter::new(true, true, Some(10.0));
        let mut out = column(&[0.0; 3]);
        filter
            .transform(&column(&[1.0, 2.0, 6.0]), &mut out, ConnectorContext::rows(true))
            .unwrap();
        let state = filter.get_state().unwrap();
        filter
            .transform(&column(&[9.0, 9.0, 9.0]), &mut out, ConnectorContext::rows(false))
            .unwrap();
        assert_eq!(filter.get_state().unwrap(), state);
        let mut restored = MeanStdFilter::new(true, true, Some(10.0));
        restored.set_state(&state).unwrap();
        let mut again = column(&[0.0; 3]);
        restored
            .transform(&column(&[9.0, 9.0, 9.0]), &mut again, ConnectorContext::rows(false))
            .unwrap();
        assert_eq!(out, again);
        assert!(restored.set_state(&serde_json::json!({"n": 1})).is_err());
    }
}
