//! The caller's terminal, if standard input is one: its mode, its size, and its foreground.

use nix::sys::signal::{SigSet, Signal};
use pk::{Attempt, Result, stop_with_the_child};
use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use std::os::fd::BorrowedFd;

pub const WINDOW_CHANGED: i32 = Signal::SIGWINCH as i32;
pub const CONTINUED: i32 = Signal::SIGCONT as i32;

/// The caller's terminal, with the mode that it is given back when this is dropped.
#[derive(Default)]
pub struct Caller {
    mode: Option<Termios>,
}

impl Caller {
    /// Makes it hand on every key, Ctrl-C included: they mean something to PROG's terminal only.
    pub fn enter(&mut self, master: BorrowedFd) -> Result<()> {
        if !isatty(stdin()) {
            return Ok(());
        }
        // A background job that changes the terminal is stopped, until it is in the foreground.
        // The kernel does so only if the signal is not blocked: `tcsetattr(3)`, ERRORS.
        let background = SigSet::from(Signal::SIGTTOU);
        background.thread_unblock()?;
        let entered = self.make_raw();
        background.thread_block()?;
        entered?;
        copy_size(master);
        Ok(())
    }

    fn make_raw(&mut self) -> Result<()> {
        let mode = tcgetattr(stdin()).attempt("tcgetattr(0)")?;
        let mut raw = mode.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw).attempt("tcsetattr(0)")?;
        self.mode.get_or_insert(mode);
        Ok(())
    }

    /// Stops as the child did, so that the caller's shell sees its job stopped, and enters again.
    pub fn stop_with_the_job(&mut self, master: Option<BorrowedFd>) -> Result<()> {
        self.leave();
        stop_with_the_child()?;
        master.map_or(Ok(()), |master| self.enter(master))
    }

    fn leave(&mut self) {
        // In the background the terminal is somebody else's by now, with a mode of his own.
        let in_foreground = tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp());
        if let Some(mode) = self.mode.take().filter(|_| in_foreground) {
            // Nobody to tell if it fails: it was hung up.
            let _ = tcsetattr(stdin(), OptionalActions::Drain, &mode);
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Gives PROG's terminal the caller's size; the kernel tells PROG by SIGWINCH.
pub fn copy_size(master: BorrowedFd) {
    // Neither of them has a size any more where it was hung up.
    if let Ok(size) = tcgetwinsize(stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}
