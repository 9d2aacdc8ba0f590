//! Staying as a parent: the child goes on with the chain, and this process forwards signals to it,
//! ends with its status, and takes it along if it is killed itself.

use crate::{Attempt, Error, Result, sys};
use nix::fcntl::{OFlag, openat};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgid, getpgrp, getsid};
use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, wait};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

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
    /// `proc` is `/proc` as it was before the fork, for a child that is an init; `refused` is the
    /// status of one that could not become what it was to be. All signals are blocked.
    pub(crate) fn new(pid: Pid, proc: Option<&File>, refused: Option<u8>) -> Result<Self> {
        Ok(Self {
            pid,
            signals: SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?,
            status: proc.and_then(|proc| open_status(proc, pid).ok()),
            refused,
            killed_for: None,
        })
    }

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

fn open_status(proc: &File, pid: Pid) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    Ok(openat(proc, format!("{pid}/status").as_str(), flags, Mode::empty())?.into())
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
