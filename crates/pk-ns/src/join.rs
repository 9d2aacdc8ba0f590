//! Entering the namespaces of another process, as `nsenter(1)` and `docker exec` do.

use crate::idmap::Helper;
use crate::namespaces::{Namespaces, WHY_FORK};
use nix::sched::setns;
use nix::sys::prctl;
use pk::{Attempt, Error, Prog, Result, Steps};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The process whose namespaces are entered, held by a descriptor: its number may be given to
/// another process meanwhile, the descriptor stays with this one.
pub struct Target {
    pid: i32,
    pidfd: OwnedFd,
}

impl Target {
    pub fn open(pid: i32) -> Result<Self> {
        let number = Pid::from_raw(pid).filter(|_| pid > 0);
        let number = number.ok_or_else(|| Error::usage(format!("--join {pid}"), "is no PID"))?;
        let pidfd =
            pidfd_open(number, PidfdFlags::empty()).attempt(format_args!("pidfd_open({pid})"))?;
        Ok(Self { pid, pidfd })
    }

    /// The one call that enters all of the namespaces, or none: the kernel takes every one of them
    /// from the pidfd before it changes the first.
    pub fn steps(
        self,
        chosen: Namespaces,
        operands: Vec<OsString>,
    ) -> Result<Steps<Option<Helper>>> {
        let pid = self.pid;
        let joined = self.differing(chosen);
        if joined.is_empty() {
            let reason = "already in the namespaces that are named";
            return Err(Error::new(format!("setns({pid})"), reason));
        }
        let prog = if joined.has("mount") { self.find(operands)? } else { Prog::find(operands)? };
        let mut steps = Steps::new(None);
        steps.add(
            "until the exec nobody in there may trace this process or open what it has open",
            "prctl(PR_SET_DUMPABLE, 0)",
            ": # util-linux has no command for it",
            |_| prctl::set_dumpable(false),
        );
        steps.add(
            "namespaces of a running process are entered together, or none of them",
            format!("setns(pidfd_open({pid}), {joined})"),
            format!("nsenter --target {pid} {} PROG", joined.options()),
            move |_| setns(&self.pidfd, joined.flags()),
        );
        if joined.has("pid") {
            steps.fork(WHY_FORK, "nsenter --target PID --pid PROG", false, |_| Ok(()));
        }
        steps.exec(prog);
        Ok(steps)
    }

    /// Those that are not ours already: `setns(2)` refuses one's own user namespace, and entering
    /// one's own mount namespace would move the root and the working directory.
    fn differing(&self, chosen: Namespaces) -> Namespaces {
        let inode = |path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        chosen.filter(|file| {
            let theirs = inode(format!("/proc/{}/ns/{file}", self.pid));
            theirs.is_none() || theirs != inode(format!("/proc/self/ns/{file}"))
        })
    }

    /// Finds PROG where it will be run, in the root of the process.
    fn find(&self, operands: Vec<OsString>) -> Result<Prog> {
        let path = format!("/proc/{}/root", self.pid);
        let root = File::open(&path).attempt(format_args!("open({path:?})"))?;
        Prog::find_inside(root, Path::new("/"), operands, std::env::var_os("PATH").as_deref())
    }
}
