//! Colours, where a terminal shows them.

use std::fmt::Display;
use std::os::fd::AsFd;

/// Whether text is coloured.
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// Colours for who looks at a descriptor; none if it is no terminal, or by `NO_COLOR`.
    pub fn of(descriptor: impl AsFd) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(!is_set("NO_COLOR") && !dumb && nix::unistd::isatty(descriptor).unwrap_or(false))
    }

    /// What to look at first.
    #[must_use]
    pub fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// What can be typed, or has come.
    #[must_use]
    pub fn green(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    /// What went wrong, or has gone.
    #[must_use]
    pub fn red(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    /// What may be skipped.
    #[must_use]
    pub fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
