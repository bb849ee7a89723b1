//! What every document begins with.

use serde::{Deserialize, Serialize};

/// The version of every schema here.
pub const SCHEMA_VERSION: u32 = 1;

/// The fields of one kind of document.
pub trait Body: Serialize {
    /// The name of its schema, `crewboss.<what>`.
    const SCHEMA: &'static str;
}

/// A body in its envelope, as it is printed and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document<T> {
    /// The body's [`Body::SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`] of whoever printed it.
    pub schema_version: u32,
    /// The fields.
    #[serde(flatten)]
    pub body: T,
}

impl<T: Body> Document<T> {
    /// The body in the envelope of its schema.
    pub fn new(body: T) -> Self {
        Self {
            schema: T::SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            body,
        }
    }
}

/// By reference a body is the same document.
impl<T: Body> Body for &T {
    const SCHEMA: &'static str = T::SCHEMA;
}

/// Gives bodies the names of their schemas.
macro_rules! schemas {
    ($($body:ty = $name:literal;)*) => {
        $(impl crate::Body for $body {
            const SCHEMA: &'static str = concat!("crewboss.", $name);
        })*
    };
}

pub(crate) use schemas;
