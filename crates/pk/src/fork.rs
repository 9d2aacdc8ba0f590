//! Forking: what is settled before, what the child does first, and who tells what kept it from
//! becoming PROG.

use crate::parent::Child;
use crate::program::Program;
use crate::{Attempt, Error, Result, Tool, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Child),
}

/// Forks; the child is killed when this process is.
pub(crate) fn fork(child_is_init: bool) -> Result<Fork> {
    Before::prepare(child_is_init)?.fork()
}

/// Forks a child that has nothing to do but to become a program: much faster, because the memory of
/// this process is lent to it and not copied.
///
/// What keeps it from that is told here, and is the status of the child.
pub(crate) fn spawn(tool: &Tool, child_is_init: bool, program: &Program) -> Result<Child> {
    let before = Before::prepare(child_is_init)?;
    // One number, which is there or is not, whenever the child is killed: below 0 from before the
    // exec, above 0 from the exec.
    let refusal = AtomicI32::new(0);
    let pid = match sys::vfork(&|| refusal.store(before.become_program(program), Relaxed)) {
        // Older kernels let nobody share memory across time namespaces, not even until it execs.
        Err(nix::Error::EINVAL) => match before.fork()? {
            Fork::Child => return Err(program.become_it()),
            Fork::Parent(child) => return Ok(child),
        },
        pid => pid?,
    };
    let error = match refusal.into_inner() {
        0 => return before.stay(pid, None),
        number @ ..0 => Error::from(nix::Error::from_raw(-number)).attempting("fork()"),
        number => program.why_not(nix::Error::from_raw(number)),
    };
    error.print(tool.name);
    before.stay(pid, Some(error.status(tool.kind)))
}

/// What is settled before a fork, for both sides.
struct Before {
    /// The parent, as its child sees it.
    parent: OwnedFd,
    mask: SigSet,
    sigchld_was_ignored: bool,
    /// `/proc` as it is now: the child may take its parent along into a root with another one.
    proc: Option<File>,
}

impl Before {
    fn prepare(child_is_init: bool) -> Result<Self> {
        let parent = pidfd_open(getpid(), PidfdFlags::empty()).attempt("pidfd_open(getpid())")?;
        // Blocked before the fork, so that none is lost between it and the first read.
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask))?;
        let sigchld_was_ignored = sys::stop_ignoring_sigchld()?;
        let proc = if child_is_init { File::open("/proc").ok() } else { None };
        Ok(Self { parent, mask, sigchld_was_ignored, proc })
    }

    fn fork(self) -> Result<Fork> {
        match sys::fork()? {
            ForkResult::Child => Ok(self.begin_child().map(|()| Fork::Child)?),
            ForkResult::Parent { child } => self.stay(child, None).map(Fork::Parent),
        }
    }

    /// What a child does first; without the heap.
    fn begin_child(&self) -> nix::Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The signal is not sent for a parent that died before it was asked for.
        let mut parent = [PollFd::new(self.parent.as_fd(), PollFlags::POLLIN)];
        if poll(&mut parent, PollTimeout::ZERO)? > 0 {
            sys::end(128 + Signal::SIGKILL as i32);
        }
        if self.sigchld_was_ignored {
            sys::ignore_sigchld()?;
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)
    }

    /// What a child does that borrows the memory of its parent; returns what kept it from becoming
    /// the program, as [`spawn`] reads it.
    ///
    /// Such a child may be killed between any two instructions, and the parent lives on with what
    /// it has left. So nothing here uses the heap, which is broken while it is being changed.
    fn become_program(&self, program: &Program) -> i32 {
        match self.begin_child() {
            Ok(()) => program.execute() as i32,
            Err(errno) => -(errno as i32),
        }
    }

    fn stay(self, child: Pid, refused: Option<u8>) -> Result<Child> {
        Child::new(child, self.proc.as_ref(), refused)
    }
}

/// Forks a helper that ends by itself; `None` in the helper.
pub fn fork_helper() -> Result<Option<Pid>> {
    match sys::fork().attempt("fork()")? {
        ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // A helper may have children of its own to wait for.
            sys::stop_ignoring_sigchld()?;
            Ok(None)
        }
        ForkResult::Parent { child } => Ok(Some(child)),
    }
}

/// Waits for the end of a helper, however it ends.
pub fn wait_for_helper(helper: Pid) -> Result<()> {
    match waitpid(helper, None) {
        // That is how the end of a child is told where SIGCHLD is ignored: `wait(2)`, NOTES.
        Ok(_) | Err(nix::Error::ECHILD) => Ok(()),
        Err(errno) => Err(errno).attempt("waitpid(helper)"),
    }
}

/// Does something that changes credentials, which makes the kernel forget the signal that this
/// process asked for in case its parent dies (`PR_SET_PDEATHSIG(2const)`), and asks again.
pub fn keep_parent_death_signal<T>(change: impl FnOnce() -> Result<T>) -> Result<T> {
    let signal = prctl::get_pdeathsig()?;
    let changed = change()?;
    if signal.is_some() {
        prctl::set_pdeathsig(signal)?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_child_that_borrows_memory_does_not_touch_the_heap() {
        let before = Before::prepare(true).unwrap();
        let program =
            Program::new("/none".into(), None, vec!["none".into()], vec![("A".into(), "1".into())]);
        let (refusal, uses) = (AtomicI32::new(0), AtomicUsize::new(usize::MAX));
        let child = sys::vfork(&|| {
            let before_it = sys::heap::uses();
            refusal.store(before.become_program(&program), Relaxed);
            uses.store(sys::heap::uses() - before_it, Relaxed);
        });
        waitpid(child.unwrap(), None).unwrap();
        assert_eq!(refusal.into_inner(), nix::Error::ENOENT as i32);
        assert_eq!(uses.into_inner(), 0);

        let before_it = sys::heap::uses();
        drop(program.why_not(nix::Error::ENOENT));
        assert_ne!(sys::heap::uses(), before_it, "that it is seen");
    }
}
