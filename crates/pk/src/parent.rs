//! Staying as a parent: the child goes on with the chain, and this process forwards signals to it,
//! ends with its status, and takes it along if it is killed itself.

use crate::program::Program;
use crate::{Attempt, Error, Result, Tool, sys};
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, getpgid, getpgrp, getsid};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, WaitOptions, getpid, pidfd_open, wait};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Child),
}

/// A child that goes on with the chain, for the process that stays as its parent.
pub struct Child {
    pid: Pid,
    signals: SignalFd,
    /// `/proc/PID/status` of a child that is an init.
    status: Option<File>,
    /// The status of a child that could not become what it was to be.
    refused: Option<u8>,
    /// The signal for which an init was killed that would have discarded it.
    killed_for: Option<i32>,
}

/// Forks; the child is killed when this process is.
pub(crate) fn fork(child_is_init: bool) -> Result<Fork> {
    let before = Before::prepare(child_is_init)?;
    match sys::fork()? {
        ForkResult::Child => Ok(before.begin_child().map(|()| Fork::Child)?),
        ForkResult::Parent { child } => Ok(Fork::Parent(before.stay(child)?)),
    }
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
        Err(nix::Error::EINVAL) => match sys::fork()? {
            ForkResult::Child => {
                before.begin_child()?;
                return Err(program.become_it());
            }
            ForkResult::Parent { child } => child,
        },
        pid => pid?,
    };
    let mut child = before.stay(pid)?;
    let error = match refusal.into_inner() {
        0 => return Ok(child),
        number @ ..0 => Error::from(nix::Error::from_raw(-number)).attempting("fork()"),
        number => program.why_not(nix::Error::from_raw(number)),
    };
    error.print(tool.name);
    child.refused = Some(error.status(tool.kind));
    Ok(child)
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

    fn stay(self, child: Pid) -> Result<Child> {
        Ok(Child {
            pid: child,
            signals: SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?,
            status: self.proc.and_then(|proc| open_status(&proc, child).ok()),
            refused: None,
            killed_for: None,
        })
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

fn open_status(proc: &File, pid: Pid) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    Ok(openat(proc, format!("{pid}/status").as_str(), flags, Mode::empty())?.into())
}

/// What a parent is told, one thing at a time.
pub enum News {
    /// The child has ended with this status, 128+n where signal n killed it.
    Ended(u8),
    /// The child was stopped.
    Stopped,
    /// Somebody sent this process a signal.
    Signal(Received),
}

/// A signal, and whether it came from the kernel, which sends a terminal's to a whole group.
#[derive(Clone, Copy)]
pub struct Received {
    /// The number, which may be a real-time signal's.
    pub number: i32,
    from_kernel: bool,
}

impl Child {
    /// Waits for the child to end; its status, or 128+n where signal n killed it.
    pub(crate) fn wait(mut self) -> Result<u8> {
        loop {
            match self.news()? {
                None => {}
                Some(News::Ended(status)) => return Ok(status),
                Some(News::Stopped) => stop_with_the_child()?,
                Some(News::Signal(signal)) => self.forward(signal)?,
            }
        }
    }

    /// Waits for a signal, which may be no news: SIGCHLD tells also of a child that goes on, and of
    /// orphans. A caller that has other things to wait for polls the descriptor first.
    pub fn news(&mut self) -> Result<Option<News>> {
        let Some(info) = self.signals.read_signal().attempt("read(signalfd)")? else {
            return Ok(None);
        };
        let number = info.ssi_signo.cast_signed();
        if number == Signal::SIGCHLD as i32 {
            return self.reap();
        }
        let from_kernel = info.ssi_code == libc::SI_KERNEL;
        Ok(Some(News::Signal(Received { number, from_kernel })))
    }

