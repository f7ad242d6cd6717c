//! Who calls.

use std::sync::Arc;

/// Who a call comes from, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Nobody said who it is.
    #[default]
    Anonymous,
    /// The credentials that came with the call are this principal's.
    Known(Arc<Principal>),
}

/// Somebody with credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name: an API key's, a token's subject or a client certificate's.
    pub name: String,
    /// Roles that the credentials themselves name, besides those of the policy.
    pub roles: Vec<String>,
}

impl Identity {
    /// A principal without roles of its own.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Known(Arc::new(Principal {
            name: name.into(),
            roles: Vec::new(),
        }))
    }
}
