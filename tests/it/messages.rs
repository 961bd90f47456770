//! Messages say what is wrong, where it is, and what to do.

use std::io;
use std::sync::{Arc, Mutex};

use burn::module::Module;
use rekindle::env::EnvError;
use rekindle::offline::{MinariData, OfflineSource, OutputFormat};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::device;

/// What [`Faulty`] does in its third step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Nan,
    Discrete,
    TooShort,
    Crash,
}

/// An environment with three numbers as observations that breaks a rule.
struct Faulty {
    observations: Space,
    actions: Space,
    fault: Fault,
    steps: usize,
}

impl Faulty {
    fn register(id: &str, fault: Fault) {
        let make = move |config: &EnvConfig| {
            config.deny_unknown("Faulty", &["size"])?;
            let (observations, actions) = (Space::unbounded(&[3])?, Space::discrete(2)?);
            Ok(Self { observations, actions, fault, steps: 0 })
        };
        register(EnvSpec::new(id, make)).unwrap();
    }
}

impl Env for Faulty {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, _: &ResetOptions, mut out: RowMut<'_>) -> Result<(), EnvError> {
        self.steps = 0;
        out.write_f32(&[0.0; 3])
    }

    fn step(&mut self, _: Row<'_>, mut out: RowMut<'_>) -> Result<Step, EnvError> {
        self.steps += 1;
        out.write_f32(&[0.0; 3])?;
        if self.steps >= 3 {
            match self.fault {
                Fault::None => {}
                Fault::Nan => out.write_f32(&[f32::NAN; 3])?,
                Fault::Discrete => out.write_discrete(1)?,
                Fault::TooShort => out.write_f32(&[0.0; 2])?,
                Fault::Crash => {
                    let reason = "the simulator hung up".to_owned();
                    return Err(EnvError::Crashed { env: self.name().to_owned(), reason });
                }
            }
        }
        Ok(Step::running(1.0))
    }
}

fn config(env: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0)
}

/// Returns the error of building the algorithm or of its first iteration.
fn error(config: &PpoConfig) -> String {
    let trained = config.build(&device()).and_then(|mut algo| algo.train());
    trained.unwrap_err().to_string()
}

#[test]
fn an_action_that_cannot_be_chosen_names_module_environment_and_index() {
    Faulty::register("NanObservations-v0", Fault::Nan);
    let message = error(&config("NanObservations-v0"));
    assert_eq!(
        message,
        "module `rekindle.ActorCritic` cannot act in environment 0 of `NanObservations-v0`: \
         Categorical cannot choose an action: input 0 is NaN; the policy has diverged, or its \
         observations are not finite"
    );
}

#[test]
fn an_observation_of_another_kind_names_what_its_space_asks_for_first() {
    Faulty::register("WrongKind-v0", Fault::Discrete);
    let message = error(&config("WrongKind-v0"));
    assert_eq!(
        message,
        "`WrongKind-v0`: environment 0: expected float32 of shape [3] in the row that is written \
         (in `reset` and `step`: the observation), found a discrete value"
    );
}

#[test]
fn an_observation_of_another_length_says_that_it_is_the_observation() {
    Faulty::register("WrongLength-v0", Fault::TooShort);
    let message = error(&config("WrongLength-v0"));
    assert_eq!(
        message,
        "`WrongLength-v0`: environment 0: numbers written into a row (in `reset` and `step`: the \
         observation): expected [3], found [2]"
    );
}

#[test]
fn a_crash_names_its_environment_once_and_a_remedy_that_an_algorithm_has() {
    Faulty::register("Crashes-v0", Fault::Crash);
    let config = config("Crashes-v0").fault_tolerance(|f| f.restart_failed_env_runners(false));
    assert_eq!(
        error(&config),
        "environment 0: `Crashes-v0` crashed: the simulator hung up; reset it to start it again \
         (in an algorithm: set `restart_failed_sub_environments` of `fault_tolerance`)"
    );
}

/// A [`Faulty`] that fails in every step.
struct Dead(Faulty);

