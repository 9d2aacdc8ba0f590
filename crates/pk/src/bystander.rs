//! A process that stays behind while a tool enters a namespace that only its children get into.
//!
//! After `unshare(CLONE_NEWPID)` the next child is the init of the new namespace, and its end is the
//! end of the namespace; a new time namespace can be set up only as long as it has no process. So
//! neither a shell nor pk-show may be started from there. The bystander can: its children join
//! the other namespaces of the tool, and are then what the tool itself is: still in the old ones.

use crate::look::{Look, in_child};
use crate::{Attempt, Error, Result, Tool, sys, wait_for_helper};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, chdir, getcwd};
use rustix::io::{read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::fs::read_link;
use std::os::fd::OwnedFd;
use std::process::exit;

/// The namespaces that a process itself enters, by their names in `/proc/PID/ns`.
const KINDS: [(&str, CloneFlags); 6] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("net", CloneFlags::CLONE_NEWNET),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
];

/// The tool, as the bystander sees it.
struct Watched {
    pid: i32,
    pidfd: OwnedFd,
}

/// The tool's end of the line to it. It ends when that is closed.
#[derive(Debug)]
pub struct Bystander(OwnedFd);

impl Bystander {
    /// Forks it. Not as a child: PROG is to have none that it did not start.
    pub fn post(tool: &Tool, look: impl Fn(Look) -> Error) -> Result<Self> {
        let call = "socketpair(AF_UNIX, SOCK_SEQPACKET)";
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, theirs) = socketpair(family, kind, SocketFlags::CLOEXEC, None).attempt(call)?;
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).attempt("pidfd_open(getpid())")?;
        let watched = Watched { pid: getpid().as_raw_pid(), pidfd };
        let helper = match sys::fork().attempt("fork()")? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                drop(ours);
                if let Ok(ForkResult::Child) = sys::fork() {
                    stand_by(tool, &theirs, &watched, look);
                }
                exit(0)
            }
        };
        wait_for_helper(helper)?;
        Ok(Self(ours))
    }

    /// Has something looked at, and waits until that is done.
    pub fn ask(&self, look: Look) -> Result<()> {
        write(&self.0, &[look as u8]).attempt("write(bystander)")?;
        match read(&self.0, &mut [0; 1]).attempt("read(bystander)")? {
            0 => Err(Error::new("read(bystander)", "it has ended")),
            _ => Ok(()),
        }
    }
}

/// Whether the next child of this process will be in other namespaces than the process is.
pub fn children_go_elsewhere() -> bool {
    ["pid", "time"].iter().any(|kind| {
        let own = read_link(format!("/proc/self/ns/{kind}"));
        // The link of a namespace that waits for its init leads nowhere.
        own.is_ok_and(|own| {
            read_link(format!("/proc/self/ns/{kind}_for_children")).ok() != Some(own)
        })
    })
}

fn stand_by(tool: &Tool, line: &OwnedFd, watched: &Watched, look: impl Fn(Look) -> Error) {
    // What the terminal sends to the whole group is for others.
    let mut before = SigSet::empty();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
    let mut byte = [0];
    while read(line, &mut byte) == Ok(1) {
        let done = in_child(tool, &before, || match join(watched) {
            Ok(()) => look(Look::from(byte[0])),
            Err(error) => error,
        });
        if done.is_err() || write(line, &byte).is_err() {
            return;
        }
    }
}

/// Enters those namespaces in which the tool is by now. Nobody may enter the user namespace that he
/// is in already, nor does an ordinary user enter those that are the machine's.
fn join(watched: &Watched) -> Result<()> {
    let directory = getcwd();
    let mut flags = CloneFlags::empty();
    for (kind, flag) in KINDS {
        let link = |process: &str| {
            let path = format!("/proc/{process}/ns/{kind}");
            read_link(&path).attempt(format_args!("readlink({path:?})"))
        };
        flags.set(flag, link("self")? != link(&watched.pid.to_string())?);
    }
    setns(&watched.pidfd, flags).attempt(format_args!("setns(pidfd, {flags:?})"))?;
    // A new mount namespace begins at its root.
    directory.and_then(|directory| chdir(&directory)).attempt("chdir")
}
