//! Entering the namespaces of another process, as `nsenter(1)` and `docker exec` do.
//!
//! Who is in there may be hostile. So the tool runs from a sealed copy of itself, may not be
//! traced, has read all that it wants to know of the process before it enters, and enters at once.

use crate::Options;
use crate::credentials::Credentials;
use crate::helper::Helper;
use crate::namespaces::{Namespaces, WHY_FORK};
use crate::target::{Target, is_own_root};
use nix::sched::setns;
use nix::sys::prctl;
use nix::unistd::{chroot, fchdir, geteuid};
use pk::{Error, Prog, Result, Steps};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What is taken over from the process, and what PROG will be.
struct Joining {
    /// Those that are not ours already: `setns(2)` refuses one's own user namespace.
    namespaces: Namespaces,
    /// Its root, where that is another one.
    root: Option<OwnedFd>,
    directory: Option<OwnedFd>,
    environment: Option<Vec<(OsString, OsString)>>,
}

pub fn steps(
    pid: i32,
    chosen: Namespaces,
    options: &Options,
    operands: Vec<OsString>,
) -> Result<Steps<Option<Helper>>> {
    let target = Target::open(pid)?;
    let joining = Joining::with(&target, chosen, options)?;
    let joined = joining.namespaces;
    let maps = joined.has("user").then(|| target.maps()).transpose()?;
    let becomes_root =
        maps.as_ref().is_some_and(|maps| maps.should_become_root(geteuid().as_raw()));
    let credentials = options.credentials.then(|| target.credentials()).transpose()?;
    let credentials = match (credentials, &maps) {
        (Some(credentials), Some(maps)) => {
            let named = |reason| Error::new("--credentials", reason);
            Some(credentials.inside(maps).map_err(named)?)
        }
        (credentials, _) => credentials,
    };

    let mut steps = Steps::new(None);
    add_protection(&mut steps);
    let prog = joining.find(operands, &mut steps)?;
    let nsenter = format!("exec nsenter {} sh", joining.nsenter(pid, becomes_root));
    if !joined.is_empty() {
        steps.add(
            "namespaces of a running process are entered together, or none of them",
            format!("setns(pidfd_open({pid}), {joined})"),
            &nsenter,
            move |_| setns(&target.pidfd, joined.flags()),
        );
    }
    joining.add_directories(pid, nsenter, &mut steps);
    if joined.has("pid") || joined.has("time") {
        steps.fork(WHY_FORK, "sh; exit", false, |_| Ok(()));
    }
    match credentials {
        Some(credentials) => credentials.add_steps(&mut steps),
        None if becomes_root => {
            let shell = ": # nsenter did it, before its exec took what it takes to do it";
            Credentials::add_become_root(shell, &mut steps);
        }
        None => {}
    }
    steps.exec(prog);
    Ok(steps)
}

impl Joining {
    fn with(target: &Target, chosen: Namespaces, options: &Options) -> Result<Self> {
        let namespaces = chosen.filter(|file| target.differs(file));
        // A mount namespace is entered at its own root, and the process may be in a chroot.
        let root = chosen.has("mount").then(|| target.directory("root")).transpose()?;
        let root = match root {
            Some(root) if namespaces.has("mount") || !is_own_root(&root)? => Some(root),
            _ => None,
        };
        let takes_over = options.credentials || options.environment || options.directory;
        if namespaces.is_empty() && root.is_none() && !takes_over {
            let call = format!("setns({})", target.pid);
            return Err(Error::new(call, "already in the namespaces that are named"));
        }
        let directory = options.directory.then(|| target.directory("cwd")).transpose()?;
        let environment = options.environment.then(|| target.environment()).transpose()?;
        Ok(Self { namespaces, root, directory, environment })
    }

    /// Finds PROG where it will be run: in the root of the process. A tool of the chain is not
    /// there, and is taken along.
    fn find(&self, operands: Vec<OsString>, steps: &mut Steps<Option<Helper>>) -> Result<Prog> {
        let path = self.environment.as_ref().map(|variables| {
            let path = variables.iter().find(|(name, _)| name == "PATH");
            path.map(|(_, path)| path.clone())
        });
        let path = path.unwrap_or_else(|| std::env::var_os("PATH"));
        let prog = match Prog::find_link(operands) {
            Ok(link) => {
                steps.seal_prog();
                link
            }
            Err(operands) => match &self.root {
                Some(root) => Prog::find_inside(root, Path::new("/"), operands, path.as_deref())?,
                None => Prog::find(operands)?,
            },
        };
        // What an earlier link has told a later one is none of the process's.
        let told = || std::env::vars_os().filter(|(name, _)| name == pk::CONSOLE_FD);
        Ok(match &self.environment {
            Some(environment) => {
                prog.with_environment(environment.iter().cloned().chain(told()).collect())
            }
            None => prog,
        })
    }

    /// As options of `nsenter(1)`, which has to be told all at once: the directories are found by
    /// the `/proc` of outside.
    fn nsenter(&self, pid: i32, becomes_root: bool) -> String {
        let mut options = format!("--target {pid} --no-fork {}", self.namespaces.options());
        if !becomes_root {
            options += " --preserve-credentials";
        }
        if self.root.is_some() {
            options += " --root";
        }
        match (&self.root, &self.directory) {
            (_, Some(_)) => options += " --wd",
            (Some(_), None) => options += " --wdns=/",
            (None, None) => {}
        }
        options
    }

    fn add_directories(self, pid: i32, nsenter: String, steps: &mut Steps<Option<Helper>>) {
        let is_done = !self.namespaces.is_empty();
        let is_moved = is_done || self.root.is_some();
        if let Some(root) = self.root {
            let done = ": # nsenter --root did it, while /proc was that of outside";
            steps.add(
                "its root is not that of the mount namespace if it is in a chroot",
                format!("fchdir(open(\"/proc/{pid}/root\")), chroot(\".\")"),
                if is_done { done.to_owned() } else { nsenter },
                move |_| fchdir(root).and_then(|()| chroot(".")),
            );
        }
        if let Some(directory) = self.directory {
            let done = ": # nsenter --wd did it, while /proc was that of outside".to_owned();
            steps.add(
                "its working directory, found before its names meant something else",
                format!("fchdir(open(\"/proc/{pid}/cwd\"))"),
                if is_moved { done } else { format!("cd -P /proc/{pid}/cwd") },
                move |_| fchdir(directory),
            );
        }
    }
}

/// Before anything is looked at, because the first step begins anew.
fn add_protection(steps: &mut Steps<Option<Helper>>) {
    steps.add(
        "in there /proc/PID/exe of this process leads to what it runs: to a copy, not to the host's file",
        "execveat(memfd_create(\"pk-ns\", MFD_ALLOW_SEALING), \"\", ..., AT_EMPTY_PATH)",
        ": # no command does it",
        |_| pk::become_sealed_copy(),
    );
    steps.add(
        "until the exec nobody in there may trace this process or open what it has open",
        "prctl(PR_SET_DUMPABLE, 0)",
        ": # no command does it",
        |_| prctl::set_dumpable(false),
    );
}
