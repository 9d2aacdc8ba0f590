//! Staying as a parent: the child goes on with the chain, and this process forwards signals to it,
//! ends with its status, and takes it along if it is killed itself.

use crate::{Attempt, Error, Result, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Child),
}

/// A child that is being waited for.
pub(crate) struct Child {
    pid: Pid,
    signals: SignalFd,
    /// `/proc/PID/status` of a child that is an init. Opened at the start, because the child may
    /// take this process along into a root where `/proc` shows something else.
    status: Option<File>,
}

/// Forks; the child is killed when this process is.
pub(crate) fn fork(child_is_init: bool) -> Result<Fork> {
    let myself = pidfd_open(getpid(), PidfdFlags::empty()).attempt("pidfd_open(getpid())")?;
    // Blocked before the fork, so that none is lost between it and the first read.
    let mut mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask))?;
    let sigchld_was_ignored = sys::stop_ignoring_sigchld()?;
    match sys::fork()? {
        ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The signal is not sent for a parent that died before it was asked for.
            let mut parent = [PollFd::new(myself.as_fd(), PollFlags::POLLIN)];
            if poll(&mut parent, PollTimeout::ZERO)? > 0 {
                return Err(Error::new("fork()", "the parent was killed"));
            }
            if sigchld_was_ignored {
                sys::ignore_sigchld()?;
            }
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
            Ok(Fork::Child)
        }
        ForkResult::Parent { child } => Ok(Fork::Parent(Child {
            pid: child,
            signals: SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?,
            status: File::open(format!("/proc/{child}/status")).ok().filter(|_| child_is_init),
        })),
    }
}

/// Forks a helper that ends by itself; `None` in the helper.
pub fn fork_helper() -> Result<Option<Pid>> {
    match sys::fork().attempt("fork()")? {
        ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(None)
        }
        ForkResult::Parent { child } => Ok(Some(child)),
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

impl Child {
    /// Waits for the child to end; its status, or 128+n where signal n killed it.
    pub(crate) fn wait(self) -> Result<u8> {
        let mut killed_for = None;
        loop {
            let Some(info) = self.signals.read_signal().attempt("read(signalfd)")? else {
                continue;
            };
            let number = info.ssi_signo.cast_signed();
            if number != Signal::SIGCHLD as i32 {
                // The terminal has sent its signals to the child as well.
                let from_terminal = info.ssi_code == libc::SI_KERNEL;
                if self.would_discard(number) {
                    killed_for = Some(number);
                    sys::kill(self.pid, Signal::SIGKILL as i32)?;
                } else if !from_terminal {
                    sys::kill(self.pid, number)?;
                }
                continue;
            }
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Exited(_, status)) => return Ok(status.to_le_bytes()[0]),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    let number = killed_for.unwrap_or(signal as i32);
                    return Ok(128 + number.to_le_bytes()[0]);
                }
                // A job that is stopped is stopped as a whole, so that the shell sees it.
                Ok(WaitStatus::Stopped(..)) => raise(Signal::SIGSTOP)?,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::from(errno).attempting("waitpid(child)")),
            }
        }
    }

    /// Whether the child is an init that would discard this signal although any other process
    /// would die of it. The kernel spares PID 1 the default actions (`pid_namespaces(7)`), so that
    /// `timeout 5 pk-ns --pid sleep 60` or a Ctrl-C would have no effect.
    fn would_discard(&self, signal: i32) -> bool {
        let deadly = !NOT_DEADLY.iter().any(|&spared| spared as i32 == signal);
        let mut text = [0; 4096];
        let length = self.status.as_ref().and_then(|status| status.read_at(&mut text, 0).ok());
        deadly && length.is_some_and(|length| has_default_action(&text[..length], signal))
    }
}

/// Signals whose default action is not to end the process. `signal(7)`.
const NOT_DEADLY: [Signal; 8] = [
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGURG,
    Signal::SIGWINCH,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Whether a process neither blocks, ignores nor catches a signal, by its `/proc/PID/status`.
fn has_default_action(status: &[u8], signal: i32) -> bool {
    let mask = |line: &[u8]| {
        let mut name = [b"SigBlk:\t", b"SigIgn:\t", b"SigCgt:\t"].into_iter();
        let hex = name.find_map(|name| line.strip_prefix(name))?;
        u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let masks: Vec<u64> = status.split(|&byte| byte == b'\n').filter_map(mask).collect();
    masks.len() == 3 && masks.iter().all(|mask| mask >> (signal - 1) & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_its_default_action_if_nothing_is_said_of_it() {
        let status = b"Name:\tsh\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000000002\n\
            SigCgt:\t0000000000004000\nCapInh:\t0\n";
        let expected = [(1, false), (2, false), (15, false), (3, true), (64, true)];
        for (signal, default) in expected {
            assert_eq!(has_default_action(status, signal), default, "{signal}");
        }
        assert!(!has_default_action(b"Name:\tsh\n", 3), "nothing is known");
    }
}
