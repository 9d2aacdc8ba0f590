//! Reading a state, a step for each section.

use crate::process::Process;
use crate::state::{FORMAT, State};
use crate::{
    Seen, capabilities, cgroup, descriptors, devices, hostname, limits, mounts, namespaces,
    privileges, root, user,
};
use pk::{Error, Steps};

struct Section {
    why: &'static str,
    /// `PROC` stands for the directory of the process.
    call: &'static str,
    shell: &'static str,
    read: fn(&mut State, &Process),
}

/// The host name and the devices come last: for them a namespace of the process may have to be
/// entered, where other things could no longer be read.
const SECTIONS: [Section; 12] = [
    Section {
        why: "which process it is",
        call: "read(PROC/status)",
        shell: "cat PROC/status",
        read: |state, process| state.process = process.identity(),
    },
    Section {
        why: "a namespace is known by its inode",
        call: "stat(PROC/ns/*)",
        shell: "ls -l PROC/ns",
        read: |state, process| state.namespaces = namespaces::read(process),
    },
    Section {
        why: "where its paths begin, and where it stands",
        call: "statx(PROC/root), readlink(PROC/cwd)",
        shell: "stat PROC/root/; readlink PROC/cwd",
        read: |state, process| {
            state.root = root::read(process);
            state.directory = root::directory(process);
        },
    },
    Section {
        why: "what is mounted, as it sees it",
        call: "read(PROC/mountinfo)",
        shell: "cat PROC/mountinfo",
        read: |state, process| state.mounts = mounts::read(process),
    },
    Section {
        why: "who it is",
        call: "getresuid(), getresgid(), getgroups()",
        shell: "grep -E '^(Uid|Gid|Groups)' PROC/status",
        read: |state, process| state.user = user::read(process),
    },
    Section {
        why: "who that is outside of its user namespace",
        call: "read(PROC/uid_map), read(PROC/gid_map)",
        shell: "cat PROC/uid_map PROC/gid_map",
        read: |state, process| state.id_maps = user::maps(process),
    },
    Section {
        why: "what it may do, and what it may come to",
        call: "capget(), prctl(PR_CAPBSET_READ), prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET)",
        shell: "grep ^Cap PROC/status",
        read: |state, process| state.capabilities = capabilities::read(process),
    },
    Section {
        why: "what it has given up, and what it is confined to",
        call: "prctl(PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_GET_SECUREBITS), read(PROC/attr/current)",
        shell: "grep -E '^(NoNewPrivs|Seccomp)' PROC/status; cat PROC/attr/current",
        read: |state, process| state.privileges = privileges::read(process),
    },
    Section {
        why: "what it may use together with those in its groups",
        call: "read(PROC/cgroup), read(/sys/fs/cgroup/.../memory.max), ...",
        shell: "cat PROC/cgroup",
        read: |state, process| state.cgroups = cgroup::read(process),
    },
    Section {
        why: "what it was given to read and write",
        call: "readlink(PROC/fd/*)",
        shell: "ls -l PROC/fd",
        read: |state, process| state.descriptors = descriptors::read(process),
    },
    Section {
        why: "what it may use alone",
        call: "getrlimit(RLIMIT_*)",
        shell: "cat PROC/limits",
        read: |state, process| state.limits = limits::read(process),
    },
    Section {
        why: "what it calls its machine, and how the network reaches it",
        call: "uname(), socket(AF_NETLINK), sendto(RTM_GETLINK), sendto(RTM_GETADDR)",
        shell: "uname -n; ip address",
        read: |state, process| {
            state.hostname = hostname::read(process);
            state.devices = devices::read(process);
        },
    },
];

pub fn add_steps(steps: &mut Steps<Seen>, pid: Option<u32>) {
    let proc = pid.map_or("/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
    for Section { why, call, shell, read } in SECTIONS {
        let (call, shell) = (call.replace("PROC", &proc), shell.replace("PROC", &proc));
        steps.add(why, call, shell, move |Seen { state, process }| {
            state.format = FORMAT;
            read(state, process);
            Ok::<_, Error>(())
        });
    }
    if pid.is_some() {
        steps.add(
            "what was read of a process that has ended meanwhile is not whole",
            format!("read({proc}/status)"),
            format!("test -e {proc}/status"),
            |seen| seen.process.check_alive(),
        );
    }
}