impl Env for Dead {
    fn observation_space(&self) -> &Space {
        &self.0.observations
    }

    fn action_space(&self) -> &Space {
        &self.0.actions
    }

    fn reset(&mut self, options: &ResetOptions, out: RowMut<'_>) -> Result<(), EnvError> {
        self.0.reset(options, out)
    }

    fn step(&mut self, _: Row<'_>, _: RowMut<'_>) -> Result<Step, EnvError> {
        Err(EnvError::Crashed { env: "Dead".into(), reason: "the simulator hung up".into() })
    }
}

#[test]
fn an_environment_that_keeps_failing_is_named_once_with_its_last_failure() {
    let make = |_: &EnvConfig| {
        let (observations, actions) = (Space::unbounded(&[3])?, Space::discrete(2)?);
        Ok(Dead(Faulty { observations, actions, fault: Fault::Crash, steps: 0 }))
    };
    register(EnvSpec::new("Dead-v0", make)).unwrap();
    let config = config("Dead-v0").fault_tolerance(|f| {
        f.restart_failed_sub_environments(true).restart_failed_env_runners(false)
    });
    assert_eq!(
        error(&config),
        "environment 0 of `Dead-v0` failed 101 times in a row without a usable step, last with: \
         the simulator hung up; repair the environment, since restarting it does not help"
    );
}

#[test]
fn an_unknown_option_names_its_environment_once() {
    Faulty::register("Options-v0", Fault::Crash);
    let config = config("Options-v0").env_config(EnvConfig::new().with("sise", 3));
    let expected = "`Options-v0` has no option `sise`; did you mean `size`? known: `size`";
    assert_eq!(error(&config), expected);
}

#[test]
fn an_unregistered_environment_names_the_function_that_registers_one() {
    let message = error(&config("Nowhere-v0"));
    assert!(message.ends_with("; register your own with `register` first"), "{message}");
}

#[test]
fn a_folder_that_holds_no_bundle_says_what_it_holds_and_how_to_load_it() {
    let folder = tempfile::tempdir().unwrap();
    let algo = config("CartPole-v1").build(&device()).unwrap();
    algo.save_to_path(folder.path().join("algo")).unwrap();
    algo.module(DEFAULT_MODULE_ID).unwrap().save_to_path(folder.path().join("module")).unwrap();
    for name in ["algo", "module"] {
        let error = PolicyBundle::from_checkpoint(folder.path().join(name), &device()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this is not the checkpoint of a policy bundle; pass a directory that \
             `PolicyBundle::save_to_path` wrote, make a bundle by `Algorithm::policy_bundle`, or \
             load a module alone by `AnyRLModule::from_checkpoint`"
        );
    }
}

#[test]
fn observations_that_do_not_fit_a_bundle_name_its_observation_space() {
    let algo = config("CartPole-v1").build(&device()).unwrap();
    let mut bundle = algo.policy_bundle().unwrap();
    for observations in
        [Buffer::from_f32(vec![0.0; 3], &[3]).unwrap(), Buffer::from_i64(vec![0], &[]).unwrap()]
    {
        let message = bundle.compute_actions(&observations, false).unwrap_err().to_string();
        assert!(
            message.starts_with("the observations do not fit the observation space Box"),
            "{message}"
        );
    }
}

