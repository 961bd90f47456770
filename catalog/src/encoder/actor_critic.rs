//! The encoders of an actor-critic.

use std::fmt;

use super::BoxEncoder;
use crate::error::Result;

/// The encoders of an actor-critic module: one for both, or one each; RLlib's `ActorCriticEncoder`.
///
/// The actor's encoder is built. The critic's own encoder is built when the module asks for it,
/// because modules that only act have none.
///
/// Returned by
/// [`Catalog::build_actor_critic_encoder`](crate::Catalog::build_actor_critic_encoder), which
/// decides whether the two share an encoder.
pub struct ActorCriticEncoder<'a> {
    actor: BoxEncoder,
    critic: Option<BuildEncoder<'a>>,
}

type BuildEncoder<'a> = Box<dyn FnOnce() -> Result<BoxEncoder> + 'a>;

impl<'a> ActorCriticEncoder<'a> {
    /// Creates one encoder for the actor and the critic.
    #[must_use]
    pub fn shared(encoder: BoxEncoder) -> Self {
        Self { actor: encoder, critic: None }
    }

    /// Creates an encoder for the actor, and a function that builds the critic's.
    #[must_use]
    pub fn separate(
        actor: BoxEncoder,
        build_critic: impl FnOnce() -> Result<BoxEncoder> + 'a,
    ) -> Self {
        Self { actor, critic: Some(Box::new(build_critic)) }
    }

    /// Returns the actor's encoder.
    #[must_use]
    pub fn actor(&self) -> &BoxEncoder {
        &self.actor
    }

    /// Whether the critic reads the actor's features.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.critic.is_none()
    }

    /// Returns the actor's encoder, and the function that builds the critic's own if it has one.
    #[must_use]
    pub fn into_parts(self) -> (BoxEncoder, Option<BuildEncoder<'a>>) {
        (self.actor, self.critic)
    }
}

impl fmt::Debug for ActorCriticEncoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorCriticEncoder")
            .field("actor", &self.actor)
            .field("is_shared", &self.is_shared())
            .finish()
    }
}
