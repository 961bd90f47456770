//! A peer and rekindle, measured in turns.

use std::collections::BTreeSet;

use super::measurement::Measurement;
use super::workload::{Case, Goal, Metric};
use super::{Peer, Setting};
use crate::error::Result;
use crate::statistics::Spread;

/// Results of a peer and rekindle on one case.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The name of the case.
    pub(super) case: String,
    pub(super) metric: Metric,
    /// The peer and its version.
    pub(super) system: String,
    /// The peer's best setting.
    pub(super) setting: &'static str,
    pub(super) our_version: String,
    pub(super) peer: Spread,
    pub(super) ours: Spread,
    /// Factor by which rekindle is better, pair by pair.
    pub(super) ratio: Spread,
    pub(super) goal: Option<Goal>,
}

impl Comparison {
    /// Whether the goal is reached, or `None` without a goal.
    pub(super) fn reached(&self) -> Option<bool> {
        self.goal.map(|goal| match goal {
            Goal::Ratio(ratio) => self.ratio.median >= ratio,
            Goal::AtMost(bound) => self.ours.median <= bound,
        })
    }
}

/// A plan of measurements of a peer and rekindle.
pub(super) struct Turns<'a> {
    pub(super) peer: Peer,
    pub(super) metric: Metric,
    pub(super) cases: &'a [&'a Case],
    pub(super) settings: &'a [Setting],
    /// Number of pairs.
    pub(super) pairs: u32,
    /// Whether both run once before, to find the peer's best setting and to warm up caches.
    pub(super) warm_up: bool,
}