#[test]
fn a_wrong_value_in_a_configuration_names_its_field_in_words_of_json() {
    for (json, expected) in [
        (
            r#"{"training": {"train_batch_size": "4000"}}"#,
            "config: `training.train_batch_size`: invalid type: string \"4000\", expected a whole \
             number of at least 0",
        ),
        (
            r#"{"environment": "CartPole-v1"}"#,
            "config: `environment`: invalid type: string \"CartPole-v1\", expected an object such \
             as {\"env\": \"CartPole-v1\"}",
        ),
        (
            r#"{"training": {"gamma": true}}"#,
            "config: `training.gamma`: invalid type: boolean `true`, expected a number",
        ),
        ("{\"training\": ", "config: EOF while parsing a value at line 1 column 13"),
    ] {
        assert_eq!(PpoConfig::from_json(json).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_mistyped_setting_gets_a_suggestion() {
    let message = PpoConfig::from_json(r#"{"trainning": {}}"#).unwrap_err().to_string();
    let expected = "config: unknown field `trainning`; did you mean `training`? known: ";
    assert!(message.starts_with(expected), "{message}");
    let nested = PpoConfig::from_json(r#"{"training": {"gama": 1}}"#).unwrap_err().to_string();
    let expected = "config: `training`: unknown field `gama`; did you mean `gamma`";
    assert!(nested.starts_with(expected), "{nested}");
    let model = error(&config("CartPole-v1").model("fcnet_hidden", 8));
    let expected = "unknown field `fcnet_hidden`; did you mean `fcnet_hiddens`";
    assert!(model.contains(expected), "{model}");
}

/// A module that reads a column that does not exist.
#[derive(Module, Debug)]
struct Misspelled {
    policy: Mlp,
}

impl RLModule for Misspelled {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>("observations")?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn type_name() -> String {
        "tests.Misspelled".into()
    }
}

#[test]
fn a_column_that_a_pass_cannot_read_names_module_and_pass() {
    let env = make("CartPole-v1").unwrap();
    let spec = RLModuleSpec::of::<Misspelled>()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone());
    let module = spec.build(&device()).unwrap();
    let message = module.forward_train(&Batch::new()).unwrap_err().to_string();
    assert_eq!(
        message,
        "`forward_train` of module `tests.Misspelled`: column `observations` is not in the batch; \
         available: []"
    );
}

#[test]
fn weights_of_another_depth_name_the_setting_and_no_empty_list() {
    let module = |hiddens: &[usize]| {
        let algo = config("CartPole-v1").model("fcnet_hiddens", hiddens.to_vec());
        algo.build(&device()).unwrap().module(DEFAULT_MODULE_ID).unwrap().clone()
    };
    let deep = module(&[8, 8]).state_dict().unwrap();
    let message = module(&[8]).load_state_dict(&deep).unwrap_err().to_string();
    assert!(message.starts_with("the weights do not fit the module: unexpected ["), "{message}");
    assert!(
        message.contains("build the module with the settings that the weights were saved with"),
        "{message}"
    );
}

#[test]
fn settings_of_connectors_are_named_as_paths() {
    let config = config("CartPole-v1")
        .env_runners(|e| e.env_to_module_connector(ConnectorConfig::frame_stacking(0)));
    let expected = "`FrameStacking.num_frames` is 0, but it must be at least 1";
    assert!(error(&config).ends_with(expected), "{}", error(&config));
}

/// A module or catalog of one program, under the name that it has in another one.
mod elsewhere {
    use super::*;

    #[derive(Debug)]
    pub(super) struct Narrow;

    impl Catalog for Narrow {}
}

#[test]
fn a_type_of_another_program_is_told_to_override_its_type_name() {
    let folder = tempfile::tempdir().unwrap();
    let algo = config("CartPole-v1").build(&device()).unwrap();
    algo.module(DEFAULT_MODULE_ID).unwrap().save_to_path(folder.path().join("module")).unwrap();
    let path = folder.path().join("module");
    let message = Misspelled::from_checkpoint(&path, &device()).unwrap_err().to_string();
    let expected = "if it is the same type in another program, override `type_name` so that both \
                    return one name";
    assert!(message.contains(expected), "{message}");
    let spec = RLModuleSpec::default().catalog(elsewhere::Narrow);
    let mut data = serde_json::to_value(spec).unwrap();
    for field in ["module", "catalog"] {
        let known = data[field].take();
        data[field] = serde_json::json!("elsewhere::Unknown");
        let message = serde_json::from_value::<RLModuleSpec>(data.clone()).unwrap_err();
        assert!(message.to_string().contains(expected), "{message}");
        data[field] = known;
    }
}

/// Text written to a subscriber.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the warnings that `run` gives on this thread.
fn warnings(run: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = subscriber.set_default();
    run();
    drop(guard);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn infos_of_minari_that_are_left_out_are_named_once() {
    for form in ["hdf5", "arrow", "parquet"] {
        let dataset = concat!(env!("CARGO_MANIFEST_DIR"), "/offline/tests/minari");
        let log = warnings(|| {
            let data = MinariData::open(format!("{dataset}/{form}-v0")).unwrap();
            (0..data.num_parts()).for_each(|part| drop(data.read(part).unwrap()));
        });
        assert_eq!(log.matches("infos are left out").count(), 1, "{form}: {log}");
        assert!(log.contains("part") && log.contains("vector"), "{form}: {log}");
    }
}

#[test]
fn recordings_of_this_library_are_written_and_read_as_minari_without_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let log = warnings(|| {
        let config = PpoConfig::new()
            .environment("CartPole-v1")
            .env_runners(|e| e.output(folder.path()).output_format(OutputFormat::Minari))
            .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(1))
            .model("fcnet_hiddens", vec![8])
            .seed(0);
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        drop(algo);
        let data = MinariData::open(folder.path()).unwrap();
        for part in 0..data.num_parts() {
            let recorded = data.read(part).unwrap();
            let episode = &recorded[DEFAULT_MODULE_ID][0];
            assert_eq!(episode.extras["action_dist_inputs"].shape().unwrap(), [2]);
        }
    });
    assert_eq!(log, "");
}

#[test]
fn the_warning_of_a_restart_names_environment_failure_and_count() {
    let make = |_: &EnvConfig| {
        let (observations, actions) = (Space::unbounded(&[3])?, Space::discrete(2)?);
        Ok(Dead(Faulty { observations, actions, fault: Fault::Crash, steps: 0 }))
    };
    register(EnvSpec::new("DeadAgain-v0", make)).unwrap();
    let config = config("DeadAgain-v0").fault_tolerance(|f| {
        f.restart_failed_sub_environments(true).restart_failed_env_runners(false)
    });
    let log = warnings(|| drop(error(&config)));
    let first = log.lines().next().unwrap();
    for part in [
        "an environment failed and is restarted",
        "DeadAgain-v0",
        "failures=1",
        "the simulator hung up",
    ] {
        assert!(first.contains(part), "no `{part}` in: {first}");
    }
}

#[test]
fn a_run_restored_without_the_state_of_its_environment_warns_and_says_what_to_implement() {
    let make = |_: &EnvConfig| {
        let (observations, actions) = (Space::unbounded(&[3])?, Space::discrete(2)?);
        Ok(Faulty { observations, actions, fault: Fault::None, steps: 0 })
    };
    register(EnvSpec::new("Stateless-v0", make).with_max_episode_steps(5)).unwrap();
    // Two runners, and those of evaluation.
    let build = || {
        let config = config("Stateless-v0").env_runners(|e| e.num_env_runners(2));
        let config = config.evaluation(|e| e.evaluation_interval(1).evaluation_duration(1));
        config.build(&device()).unwrap()
    };
    let mut algo = build();
    algo.train().unwrap();
    let state = algo.get_state().unwrap();
    let mut restored = build();
    let log = warnings(|| restored.set_state(&state).unwrap());
    assert!(log.contains("Stateless-v0"), "{log}");
    assert_eq!(log.matches("implement `state` and `set_state`").count(), 1, "{log}");
}

#[test]
fn changed_settings_of_the_default_module_warn_where_another_one_acts() {
    let own = RLModuleSpec::from_fn("OtherQNetwork", rekindle::rl_module::QNetwork::setup);
    let dqn = || DqnConfig::new().environment("CartPole-v1").model("fcnet_hiddens", vec![4]);
    let log = |config: DqnConfig| warnings(|| drop(config.build(&device()).unwrap()));
    let changed = dqn().training(|t| t.epsilon(0.1));
    let warning = log(changed.clone().rl_module(own.clone()));
    for part in ["default_policy", "settings=\"epsilon\"", "`RLModule::algorithm_settings`"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(!log(changed).contains("epsilon"));
    assert!(!log(dqn().rl_module(own)).contains("epsilon"));
}
