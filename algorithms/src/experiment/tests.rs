use super::*;

fn message(result: Result<()>) -> String {
    result.unwrap_err().to_string()
}

fn ppo() -> Experiment {
    Experiment::from_toml("algorithm = \"ppo\"\nenvironment.env = \"CartPole-v1\"").unwrap()
}

#[test]
fn settings_are_set_by_name() {
    let mut experiment = ppo();
    for assignment in [
        "training.lr=3e-4",
        "training.train_batch_size=2e3",
        "training.minibatch_size=none",
        "training.vf_clip_param = inf",
        "training.lr=[[0, 1e-3], [100, 0.0]]",
        "environment.env=Pendulum-v1",
        "environment.env_config.g=9.81",
        "model_config.fcnet_hiddens=[64, 64]",
        "training.optimizer={type = \"rms_prop\"}",
        "multi_agent.policies=[\"a\"]",
        "run.max_env_steps=1e6",
        "run.tensorboard=none",
    ] {
        experiment.set(assignment).unwrap();
    }
    experiment.validate().unwrap();
    let settings = experiment.settings().unwrap();
    let training = &settings["training"];
    assert_eq!(training["lr"], json!([[0, 1e-3], [100, 0.0]]));
    assert_eq!(training["train_batch_size"], 2000);
    assert_eq!(training["minibatch_size"], Value::Null);
    assert_eq!(training["optimizer"]["type"], "rms_prop");
    assert_eq!(settings["environment"]["env"], "Pendulum-v1");
    assert_eq!(settings["environment"]["env_config"]["g"], 9.81);
    assert_eq!(settings["multi_agent"]["policies"], json!(["a"]));
    let run = experiment.run().unwrap();
    assert_eq!((run.max_env_steps, run.tensorboard), (Some(1_000_000), None));
}

#[test]
fn an_experiment_comes_back_from_toml_with_all_settings() {
    let mut experiment = ppo();
    experiment.set("training.minibatch_size=none").unwrap();
    experiment.set("run.stop_value=475").unwrap();
    let text = experiment.to_toml().unwrap();
    let read = Experiment::from_toml(&text).unwrap();
    assert_eq!(read.settings().unwrap(), experiment.settings().unwrap());
    assert_eq!(read.run().unwrap(), experiment.run().unwrap());
    assert_eq!(read.to_toml().unwrap(), text);
    assert!(text.starts_with("algorithm = \"PPO\"\n"), "{text}");
}

#[test]
fn mistakes_are_answered_with_what_to_write() {
    for (assignment, parts) in [
        ("training.lr", &["`training.lr` is not a setting; write NAME=VALUE"][..]),
        ("=3", &["is not the name of a setting"]),
        ("training.clip_parm=3", &["unknown field `clip_parm`; did you mean `clip_param`?"]),
        ("lr=3", &["unknown field `lr`", "the setting `lr` is `training.lr`"]),
        ("max_env_steps=3", &["the setting `max_env_steps` is `run.max_env_steps`"]),
        ("run.max_env_step=3", &["did you mean `max_env_steps`?"]),
        ("run.max_iterations=many", &["`run.max_iterations`: invalid type: string \"many\""]),
        (
            "training.lr=fast",
            &["`training.lr`: invalid type: string \"fast\", expected a number or"],
        ),
        ("training.gamma=1.5", &["`gamma` is 1.5, but it must be between 0 and 1"]),
        (
            "training.gamma=nan",
            &["`training.gamma`: invalid type: string \"nan\", expected a number"],
        ),
        ("training=3", &["`training`", "an object of settings"]),
        ("environment.env=none", &["an algorithm needs an environment"]),
        ("run.stop_value=1e39", &["`run.stop_value` is 1e39"]),
    ] {
        let mut experiment = ppo();
        let message = message(experiment.set(assignment).and_then(|()| experiment.validate()));
        for part in parts {
            assert!(message.contains(part), "{assignment}: no `{part}` in: {message}");
        }
    }
}