impl Turns<'_> {
    /// Measures a peer and rekindle in turns. Both closures return one measurement per case, in order.
    ///
    /// In each case the peer has the setting that was best in the warm-up.
    pub(super) fn alternate(
        &self,
        mut peer: impl FnMut(Setting) -> Result<Vec<Measurement>>,
        mut ours: impl FnMut() -> Result<Vec<Measurement>>,
    ) -> Result<Vec<Comparison>> {
        let mut best = vec![0; self.cases.len()];
        if self.warm_up {
            let tries: Vec<_> =
                self.settings.iter().map(|setting| peer(*setting)).collect::<Result<_>>()?;
            for (case, best) in best.iter_mut().enumerate() {
                let better = |a: &usize, b: &usize| {
                    let ratio = self.metric.ratio(tries[*a][case].value, tries[*b][case].value);
                    ratio.total_cmp(&1.0)
                };
                *best = (0..tries.len()).max_by(better).unwrap_or_default();
            }
            ours()?;
        }
        let used: BTreeSet<usize> = best.iter().copied().collect();
        let mut rounds = Vec::new();
        for _ in 0..self.pairs {
            let mut theirs: Vec<Option<Measurement>> = vec![None; self.cases.len()];
            for setting in &used {
                for (case, line) in peer(self.settings[*setting])?.into_iter().enumerate() {
                    if best[case] == *setting {
                        theirs[case] = Some(line);
                    }
                }
            }
            rounds.push((theirs, ours()?));
        }
        let compared = self.cases.iter().enumerate().filter_map(|(index, case)| {
            let pairs: Vec<_> = rounds
                .iter()
                .filter_map(|(theirs, ours)| Some((theirs[index].as_ref()?, &ours[index])))
                .collect();
            self.comparison(case, self.settings[best[index]], &pairs)
        });
        Ok(compared.collect())
    }

    fn comparison(
        &self,
        case: &Case,
        setting: Setting,
        pairs: &[(&Measurement, &Measurement)],
    ) -> Option<Comparison> {
        let (peer, ours) = pairs.last()?;
        let spread = |value: &dyn Fn(&Measurement, &Measurement) -> f64| {
            Spread::of(&pairs.iter().map(|(peer, ours)| value(peer, ours)).collect::<Vec<_>>())
        };
        Some(Comparison {
            case: case.name.clone(),
            metric: self.metric,
            system: format!("{} {}", peer.system, peer.version),
            setting: setting.label,
            our_version: ours.version.clone(),
            peer: spread(&|peer, _| peer.value),
            ours: spread(&|_, ours| ours.value),
            ratio: spread(&|peer, ours| self.metric.ratio(ours.value, peer.value)),
            goal: case.goals.iter().find(|(peer, _)| *peer == self.peer).map(|(_, goal)| *goal),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;

    use super::super::peer::THREADS;
    use super::*;

    fn line(value: f64) -> Measurement {
        Measurement {
            case: String::new(),
            system: "peer".to_owned(),
            version: "1.2".to_owned(),
            value,
            episode_return_mean: None,
        }
    }

    fn case(name: &str) -> Case {
        let goals = vec![(Peer::Sb3, Goal::Ratio(20.0))];
        Case { name: name.to_owned(), key: "8".to_owned(), goals, quick: true }
    }

    /// Figures of one peer without a warm-up.
    pub(in super::super) fn comparison(name: &str, ours: f64, peers: &[f64]) -> Comparison {
        let mut peers = peers.iter();
        let case = case(name);
        let turns = Turns {
            peer: Peer::Sb3,
            metric: Metric::EnvSteps,
            cases: &[&case],
            settings: THREADS,
            pairs: peers.len() as u32,
            warm_up: false,
        };
        let peer = |_| Ok(vec![line(*peers.next().unwrap())]);
        turns.alternate(peer, || Ok(vec![line(ours)])).unwrap().remove(0)
    }

    #[test]
    fn runs_take_turns_and_the_warm_up_is_dropped() {
        let order = RefCell::new(String::new());
        let cases = [case("a"), case("b")];
        let turns = Turns {
            peer: Peer::Sb3,
            metric: Metric::EnvSteps,
            cases: &[&cases[0], &cases[1]],
            settings: &THREADS[..1],
            pairs: 3,
            warm_up: true,
        };
        let mut speeds = [1.0, 100.0, 200.0, 400.0].into_iter();
        let peer = |_| {
            order.borrow_mut().push('A');
            let speed = speeds.next().unwrap();
            Ok(vec![line(speed), line(2.0 * speed)])
        };
        let ours = || {
            order.borrow_mut().push('B');
            Ok(vec![line(2000.0), line(2000.0)])
        };
        let comparisons = turns.alternate(peer, ours).unwrap();
        assert_eq!(order.into_inner(), "ABABABAB");
        assert_eq!(comparisons[0].peer, Spread { median: 200.0, min: 100.0, max: 400.0 });
        assert_eq!(comparisons[0].ratio, Spread { median: 10.0, min: 5.0, max: 20.0 });
        assert_eq!(comparisons[1].ratio, Spread { median: 5.0, min: 2.5, max: 10.0 });
    }

    #[test]
    fn each_case_gets_the_peers_best_setting() {
        let cases = [case("small"), case("large")];
        let turns = Turns {
            peer: Peer::Sb3,
            metric: Metric::EnvSteps,
            cases: &[&cases[0], &cases[1]],
            settings: THREADS,
            pairs: 1,
            warm_up: true,
        };
        let peer = |setting| {
            let [small, large] = if setting == THREADS[0] { [9.0, 1.0] } else { [3.0, 5.0] };
            Ok(vec![line(small), line(large)])
        };
        let comparisons = turns.alternate(peer, || Ok(vec![line(90.0), line(90.0)])).unwrap();
        let seen: Vec<_> = comparisons.iter().map(|c| (c.setting, c.ratio.median)).collect();
        assert_eq!(seen, [("1 thread", 10.0), ("2 threads", 18.0)]);
    }

    #[test]
    fn goals_are_lower_bounds_of_ratios_or_upper_bounds_of_ours() {
        let mut seen = comparison("a", 2000.0, &[100.0]);
        assert_eq!(seen.reached(), Some(true));
        seen.goal = Some(Goal::Ratio(20.1));
        assert_eq!(seen.reached(), Some(false));
        seen.goal = Some(Goal::AtMost(2000.0));
        assert_eq!(seen.reached(), Some(true));
        seen.goal = None;
        assert_eq!(seen.reached(), None);
        assert_eq!(Metric::Memory.ratio(50.0, 400.0), 8.0);
    }
}
