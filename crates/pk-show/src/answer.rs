//! What is known of a fact, or why nothing is.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// In JSON a value is itself, and what is not known is `{"unknown": "no /proc"}`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Answer<T> {
    // First, as JSON is taken for the first one that it fits.
    Unknown(Unknown),
    Known(T),
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    #[serde(rename = "unknown")]
    pub reason: String,
}

impl Unknown {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// What the kernel has not told in a file that it is told in since some version.
    pub fn not_told() -> Self {
        Self::new("this kernel does not tell")
    }
}

impl<T> Answer<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    pub fn as_ref(&self) -> Result<&T, &Unknown> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Unknown(unknown) => Err(unknown),
        }
    }
}

/// Before it was asked.
impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self::Unknown(Unknown::new("not asked"))
    }
}

impl<T> From<Result<T, Unknown>> for Answer<T> {
    fn from(result: Result<T, Unknown>) -> Self {
        result.map_or_else(Self::Unknown, Self::Known)
    }
}

impl From<Errno> for Unknown {
    fn from(errno: Errno) -> Self {
        Self::new(errno.desc())
    }
}

impl From<rustix::io::Errno> for Unknown {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno::from_raw(errno.raw_os_error()).into()
    }
}

impl From<std::io::Error> for Unknown {
    fn from(error: std::io::Error) -> Self {
        error
            .raw_os_error()
            .map_or_else(|| Self::new(error.to_string()), |number| Errno::from_raw(number).into())
    }
}
