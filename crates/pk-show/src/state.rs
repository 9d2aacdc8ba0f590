//! The state of a process: all that is said of it, in the words of `schema.json`.

use crate::answer::Answer;
use crate::capabilities::Capabilities;
use crate::cgroup::Cgroups;
use crate::descriptors::Descriptors;
use crate::devices::Devices;
use crate::fact::{Fact, Topic};
use crate::limits::Limits;
use crate::mounts::Mounts;
use crate::namespaces::Namespaces;
use crate::privileges::Privileges;
use crate::process::Identity;
use crate::process::Process;
use crate::root::Root;
use crate::user::{Maps, User};
use crate::{
    Seen, capabilities, cgroup, descriptors, devices, hostname, limits, mounts, namespaces,
    privileges, root, user,
};
use pk::{Attempt, Error, Result, Steps};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The version of `schema.json`: a program that reads what another one saved knows what to expect.
const FORMAT: u32 = 1;

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct State {
    pub format: u32,
    pub process: Identity,
    pub hostname: Answer<String>,
    pub namespaces: Namespaces,
    pub root: Answer<Root>,
    pub directory: Answer<String>,
    pub mounts: Mounts,
    pub user: User,
    pub id_maps: Maps,
    pub capabilities: Capabilities,
    pub privileges: Privileges,
    pub cgroups: Cgroups,
    pub devices: Devices,
    pub descriptors: Descriptors,
    pub limits: Limits,
}

/// A step for each section. The host name and the devices come last: for them a namespace of the
/// process may have to be entered, where other things could no longer be read.
pub fn add_steps(steps: &mut Steps<Seen>, pid: Option<u32>) {
    let proc = pid.map_or("/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
    let mut read = |why, call: &str, shell: &str, set: fn(&mut State, &Process)| {
        let (call, shell) = (call.replace("PROC", &proc), shell.replace("PROC", &proc));
        steps.add(why, call, shell, move |Seen { state, process }| {
            set(state, process);
            Ok::<_, Error>(())
        });
    };
    read("which process it is", "read(PROC/status)", "cat PROC/status", |state, process| {
        state.format = FORMAT;
        state.process = process.identity();
    });
    read(
        "a namespace is known by its inode",
        "stat(PROC/ns/*)",
        "ls -l PROC/ns",
        |state, process| state.namespaces = namespaces::read(process),
    );
    read(
        "where its paths begin",
        "statx(PROC/root), readlink(PROC/cwd)",
        "stat PROC/root; readlink PROC/cwd",
        |state, process| {
            state.root = root::read(process);
            state.directory = root::directory(process);
        },
    );
    read(
        "what is mounted, as it sees it",
        "read(PROC/mountinfo)",
        "cat PROC/mountinfo",
        |state, process| state.mounts = mounts::read(process),
    );
    read(
        "who it is, and which ids a user namespace maps",
        "getresuid(), getresgid(), getgroups(), read(PROC/uid_map, PROC/gid_map)",
        "id; cat PROC/uid_map PROC/gid_map",
        |state, process| {
            state.user = user::read(process);
            state.id_maps = user::maps(process);
        },
    );
    read(
        "what it may do, and what it may come to",
        "capget(), prctl(PR_CAPBSET_READ), prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET)",
        "grep ^Cap PROC/status",
        |state, process| state.capabilities = capabilities::read(process),
    );
    read(
        "what it has given up",
        "prctl(PR_GET_NO_NEW_PRIVS), prctl(PR_GET_SECCOMP), read(PROC/attr/current)",
        "grep -E '^(NoNewPrivs|Seccomp)' PROC/status; cat PROC/attr/current",
        |state, process| state.privileges = privileges::read(process),
    );
    read(
        "what it may use, and how much it and those beside it do",
        "read(PROC/cgroup), read(/sys/fs/cgroup/.../memory.max, ...)",
        "cat PROC/cgroup",
        |state, process| state.cgroups = cgroup::read(process),
    );
    read(
        "what it was given to read and write",
        "readlink(PROC/fd/*)",
        "ls -l PROC/fd",
        |state, process| state.descriptors = descriptors::read(process),
    );
    read(
        "how much it may use itself",
        "getrlimit(RLIMIT_*)",
        "cat PROC/limits",
        |state, process| state.limits = limits::read(process),
    );
    read("the name of its machine", "uname()", "uname -n", |state, process| {
        state.hostname = hostname::read(process)
    });
    read(
        "what it can be reached through",
        "socket(AF_NETLINK), sendto(RTM_GETLINK), sendto(RTM_GETADDR)",
        "ip address",
        |state, process| state.devices = devices::read(process),
    );
    steps.add(
        "a process that has ended meanwhile has been read in part only",
        format!("open({proc}/stat)"),
        format!("test -e {proc}/stat"),
        |seen| seen.process.check_alive(),
    );
}

impl State {
    /// One that was saved; `-` is standard input.
    pub fn load(file: &Path) -> Result<Self> {
        let mut text = Vec::new();
        if file == Path::new("-") {
            std::io::stdin().read_to_end(&mut text).attempt("read(0)")?;
        } else {
            let read = File::open(file).and_then(|mut file| file.read_to_end(&mut text));
            read.attempt(format_args!("open({file:?})"))?;
        }
        let wrong = |reason: String| Error::new(file.display(), reason);
        let state: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("is not what --save writes: {error}")))?;
        if state.format != FORMAT {
            return Err(wrong(format!("is of format {}, and this is {FORMAT}", state.format)));
        }
        Ok(state)
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are text") + "\n"
    }

    /// Line by line.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = self.process.facts();
        facts.extend(hostname::facts(&self.hostname));
        facts.extend(self.namespaces.facts());
        facts.extend(self.root.facts());
        facts.push(Fact::of(Topic::Directory, "", self.directory.as_ref(), String::clone));
        facts.extend(self.mounts.facts());
        facts.extend(self.user.facts());
        facts.extend(self.id_maps.facts());
        facts.extend(self.capabilities.facts());
        facts.extend(self.privileges.facts());
        facts.extend(self.cgroups.facts());
        facts.extend(self.devices.facts());
        facts.extend(self.descriptors.facts());
        facts.extend(self.limits.facts());
        facts
    }
}
