//! `--terminal` and `--new-session`: a session that is not the caller's, and a terminal for it.
//!
//! Who shares a terminal with the caller can type into it (`TIOCSTI`). PROG gets one of the new
//! root's devpts instead, and its master goes to pk-pty, which stands at the begin of the chain.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, fchown};
use pk::{Attempt, CONSOLE_FD, Error, Result, Steps};
use rustix::fs::fstatfs;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{getpgrp, getpid, ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `DEVPTS_SUPER_MAGIC` of `statfs(2)`.
const DEVPTS: u64 = 0x1cd1;

/// Adds the steps for a terminal whose owner is `owner`, or the user that opens it.
pub fn add_terminal(owner: Option<u32>, steps: &mut Steps) {
    steps.check(|()| console().map(drop));
    let shell = match owner {
        Some(owner) => format!("exec script -qec 'chown {owner} /dev/stdin; exec sh' /dev/null"),
        None => "exec script -qec 'exec sh' /dev/null".to_owned(),
    };
    // First, so that at no moment two processes read from the caller's terminal.
    steps.add(
        "job control, Ctrl-C and SIGWINCH are a session's: PROG gets one that is not the caller's",
        "setsid()",
        ": # script makes a session with the terminal",
        |()| new_session(),
    );
    steps.add(
        "it is controlled by a terminal of the new root's own, whose master is not in there",
        "openat2(\"/dev/pts/ptmx\"), ioctl(TIOCGPTPEER), ioctl(TIOCSCTTY), sendmsg(PK_CONSOLE_FD, SCM_RIGHTS), dup2",
        shell,
        move |()| {
            let (master, slave) = open_pair()?;
            like_the_callers(&slave);
            if owner.is_some() {
                fchown(&slave, owner.map(Uid::from_raw), None).attempt("fchown(terminal)")?;
            }
            ioctl_tiocsctty(&slave).attempt("ioctl(TIOCSCTTY)")?;
            send(console()?, master.as_fd())?;
            dup2_stdin(&slave)?;
            dup2_stdout(&slave)?;
            dup2_stderr(&slave).map_err(Error::from)
        },
    );
}

/// Adds the step for a session without a terminal.
pub fn add_session(steps: &mut Steps) {
    steps.add(
        "the caller's terminal is not the controlling one: no typing into it by TIOCSTI",
        "setsid()",
        "exec setsid --wait sh",
        |()| new_session(),
    );
}

fn new_session() -> Result<()> {
    setsid().map(drop).map_err(|errno| {
        let leads = getpgrp() == getpid();
        let hint = "this process leads a process group, as a shell's job does: put pk-ns --pid in front, which forks";
        Error::from(errno).hint(leads.then(|| hint.to_owned()))
    })
}

/// The socket that pk-pty listens to.
fn console() -> Result<BorrowedFd<'static>> {
    let number = std::env::var(CONSOLE_FD).ok().and_then(|number| number.parse().ok());
    let socket = number.and_then(|number| crate::descriptors::inherited(number).ok());
    socket.ok_or_else(|| {
        let hint =
            "begin the chain with it; programs in between that are not pk's do not pass it on";
        Error::usage("--terminal", "there is no pk-pty to show the terminal").hint(hint.to_owned())
    })
}

/// The master and the slave of a new terminal of `/dev/pts`, as it is seen in the new root.
fn open_pair() -> Result<(OwnedFd, OwnedFd)> {
    let missing = || {
        let hint = "pk-mounts --dev, or --standard, mounts one on /dev/pts";
        Error::new("openat2(\"/dev/pts/ptmx\")", "ROOT has no devpts").hint(hint.to_owned())
    };
    let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    // A link of the image's could lead to anything that opens like a terminal.
    let how = OpenHow::new()
        .flags(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let master = match openat2(&root, "dev/pts/ptmx", how) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(missing()),
        result => result.attempt("openat2(\"/dev/pts/ptmx\")")?,
    };
    if u64::try_from(fstatfs(&master)?.f_type) != Ok(DEVPTS) {
        return Err(missing());
    }
    unlockpt(&master).attempt("ioctl(TIOCSPTLCK)")?;
    // By the master and not by a path, which may show another devpts: `ioctl_tty(2)`.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).attempt("ioctl(TIOCGPTPEER)")?;
    Ok((master, slave))
}

/// Gives it the size, the keys and the modes of the caller's terminal, if there is one.
fn like_the_callers(slave: &OwnedFd) {
    if let (Ok(mode), Ok(size)) = (tcgetattr(stdin()), tcgetwinsize(stdin())) {
        let _ = tcsetattr(slave, OptionalActions::Now, &mode);
        let _ = tcsetwinsize(slave, size);
    }
}

fn send(socket: BorrowedFd, master: BorrowedFd) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let masters = [master];
    control.push(SendAncillaryMessage::ScmRights(&masters));
    // A byte has to go along: `unix(7)`.
    let data = [std::io::IoSlice::new(b"\0")];
    sendmsg(socket, &data, &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .attempt("sendmsg(PK_CONSOLE_FD)")
}
