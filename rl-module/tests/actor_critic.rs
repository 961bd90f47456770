//! The actor-critic of a catalog that decides about sharing, and of parts that a user builds.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::prelude::*;
use rekindle_catalog::{
    ActorCriticEncoder, BoxEncoder, Catalog, CatalogContext, MlpConfig, MlpEncoderConfig,
    PolicyHeadConfig, RecurrentConfig, RecurrentEncoderConfig, Result as CatalogResult,
};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::Space;
use rekindle_rl_module::{ActorCritic, AnyRLModule, ModuleContext, RLModuleSpec, Result, Role};
use serde_json::json;

fn spec(observations: Space) -> RLModuleSpec {
    RLModuleSpec::default()
        .observation_space(observations)
        .action_space(Space::discrete(2).unwrap())
}

fn build(spec: &RLModuleSpec) -> AnyRLModule {
    spec.build_seeded(&Device::flex(), Generator::from_seed(0)).unwrap()
}

fn has(module: &AnyRLModule, prefix: &str) -> bool {
    module.state_dict().unwrap().keys().any(|name| name.starts_with(prefix))
}

/// One encoder of images for policy and value function, and two of everything else.
#[derive(Debug)]
struct SharedImages;

impl Catalog for SharedImages {
    fn build_actor_critic_encoder<'a>(
        &'a self,
        cx: CatalogContext<'a>,
        space: &'a Space,
    ) -> CatalogResult<ActorCriticEncoder<'a>> {
        let actor = self.build_encoder(cx, space)?;
        Ok(match space {
            Space::Box(b) if b.shape().len() == 3 => ActorCriticEncoder::shared(actor),
            _ => ActorCriticEncoder::separate(actor, move || self.build_encoder(cx, space)),
        })
    }
}

#[test]
fn a_catalog_decides_which_encoders_are_shared() {
    let image = build(&spec(Space::image(&[10, 10, 1]).unwrap()).catalog(SharedImages));
    assert!(!has(&image, "critic_encoder."));
    let batch = Batch::new().with(Columns::OBS, Tensor::<4>::ones([3, 10, 10, 1], &Device::flex()));
    let embeddings = image.forward_train(&batch).unwrap();
    let embeddings = embeddings.float::<2>(Columns::EMBEDDINGS).unwrap();
    let values = |embeddings| to_f32(image.compute_values(&batch, embeddings).unwrap()).unwrap();
    assert_eq!(values(Some(embeddings)), values(None));

    let vector = build(&spec(Space::unbounded(&[4]).unwrap()).catalog(SharedImages));
    assert!(has(&vector, "critic_encoder."));
}

static CRITICS: AtomicUsize = AtomicUsize::new(0);

/// Counts the encoders that are built for critics.
#[derive(Debug)]
struct Counting;

impl Catalog for Counting {
    fn build_actor_critic_encoder<'a>(
        &'a self,
        cx: CatalogContext<'a>,
        space: &'a Space,
    ) -> CatalogResult<ActorCriticEncoder<'a>> {
        Ok(ActorCriticEncoder::separate(self.build_encoder(cx, space)?, move || {
            CRITICS.fetch_add(1, Ordering::Relaxed);
            self.build_encoder(cx, space)
        }))
    }
}

#[test]
fn a_module_that_only_acts_builds_no_encoder_for_a_critic() {
    let spec = spec(Space::unbounded(&[4]).unwrap()).catalog(Counting);
    let acting = build(&spec.clone().inference_only(true));
    assert_eq!(CRITICS.load(Ordering::Relaxed), 0);
    assert!(!acting.has_role(Role::ValueFunction));
    assert!(build(&spec).has_role(Role::ValueFunction));
    assert_eq!(CRITICS.load(Ordering::Relaxed), 1);
}

fn encoder(cx: &ModuleContext<'_>) -> BoxEncoder {
    let config = MlpEncoderConfig::new(MlpConfig::new(4, &[6], None));
    BoxEncoder::new(config.build(cx.builder()))
}

fn with_memory(cx: &ModuleContext<'_>) -> BoxEncoder {
    let config = RecurrentEncoderConfig::new(RecurrentConfig::new(0, 6));
    BoxEncoder::new(config.build(encoder(cx), cx.builder()))
}

fn heads(cx: &ModuleContext<'_>) -> Result<(rekindle_catalog::PolicyHead, rekindle_catalog::Mlp)> {
    let pi = PolicyHeadConfig::from_layers(MlpConfig::new(6, &[], Some(2))).build(cx.builder())?;
    Ok((pi, MlpConfig::new(6, &[], Some(1)).build(cx.builder())))
}

fn from_parts(
    name: &str,
    parts: impl Fn(&ModuleContext<'_>) -> Result<ActorCritic> + Send + Sync + 'static,
) -> AnyRLModule {
    let spec = RLModuleSpec::from_fn(name, parts)
        .observation_space(Space::unbounded(&[4]).unwrap())
        .action_space(Space::discrete(2).unwrap());
    build(&spec)
}

#[test]
fn parts_of_a_user_make_an_actor_critic_with_the_names_of_the_default_one() {
    let module = from_parts("tests.Parts", |cx| {
        let (pi, vf) = heads(cx)?;
        Ok(ActorCritic::new(encoder(cx), pi).with_vf(vf).with_critic_encoder(encoder(cx)))
    });
    let config = json!({"fcnet_hiddens": [6]});
    let default = build(&spec(Space::unbounded(&[4]).unwrap()).model_config(config));
    let names = |module: &AnyRLModule| -> Vec<(String, Vec<usize>)> {
        let weights = module.state_dict().unwrap();
        weights.into_iter().map(|(name, w)| (name, w.shape().to_vec())).collect()
    };
    assert_eq!(names(&module), names(&default));

    let policy = from_parts("tests.Policy", |cx| Ok(ActorCritic::new(encoder(cx), heads(cx)?.0)));
    assert!(!policy.has_role(Role::ValueFunction));
}

#[test]
fn memory_in_one_of_two_encoders_is_refused() {
    let module = from_parts("tests.HalfMemory", |cx| {
        let (pi, vf) = heads(cx)?;
        Ok(ActorCritic::new(with_memory(cx), pi).with_vf(vf).with_critic_encoder(encoder(cx)))
    });
    let message = module.initial_state().unwrap_err().to_string();
    assert!(message.contains("only one of the encoders"), "{message}");
    let both = from_parts("tests.BothMemory", |cx| {
        let (pi, vf) = heads(cx)?;
        Ok(ActorCritic::new(with_memory(cx), pi).with_vf(vf).with_critic_encoder(with_memory(cx)))
    });
    assert!(both.initial_state().unwrap().unwrap().as_dict().unwrap().contains_key("critic"));
}
