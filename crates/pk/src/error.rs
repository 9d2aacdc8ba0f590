//! Errors: one line that names the attempted call, and the exit status that goes with it.

use crate::Kind;
use nix::errno::Errno;
use std::fmt::Display;
use std::io;

/// A result whose error can be printed as it is.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, why, and which way out was seen.
///
/// Printed as `pk-ns: unshare(CLONE_NEWUSER): Operation not permitted`, and where a cause was
/// found on this system, a second line `hint: …`.
#[derive(Debug)]
pub struct Error {
    call: String,
    reason: String,
    hint: Option<String>,
    errno: Option<Errno>,
    exit: Exit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Exit {
    Failed,
    Usage,
    CannotRun,
    NotFound,
}

impl Error {
    /// A failure of the tool itself: `call` is what was attempted, with its operand.
    pub fn new(call: impl Display, reason: impl Display) -> Self {
        let (call, reason) = (call.to_string(), reason.to_string());
        Self { call, reason, hint: None, errno: None, exit: Exit::Failed }
    }

    /// A command line that does not make sense: `operand` is the word that is wrong.
    pub fn usage(operand: impl Display, reason: impl Display) -> Self {
        Self { exit: Exit::Usage, ..Self::new(operand, reason) }
    }

    /// PROG was not found (127).
    pub fn not_found(call: impl Display, reason: impl Display) -> Self {
        Self { exit: Exit::NotFound, ..Self::new(call, reason) }
    }

    /// PROG was found but cannot run (126).
    pub fn cannot_run(call: impl Display, reason: impl Display) -> Self {
        Self { exit: Exit::CannotRun, ..Self::new(call, reason) }
    }

    /// Adds the cause that was found on this system, and the fix. Never a guess.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }

    /// Names the attempted call, unless the error already names a more precise one.
    #[must_use]
    pub fn attempting(mut self, call: impl Display) -> Self {
        if self.call.is_empty() {
            self.call = call.to_string();
        }
        self
    }

    /// Says where it happened, before the call: `layer 0123: "etc/passwd": write: …`.
    #[must_use]
    pub fn within(mut self, place: impl Display) -> Self {
        let separator = if self.call.is_empty() { "" } else { ": " };
        self.call = format!("{place}{separator}{}", self.call);
        self
    }

    /// The kernel's answer, if this error is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// The exit status: 125, 126 or 127 in a chain, 1 or 2 for a plain tool.
    #[must_use]
    pub fn status(&self, kind: Kind) -> u8 {
        match (self.exit, kind) {
            (Exit::NotFound, _) => 127,
            (Exit::CannotRun, _) => 126,
            (_, Kind::Chain) => 125,
            (Exit::Usage, Kind::Plain) => 2,
            (Exit::Failed, Kind::Plain) => 1,
        }
    }

    /// Writes the error's one or two lines to standard error.
    pub fn print(&self, tool: &str) {
        let call = if self.call.is_empty() { String::new() } else { format!("{}: ", self.call) };
        let hint = self.hint.as_ref().map_or(String::new(), |hint| format!("hint: {hint}\n"));
        // One write, so that the lines of two tools do not mix; and nobody to tell if it fails.
        let line = format!("{tool}: {call}{}\n{hint}", self.reason);
        let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self { errno: Some(errno), ..Self::new("", errno.desc()) }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno::from_raw(errno.raw_os_error()).into()
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Errno::from_raw(errno).into(),
            None => Self::new("", error),
        }
    }
}

/// Names the call that a result comes from.
pub trait Attempt<T> {
    /// `call` with its operand, as strace would write it: `open("rootfs")`.
    fn attempt(self, call: impl Display) -> Result<T>;
}

impl<T, E: Into<Error>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, call: impl Display) -> Result<T> {
        self.map_err(|error| error.into().attempting(call))
    }
}