#[test]
fn a_file_names_its_algorithm_and_errors_name_the_file() {
    for (text, part) in [
        ("", "`algorithm` is not set"),
        ("algorithm = 3", "`algorithm` is 3"),
        ("algorithm = \"impalla\"", "did you mean `IMPALA`?"),
    ] {
        let message = Experiment::from_toml(text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let shown = path.display().to_string();
    let message = Experiment::read(&path).unwrap_err().to_string();
    assert!(message.starts_with(&format!("cannot read `{shown}`")), "{message}");
    for text in ["algorithm = \"ppo\"\n[training\n", "algorithm = \"ppo\"\ntraining.x = 1"] {
        fs::write(&path, text).unwrap();
        let message = Experiment::read(&path).unwrap_err().to_string();
        assert!(message.starts_with(&shown), "{message}");
    }
}

#[test]
fn texts_need_no_quotes() {
    for (text, expected) in [
        ("a b", json!("a b")),
        ("\"quoted\"", json!("quoted")),
        ("1.2.3", json!("1.2.3")),
        ("a\"b\u{7f}\u{1}", json!("a\"b\u{7f}\u{1}")),
        ("", json!("")),
        ("1e6", json!(1_000_000)),
        ("1e-6", json!(1e-6)),
        ("1.5e6", json!(1.5e6)),
        ("1e30", json!(1e30)),
    ] {
        let mut experiment = ppo();
        experiment.set(&format!("environment.env_config.x={text}")).unwrap();
        let settings = experiment.settings().unwrap();
        assert_eq!(settings["environment"]["env_config"]["x"], expected);
    }
}

#[test]
fn one_setting_of_a_group_leaves_the_others_as_the_algorithm_has_them() {
    let dqn = Experiment::new("dqn").unwrap();
    let mut changed = dqn.clone();
    changed.set("training.replay_buffer_config.capacity=1e5").unwrap();
    changed.set("training.optimizer.epsilon=0.5").unwrap();
    let expected = json!({
        "training": {"replay_buffer_config": {"capacity": 100_000}, "optimizer": {"epsilon": 0.5}},
    });
    assert_eq!(changed.changes_from(&dqn).unwrap(), expected);
    let mut other = dqn.clone();
    other.set("training.optimizer.type=sgd").unwrap();
    assert_eq!(other.settings().unwrap()["training"]["optimizer"]["type"], "sgd");
}

#[test]
fn an_element_of_a_list_is_changed_and_the_others_stay() {
    let mut dqn = Experiment::new("dqn").unwrap();
    dqn.set("training.epsilon[1][0]=500").unwrap();
    dqn.set("training.epsilon[1][1]=0.25").unwrap();
    assert_eq!(dqn.settings().unwrap()["training"]["epsilon"], json!([[0, 1.0], [500, 0.25]]));
    dqn.set("model_config.fcnet_hiddens=[64, 64]").unwrap();
    dqn.set("model_config.fcnet_hiddens[0] = 32").unwrap();
    assert_eq!(dqn.settings().unwrap()["model_config"]["fcnet_hiddens"], json!([32, 64]));
    for (assignment, part) in [
        ("training.epsilon[2][0]=1", "`training.epsilon` has no element [2][0]; it is [[0,1.0],"),
        ("training.lr[1]=1", "`training.lr` has no element [1]; it is 0.0005"),
        ("training.gamme[0]=1", "`training.gamme` has no element [0]; it is null"),
        ("run.max_env_steps[0]=1", "`run.max_env_steps` has no element [0]"),
    ] {
        let message = dqn.set(assignment).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn settings_as_data_change_what_they_name() {
    let dqn = Experiment::new("dqn").unwrap();
    let mut changed = dqn.clone();
    let data = json!({
        "training.replay_buffer_config.capacity": 100_000,
        "training": {"optimizer": {"epsilon": 0.5}, "n_step": 3},
        "environment": {"env_config": {"a": {"b": null}}},
        "run": {"max_env_steps": 1000},
    });
    changed.set_all(&data).unwrap();
    let expected = json!({
        "training": {
            "replay_buffer_config": {"capacity": 100_000},
            "optimizer": {"epsilon": 0.5},
            "n_step": 3,
        },
        "environment": {"env_config": {"a": {"b": null}}},
    });
    assert_eq!(changed.changes_from(&dqn).unwrap(), expected);
    assert_eq!(changed.run().unwrap().max_env_steps, Some(1000));

    let mut other = dqn.clone();
    other.set_all(&json!({"training": {"optimizer": {"type": "sgd"}}})).unwrap();
    assert_eq!(other.settings().unwrap()["training"]["optimizer"]["type"], "sgd");
    assert!(message(other.set_all(&json!(3))).contains("`3` is not an object of settings"));
}

#[test]
fn an_experiment_from_data_equals_that_of_the_file() {
    let text = "algorithm = \"ppo\"\nenvironment.env = \"CartPole-v1\"\nrun.max_iterations = 3";
    let data = json!({
        "algorithm": "ppo",
        "environment": {"env": "CartPole-v1"},
        "run": {"max_iterations": 3},
    });
    let [file, data] =
        [Experiment::from_toml(text), Experiment::from_data(data)].map(Result::unwrap);
    assert_eq!(data.to_toml().unwrap(), file.to_toml().unwrap());
    assert!(message(Experiment::from_data(json!([])).map(drop)).contains("`algorithm` is not set"));
}
