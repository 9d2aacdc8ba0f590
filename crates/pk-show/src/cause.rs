//! What changes a fact: the pk tool with its option, and the flag of `docker run`.

use crate::fact::{Fact, Topic};
use crate::root;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cause {
    pub pk: &'static str,
    pub docker: &'static str,
}

const fn cause(pk: &'static str, docker: &'static str) -> Cause {
    Cause { pk, docker }
}

impl Cause {
    pub fn text(self) -> String {
        let pk = if self.pk.is_empty() { "no tool of pk" } else { self.pk };
        match self.docker {
            "" => format!("by {pk}"),
            docker => format!("by {pk}  (docker: {docker})"),
        }
    }
}

/// Of a fact as it was and as it is, one of which is there.
pub fn of(before: Option<&Fact>, after: Option<&Fact>) -> Cause {
    let Some(fact) = after.or(before) else { return cause("", "") };
    let name = fact.name.as_str();
    match fact.topic {
        Topic::Process => cause("", ""),
        Topic::Hostname => cause("pk-ns --hostname", "--hostname"),
        Topic::Namespace => namespace(name),
        Topic::Root if fact.compared().contains(root::CHROOT) => {
            cause("pk-chroot-exec --chroot ROOT", "")
        }
        Topic::Root => cause("pk-chroot-exec ROOT", "IMAGE"),
        Topic::Directory => cause("pk-chroot-exec --workdir", "--workdir"),
        Topic::Mount => mount(before, after),
        Topic::User => user(name),
        Topic::IdMap => cause("pk-ns --map-root, --map-auto, --uid-map", "dockerd --userns-remap"),
        Topic::Capabilities if name == "ambient" => cause("pk-privs --ambient", ""),
        Topic::Capabilities => cause("pk-privs --caps", "--cap-drop, --cap-add, --privileged"),
        Topic::Privileges => privilege(name),
        Topic::Cgroup => cgroup(name),
        Topic::Device => cause("pk-ns --net", "--network"),
        Topic::Descriptor if after.is_none() => cause("pk-chroot-exec", "always"),
        Topic::Descriptor => cause("pk-chroot-exec --keep-fd", ""),
        Topic::Limit => cause("pk-privs --rlimit", "--ulimit"),
    }
}

fn namespace(name: &str) -> Cause {
    match name {
        "cgroup" => cause("pk-ns --cgroup", "--cgroupns=private"),
        "ipc" => cause("pk-ns --ipc", "always, but for --ipc=host"),
        "mount" => cause("pk-ns --mount", "always"),
        "net" => cause("pk-ns --net", "always, but for --network=host"),
        "time" | "children's time" => cause("pk-ns --time", ""),
        "user" => cause("pk-ns --user", "dockerd --userns-remap"),
        "uts" => cause("pk-ns --uts", "always, but for --uts=host"),
        _ => cause("pk-ns --pid", "always, but for --pid=host"),
    }
}

/// A mount that came, went, or has other columns: type, source, flags, propagation, options. It may
/// still lie below a ROOT that is not the root yet.
fn mount(before: Option<&Fact>, after: Option<&Fact>) -> Cause {
    let columns = |fact: Option<&Fact>| fact.and_then(|fact| fact.value.clone().ok());
    let (old, Some(fact), Some(new)) = (columns(before), after, columns(after)) else {
        return cause("pk-chroot-exec ROOT", "always");
    };
    if old.is_some_and(|old| old[..3] == new[..3] && old[3] != new[3]) {
        return cause("pk-ns --mount --propagation", "--volume SRC:DST:rslave, :rshared");
    }
    let point = fact.name.split(" #").next().unwrap_or_default();
    let is_at = |ends: &[&str]| ends.iter().any(|end| point.ends_with(end));
    let is_in = |parts: &[&str]| parts.iter().any(|part| point.contains(part));
    let is_part = new[1].ends_with(']');
    match new[0].as_str() {
        _ if point == "/" => cause("pk-mounts --overlay, --read-only", "IMAGE, --read-only"),
        "overlay" if is_at(&["/run/pk"]) => cause("pk-mounts --tools", "--init"),
        "overlay" => cause("pk-mounts --overlay", "IMAGE"),
        "cgroup" | "cgroup2" => cause("pk-mounts --cgroup", "always"),
        "tmpfs" if is_at(&["/sys/fs/cgroup"]) => cause("pk-mounts --cgroup", "always"),
        "proc" if !is_part => cause("pk-mounts --standard, --proc", "always"),
        "sysfs" if !is_part => cause("pk-mounts --standard, --sys", "always"),
        _ if is_in(&["/proc/", "/sys/"]) => {
            cause("pk-mounts --standard, --mask", "always, but for --privileged")
        }
        "devpts" | "mqueue" => cause("pk-mounts --standard, --dev", "always"),
        "tmpfs" if !is_part && is_at(&["/dev", "/dev/shm"]) => {
            cause("pk-mounts --standard, --dev", "always")
        }
        "devtmpfs" if is_in(&["/dev/"]) => cause("pk-mounts --standard, --dev", "always"),
        "tmpfs" if !is_part && is_at(&["/tmp"]) => cause("pk-mounts --tmp", "--tmpfs /tmp"),
        "tmpfs" if !is_part && is_at(&["/run"]) => cause("pk-mounts --run", "--tmpfs /run"),
        "tmpfs" if !is_part => cause("pk-mounts --tmpfs", "--tmpfs, --mount type=tmpfs"),
        _ => cause("pk-mounts ROOT, --bind", "--volume, --mount type=bind"),
    }
}

fn user(name: &str) -> Cause {
    match name {
        "groups" => cause("pk-privs --user, pk-chroot-exec --user", "--user, --group-add"),
        _ => cause("pk-privs --user, pk-chroot-exec --user, pk-ns --map-root", "--user"),
    }
}

fn privilege(name: &str) -> Cause {
    match name {
        "no_new_privs" => cause("pk-privs --no-new-privs", "--security-opt no-new-privileges"),
        "securebits" => cause("pk-privs --securebits", ""),
        "seccomp" => cause("pk-privs --seccomp", "--security-opt seccomp=FILE"),
        _ => cause("", "--security-opt apparmor=NAME, label=..."),
    }
}

fn cgroup(name: &str) -> Cause {
    match name {
        "memory limit" => cause("pk-cgroup --memory", "--memory"),
        "pids limit" => cause("pk-cgroup --pids", "--pids-limit"),
        "cpus limit" => cause("pk-cgroup --cpus", "--cpus"),
        "cpuset limit" => cause("pk-cgroup --cpuset", "--cpuset-cpus"),
        _ => cause("pk-cgroup; its view: pk-ns --cgroup", "always; --cgroup-parent"),
    }
}