    /// Takes every child that has ended: orphans come to an init and to a subreaper, and one
    /// SIGCHLD may stand for many of them.
    fn reap(&mut self) -> Result<Option<News>> {
        let mut news = None;
        loop {
            let ended = match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if pid.as_raw_pid() == self.pid.as_raw() => status,
                Ok(Some(_)) | Err(Errno::INTR) => continue,
                Ok(None) => return Ok(news),
                Err(errno) => return Err(Error::from(errno).attempting("waitpid(-1)")),
            };
            match (ended.exit_status(), ended.terminating_signal()) {
                (Some(status), _) => {
                    let status = status.to_le_bytes()[0];
                    return Ok(Some(News::Ended(self.refused.unwrap_or(status))));
                }
                (_, Some(signal)) => {
                    let number = self.killed_for.unwrap_or(signal);
                    return Ok(Some(News::Ended(128 + number.to_le_bytes()[0])));
                }
                _ => news = Some(News::Stopped),
            }
        }
    }

    /// Passes a signal on to the child, or does what it would have done.
    pub fn forward(&mut self, signal: Received) -> Result<()> {
        let Received { number, from_kernel } = signal;
        let number = match self.stand_in(number) {
            Some(stand_in) => {
                if stand_in == Signal::SIGKILL {
                    self.killed_for = Some(number);
                }
                stand_in as i32
            }
            // The terminal has sent its signals to the child as well, if it is in our group.
            None if from_kernel && getpgid(Some(self.pid)) == Ok(getpgrp()) => return Ok(()),
            None => number,
        };
        match sys::kill(self.pid, number) {
            // A setuid program may be out of reach; that is nothing to end for.
            Ok(()) | Err(nix::Error::EPERM) => Ok(()),
            Err(errno) => Err(errno).attempt(format_args!("kill({}, {number})", self.pid)),
        }
    }

    /// What has to be sent instead of a signal that the child, an init, would discard although any
    /// other process would die or stop of it. The kernel spares PID 1 the default actions, except
    /// for these two when they come from outside (`pid_namespaces(7)`): without a stand-in,
    /// `timeout 5 pk-ns --pid sleep 60`, Ctrl-C and Ctrl-Z would have no effect.
    fn stand_in(&self, signal: i32) -> Option<Signal> {
        let mut text = [0; 4096];
        let length = self.status.as_ref()?.read_at(&mut text, 0).ok()?;
        let is_one_of = |signals: &[Signal]| signals.iter().any(|&one| one as i32 == signal);
        let text = &text[..length];
        if is_one_of(&STOPPING) {
            // An init that blocks them, to read all signals from a descriptor, cannot stop either.
            // Nobody would continue an orphaned group: `setpgid(2)`, as the kernel does.
            let orphaned = getsid(None) == Ok(getpgrp());
            let stops = !orphaned && is_unset(text, &["SigIgn", "SigCgt"], signal);
            return stops.then_some(Signal::SIGSTOP);
        }
        let dies = !is_one_of(&HARMLESS) && is_unset(text, &["SigBlk", "SigIgn", "SigCgt"], signal);
        dies.then_some(Signal::SIGKILL)
    }
}

/// Stops this process as its child was: a job is stopped as a whole, so that the shell sees it.
///
/// PID 1 cannot stop, and what is to go on already must not: a signal to stop would make the kernel
/// forget the SIGCONT that is on its way.
pub fn stop_with_the_child() -> Result<()> {
    if getpid().is_init() || sys::is_pending(Signal::SIGCONT)? {
        return Ok(());
    }
    Ok(raise(Signal::SIGSTOP)?)
}

impl AsFd for Child {
    /// Readable when there is news.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// Signals whose default action is to stop the process, but for SIGSTOP. `signal(7)`.
const STOPPING: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Signals whose default action is neither to end the process nor to stop it. `signal(7)`.
const HARMLESS: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGURG, Signal::SIGWINCH];

/// Whether a signal is in none of these masks of a `/proc/PID/status`.
fn is_unset(status: &[u8], masks: &[&str], signal: i32) -> bool {
    let mask = |name: &&str| {
        let line = status
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":\t"));
        u64::from_str_radix(std::str::from_utf8(line?).ok()?, 16).ok()
    };
    masks.iter().all(|name| mask(name).is_some_and(|mask| mask >> (signal - 1) & 1 == 0))
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

    #[test]
    fn a_signal_has_its_default_action_if_nothing_is_said_of_it() {
        let status = b"Name:\tsh\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000000002\n\
            SigCgt:\t0000000000004000\nCapInh:\t0\n";
        let all = ["SigBlk", "SigIgn", "SigCgt"];
        let expected = [(1, false), (2, false), (15, false), (3, true), (64, true)];
        for (signal, unset) in expected {
            assert_eq!(is_unset(status, &all, signal), unset, "{signal}");
        }
        assert!(is_unset(status, &all[1..], 1), "it is only blocked");
        assert!(!is_unset(b"Name:\tsh\n", &all, 3), "nothing is known");
    }
}
