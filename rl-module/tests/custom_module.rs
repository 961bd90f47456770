//! Custom modules: what a user writes, and what each mistake answers. Assertions 10 and 11.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::prelude::*;
use rekindle_catalog::{Catalog, Mlp};
use rekindle_checkpoint::Checkpointable;
use rekindle_core::{Batch, Columns, CoreError, Generator};
use rekindle_env::Space;
use rekindle_rl_module::{
    AnyRLModule, ModuleContext, ModuleError, RLModule, RLModuleSpec, Result, Role,
};
use serde_json::json;

#[derive(Module, Debug)]
struct DiscreteBc {
    policy: Mlp,
}

impl RLModule for DiscreteBc {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let logits = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[8], logits) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// A module that uses Burn's own layers and initializers.
#[derive(Module, Debug)]
struct BurnLinear {
    layer: Linear,
}

impl RLModule for BurnLinear {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { layer: LinearConfig::new(4, 2).init(cx.device()) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = self.layer.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

fn with_spaces(spec: RLModuleSpec) -> RLModuleSpec {
    spec.observation_space(Space::boxed(-1.0, 1.0, &[4]).unwrap())
        .action_space(Space::discrete(2).unwrap())
}

fn bc() -> AnyRLModule {
    with_spaces(RLModuleSpec::of::<DiscreteBc>()).build(&Device::flex()).unwrap()
}

#[test]
fn a_custom_module_acts_saves_and_restores_as_its_own_type() {
    let device = Device::flex();
    let module = bc();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy");
    module.save_to_path(&path).unwrap();

    let policy = DiscreteBc::from_checkpoint(&path, &device).unwrap();
    let batch = Batch::new().with(Columns::OBS, Tensor::<2>::ones([1, 4], &device));
    let logits = |out: Batch| {
        let tensor = out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
        rekindle_core::any_tensor::to_f32(tensor).unwrap()
    };
    assert_eq!(
        logits(policy.forward_inference(&batch).unwrap()),
        logits(module.forward_inference(&batch).unwrap())
    );
    let error = BurnLinear::from_checkpoint(&path, &device).unwrap_err();
    assert!(error.to_string().contains("DiscreteBc"), "{error}");
}

#[test]
fn forward_passes_leave_the_module_trainable() {
    let device = Device::flex().autodiff();
    let module = bc().fork(&device).train();
    let batch = Batch::new().with(Columns::OBS, Tensor::<2>::ones([1, 4], &device));
    module.valid().forward_inference(&batch).ok();
    let out = module.forward_train(&batch).unwrap().float::<2>(Columns::ACTION_DIST_INPUTS);
    let gradients = GradientsParams::from_grads(out.unwrap().sum().backward(), &module);
    assert_eq!(gradients.len(), 4);
}

#[test]
fn loading_is_strict_and_names_what_is_missing_and_unexpected() {
    let mut module = bc();
    let mut weights = module.state_dict().unwrap();
    let bias = weights.remove("policy.layers.0.bias").unwrap();
    weights.insert("policy.layers.0.offset".into(), bias);
    let before = module.state_dict().unwrap();
    let error = module.load_state_dict(&weights).unwrap_err();
    let ModuleError::Core(CoreError::WeightNames { missing, unexpected }) = error else {
        panic!("{error}")
    };
    assert_eq!(missing, ["policy.layers.0.bias"]);
    assert_eq!(unexpected, ["policy.layers.0.offset"]);
    assert_eq!(module.state_dict().unwrap(), before);
}

#[test]
fn burns_own_initializers_are_reproducible_under_a_seed() {
    let build = |seed| {
        let spec = with_spaces(RLModuleSpec::of::<BurnLinear>());
        let module = spec.build_seeded(&Device::flex(), Generator::from_seed(seed)).unwrap();
        module.state_dict().unwrap()
    };
    assert_eq!(build(3), build(3));
    assert_ne!(build(3), build(4));
}

/// A student with two layers, between which its `setup` builds and restores a teacher.
#[derive(Module, Debug)]
struct Student {
    first: Linear,
    teacher: Linear,
    second: Linear,
}

impl RLModule for Student {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let first = LinearConfig::new(4, 2).init(cx.device());
        let _ = first.weight.val();
        let teacher = with_spaces(RLModuleSpec::of::<BurnLinear>()).build(cx.device())?;
        let teacher = AnyRLModule::from_state(&teacher.get_state()?, cx.device())?;
        let teacher = BurnLinear::clone(teacher.downcast_ref().unwrap()).layer;
        Ok(Self { first, teacher, second: LinearConfig::new(4, 2).init(cx.device()) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let obs = batch.float::<2>(Columns::OBS)?;
        let logits = self.first.forward(obs.clone()) + self.second.forward(obs.clone());
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits - self.teacher.forward(obs)))
    }
}

#[test]
fn a_module_that_builds_another_one_in_its_setup_has_the_parameters_of_its_own_seed() {
    let spec = with_spaces(RLModuleSpec::of::<Student>());
    let build = |seed| {
        let module = spec.build_seeded(&Device::flex(), Generator::from_seed(seed)).unwrap();
        let weights = module.state_dict().unwrap();
        ["first.weight", "second.weight", "teacher.weight"].map(|name| weights[name].clone())
    };
    let ([first, second, teacher], [first_again, second_again, other_teacher]) =
        (build(3), build(3));
    assert_eq!((&first, &second), (&first_again, &second_again));
    // The teacher is built from entropy, and the layers do not repeat each other.
    assert_ne!(teacher, other_teacher);
    assert_ne!(first, second);
    // A panic in the middle does not leave the lock behind.
    let broken = with_spaces(RLModuleSpec::from_fn("tests.Broken", |cx: &ModuleContext<'_>| {
        let _ = with_spaces(RLModuleSpec::of::<BurnLinear>()).build(cx.device())?;
        assert!(cx.inference_only(), "stops in the middle");
        Student::setup(cx)
    }));
    let error = broken.build(&Device::flex()).unwrap_err();
    assert!(matches!(error, ModuleError::Panicked { method: "setup", .. }), "{error}");
    build(4);
}

