//! What an engine can do, and settings that ask for more.

use rekindle::algorithms::Experiment;
use rekindle::core::ConfigError;
use serde_json::Value;

use crate::error::Result;
use crate::topology::Topology;

/// What an engine that trains on several machines survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// The name of the engine, for messages.
    pub engine: &'static str,
    /// Whether runners that have failed are started again.
    pub restarts_runners: bool,
    /// Whether runners may be added and taken away during training.
    pub elastic: bool,
    /// Whether training goes on without a process that was lost.
    pub survives_rank_loss: bool,
    /// Whether training goes on without a machine that was lost.
    pub survives_node_loss: bool,
}

const RESTART: &str = "fault_tolerance.restart_failed_env_runners";
const IGNORE: &str = "fault_tolerance.ignore_env_runner_failures";

/// Settings about runners that are threads of the learner's process. Runners of other processes cannot honour them.
const OF_ONE_PROCESS: [&str; 3] =
    ["training.learner_queue_size", "training.broadcast_interval", "training.deterministic"];

impl Caps {
    /// MPI ends the whole job when a process is lost. It is started again, and continues from the last checkpoint.
    pub const MPI: Self = Self {
        engine: "MPI",
        restarts_runners: false,
        elastic: false,
        survives_rank_loss: false,
        survives_node_loss: false,
    };

    /// Checks that no setting asks for more than the engine can do. Defaults that it cannot honour are set to what it
    /// does, so that the run records it.
    ///
    /// # Errors
    /// The first setting that the engine cannot honour.
    pub fn check(&self, experiment: &mut Experiment, topology: Topology) -> Result<()> {
        let settings = experiment.settings()?;
        if !at(&settings, "learners.devices").as_array().is_none_or(Vec::is_empty) {
            let constraint = "each learner is a process with one device; leave it out, set `learners.device` or --device, and let CUDA_VISIBLE_DEVICES name the GPU of each process";
            return Err(refused(&settings, "learners.devices", constraint.into()));
        }
        if topology.runners() == 0 {
            return Ok(());
        }
        let tolerant = [
            (RESTART, self.restarts_runners, "it does not start a runner again"),
            (IGNORE, self.survives_rank_loss, "it does not go on without one"),
        ];
        for (name, can, reason) in tolerant {
            if can || at(&settings, name) != &Value::Bool(true) {
                continue;
            }
            if experiment.is_given(name)? {
                let constraint = format!(
                    "runners are processes of {}, which ends the job when one of them is lost: {reason}; set it to false, and continue from the last checkpoint with `resume`",
                    self.engine
                );
                return Err(refused(&settings, name, constraint));
            }
            experiment.set(&format!("{name}=false"))?;
        }
        let defaults = Experiment::new(experiment.algorithm().name())?.settings()?;
        for name in OF_ONE_PROCESS {
            if at(&settings, name) != at(&defaults, name) {
                let constraint = "it is about runners that are threads of the learner's process and has no effect on runners of other processes; leave it out, or start learners only (`mpirun -n` equal to --num-learners)";
                return Err(refused(&settings, name, constraint.into()));
            }
        }
        if !at(&settings, "env_runners.output").is_null() {
            let constraint = "runners of several processes cannot record into one folder; leave it out, or start learners only";
            return Err(refused(&settings, "env_runners.output", constraint.into()));
        }
        Ok(())
    }
}

/// Returns a setting by its name with dots, or null.
fn at<'a>(settings: &'a Value, name: &str) -> &'a Value {
    name.split('.').fold(settings, |value, name| &value[name])
}

fn refused(settings: &Value, name: &'static str, constraint: String) -> crate::error::EngineError {
    let error = ConfigError::new(name, at(settings, name), constraint);
    rekindle::algorithms::AlgorithmError::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(algorithm: &str, set: &[&str]) -> Experiment {
        let mut experiment = Experiment::new(algorithm).unwrap();
        experiment.set("environment.env=CartPole-v1").unwrap();
        set.iter().for_each(|assignment| experiment.set(assignment).unwrap());
        experiment
    }

    fn check(algorithm: &str, set: &[&str], runners: usize) -> Result<Experiment> {
        let mut experiment = experiment(algorithm, set);
        let topology = Topology::new(2 + runners, 2).unwrap();
        Caps::MPI.check(&mut experiment, topology)?;
        experiment.validate().unwrap();
        Ok(experiment)
    }

    #[test]
    fn what_the_engine_cannot_do_is_refused_when_it_is_asked_for() {
        for (algorithm, setting) in [
            ("PPO", "fault_tolerance.restart_failed_env_runners=true"),
            ("IMPALA", "training.learner_queue_size=7"),
            ("IMPALA", "training.broadcast_interval=3"),
            ("APPO", "training.deterministic=true"),
            ("PPO", "env_runners.output=recordings"),
        ] {
            let name = setting.split('=').next().unwrap();
            let message = check(algorithm, &[setting], 1).unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
            check(algorithm, &[setting], 0).unwrap();
        }
        let ignore = [
            "fault_tolerance.restart_failed_env_runners=false",
            "fault_tolerance.ignore_env_runner_failures=true",
        ];
        let message = check("PPO", &ignore, 1).unwrap_err().to_string();
        assert!(message.contains("`fault_tolerance.ignore_env_runner_failures`"), "{message}");
        let devices = "learners.devices=[\"cpu\"]";
        let message = check("PPO", &[devices], 0).unwrap_err().to_string();
        assert!(message.contains("`learners.devices`"), "{message}");
    }

    #[test]
    fn a_default_that_the_engine_cannot_honour_is_recorded_as_what_it_does() {
        let restarts = |experiment: &Experiment| {
            experiment.settings().unwrap()["fault_tolerance"]["restart_failed_env_runners"].clone()
        };
        assert_eq!(restarts(&check("PPO", &[], 1).unwrap()), false);
        assert_eq!(restarts(&check("PPO", &[], 0).unwrap()), true);
        // Given explicitly, it is kept.
        let given = check("PPO", &["fault_tolerance.restart_failed_env_runners=false"], 1);
        assert_eq!(restarts(&given.unwrap()), false);
    }

    #[test]
    fn an_engine_that_can_do_more_refuses_less() {
        let caps = Caps { restarts_runners: true, ..Caps::MPI };
        let mut experiment =
            experiment("PPO", &["fault_tolerance.restart_failed_env_runners=true"]);
        caps.check(&mut experiment, Topology::new(2, 1).unwrap()).unwrap();
        let settings = experiment.settings().unwrap();
        assert_eq!(settings["fault_tolerance"]["restart_failed_env_runners"], true);
    }
}