/// A module that fails as soon as its state is asked for.
#[derive(Module, Debug)]
struct NoState {
    unused: Linear,
}

impl RLModule for NoState {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: LinearConfig::new(1, 1).init(cx.device()) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        Ok(batch.clone())
    }

    fn initial_state(&self) -> Result<Option<rekindle_env::Buffer>> {
        panic!("no state yet")
    }
}

#[test]
fn a_panic_in_the_initial_state_is_an_error() {
    let module = with_spaces(RLModuleSpec::of::<NoState>()).build(&Device::flex()).unwrap();
    let error = module.initial_state().unwrap_err().to_string();
    assert!(error.contains("`initial_state`") && error.contains("no state yet"), "{error}");
}

#[test]
fn each_mistake_says_what_to_do() {
    let device = Device::flex();
    let missing = RLModuleSpec::of::<DiscreteBc>().build(&device).unwrap_err().to_string();
    assert!(missing.contains("has no observation_space; set it with"), "{missing}");

    let unread = with_spaces(RLModuleSpec::of::<DiscreteBc>()).model_config(json!({"hidden": 8}));
    let unread = unread.build(&device).unwrap_err().to_string();
    assert!(unread.contains("does not read one"), "{unread}");

    let typo = with_spaces(RLModuleSpec::default()).model_config(json!({"fcnet_hidden": [8]}));
    let typo = typo.build(&device).unwrap_err().to_string();
    assert!(typo.contains("unknown field `fcnet_hidden`"), "{typo}");

    let role = bc().require(Role::ValueFunction, "the PPO learner").unwrap_err().to_string();
    assert!(
        role.contains("lacks the role ValueFunction, which the PPO learner requires"),
        "{role}"
    );
    assert!(role.contains("RLModule::as_value_function"), "{role}");

    let column = bc().forward_train(&Batch::new()).unwrap_err().to_string();
    assert!(column.contains("column `obs` is not in the batch"), "{column}");

    let space = with_spaces(RLModuleSpec::of::<DiscreteBc>())
        .action_space(Space::boxed(-1.0, 1.0, &[1]).unwrap());
    assert!(space.build(&device).is_err());
}

#[test]
fn an_unregistered_type_names_the_function_to_call() {
    let mut data = serde_json::to_value(with_spaces(RLModuleSpec::default())).unwrap();
    data["module"] = json!("elsewhere::Policy");
    let error = serde_json::from_value::<RLModuleSpec>(data).unwrap_err().to_string();
    assert!(error.contains("`elsewhere::Policy` is not registered"), "{error}");
    assert!(error.contains("register_module::<YourModule>()"), "{error}");
}

/// A catalog with a name that does not depend on the program.
#[derive(Debug)]
struct Named;

impl Catalog for Named {
    fn type_name() -> String {
        "tests.Named".into()
    }
}

#[test]
fn a_catalog_is_saved_and_found_under_its_type_name() {
    let spec = with_spaces(RLModuleSpec::default().catalog(Named));
    let data = serde_json::to_value(&spec).unwrap();
    assert_eq!(data["catalog"], json!("tests.Named"));
    let read: RLModuleSpec = serde_json::from_value(data).unwrap();
    assert_eq!(read, spec);
}
