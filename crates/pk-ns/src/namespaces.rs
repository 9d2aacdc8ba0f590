//! The eight kinds of namespace, `namespaces(7)`, and what is said and set when they are created.

use crate::Options;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use pk::{Error, Steps};
use std::fmt;
use std::fs;
use std::str::FromStr;

/// A kind: its option, its file in `/proc/PID/ns`, and its flag with the kernel's name for it.
struct Kind {
    name: &'static str,
    file: &'static str,
    flag: CloneFlags,
    constant: &'static str,
}

const fn kind(name: &'static str, file: &'static str, flag: i32, constant: &'static str) -> Kind {
    Kind { name, file, flag: CloneFlags::from_bits_retain(flag), constant }
}

/// User first, as the kernel enters it first: it gives the right to the others.
const KINDS: [Kind; 8] = [
    kind("user", "user", libc::CLONE_NEWUSER, "CLONE_NEWUSER"),
    kind("mount", "mnt", libc::CLONE_NEWNS, "CLONE_NEWNS"),
    kind("pid", "pid", libc::CLONE_NEWPID, "CLONE_NEWPID"),
    kind("uts", "uts", libc::CLONE_NEWUTS, "CLONE_NEWUTS"),
    kind("ipc", "ipc", libc::CLONE_NEWIPC, "CLONE_NEWIPC"),
    kind("net", "net", libc::CLONE_NEWNET, "CLONE_NEWNET"),
    kind("cgroup", "cgroup", libc::CLONE_NEWCGROUP, "CLONE_NEWCGROUP"),
    kind("time", "time", libc::CLONE_NEWTIME, "CLONE_NEWTIME"),
];

/// Said of the fork, whether the namespaces are new or joined.
pub const WHY_FORK: &str =
    "a PID or time namespace takes in only children: this process stays outside as the parent";

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Namespaces(CloneFlags);

impl Namespaces {
    /// Those that the options name.
    pub fn chosen(options: &Options) -> Self {
        let switches = [
            options.user,
            options.mount,
            options.pid,
            options.uts,
            options.ipc,
            options.net,
            options.cgroup,
            options.time,
        ];
        Self::among(|index, _| options.all || switches[index])
    }

    fn among(wanted: impl Fn(usize, &Kind) -> bool) -> Self {
        let kinds = KINDS.iter().enumerate().filter(|(index, kind)| wanted(*index, kind));
        Self(kinds.fold(CloneFlags::empty(), |flags, (_, kind)| flags | kind.flag))
    }

    /// Those of the set for which `wanted` says yes to their file in `/proc/PID/ns`.
    pub fn filter(self, wanted: impl Fn(&str) -> bool) -> Self {
        Self::among(|_, kind| self.0.contains(kind.flag) && wanted(kind.file))
    }

    fn kinds(self) -> impl Iterator<Item = &'static Kind> {
        KINDS.iter().filter(move |kind| self.0.contains(kind.flag))
    }

    pub fn flags(self) -> CloneFlags {
        self.0
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn has(self, name: &str) -> bool {
        self.kinds().any(|kind| kind.name == name)
    }

    /// Those that this process enters itself, and those that only its children do: a step may be
    /// a command, and the first child would be the one that they were made for.
    pub fn apart(self) -> (Self, Self) {
        let childrens =
            CloneFlags::CLONE_NEWPID | CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);
        (Self(self.0 - childrens), Self(self.0 & childrens))
    }

    /// Adds the step that creates them, if there are any; `more` is for `unshare(1)`.
    pub fn add_unshare<S>(self, more: &str, steps: &mut Steps<S>) {
        if self.is_empty() {
            return;
        }
        let mut options = self.options();
        // An exec takes the capabilities of who has no id yet.
        if self.has("user") {
            options += " --keep-caps";
        }
        // How mounts travel is a step of its own.
        if self.has("mount") {
            options += " --propagation unchanged";
        }
        steps.add(
            self.why(),
            format!("unshare({self})"),
            format!("exec unshare {options}{more} sh"),
            move |_| unshare(self.flags()).map_err(|errno| self.refused(errno)),
        );
    }

    /// As options of `unshare(1)` and `nsenter(1)`.
    pub fn options(self) -> String {
        self.kinds().map(|kind| format!("--{}", kind.name)).collect::<Vec<_>>().join(" ")
    }

    pub fn why(self) -> &'static str {
        if self.has("pid") || self.has("time") {
            "these take in only children, so they come last: a child that ends is their end"
        } else if self.has("user") {
            "copies of what the host has, owned by the new user namespace"
        } else {
            "copies of what the host has, to be changed without changing the host"
        }
    }

    /// The refusal of `unshare(2)`, with the cause if this system shows one.
    pub fn refused(self, errno: Errno) -> Error {
        Error::from(errno).hint(self.why_refused(errno))
    }

    fn why_refused(self, errno: Errno) -> Option<String> {
        let sysctl = |name: &str| {
            fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse::<u64>().ok()
        };
        match errno {
            Errno::ENOSPC => self.kinds().find_map(|kind| {
                let limit = format!("user/max_{}_namespaces", kind.file);
                let exhausted = sysctl(&limit)? == 0;
                exhausted.then(|| format!("/proc/sys/{limit} is 0, which allows none"))
            }),
            Errno::EPERM if nix::unistd::geteuid().is_root() => None,
            Errno::EPERM if !self.has("user") => {
                Some("you are not root: add --user --map-root to own the namespaces".to_owned())
            }
            Errno::EPERM if sysctl("kernel/unprivileged_userns_clone") == Some(0) => Some(
                "sysctl kernel.unprivileged_userns_clone is 0: root can set it to 1".to_owned(),
            ),
            Errno::EPERM | Errno::EACCES => apparmor_restricts(),
            _ => None,
        }
    }
}

/// The cause of refusals inside a user namespace where `AppArmor` lets it be created but lets it
/// have no capabilities.
pub fn apparmor_restricts() -> Option<String> {
    let path = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let on = fs::read_to_string(path).is_ok_and(|value| value.trim() == "1");
    on.then(|| {
        "AppArmor restricts user namespaces of ordinary users here: give this program a profile \
         that allows userns, or set kernel.apparmor_restrict_unprivileged_userns to 0"
            .to_owned()
    })
}

/// The flags as strace writes them.
impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.kinds().map(|kind| kind.constant).collect::<Vec<_>>().join("|"))
    }
}

/// How mounts travel between the new mount namespace and the one it was copied from.
/// `mount_namespaces(7)`, SHARED SUBTREES.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Propagation {
    #[default]
    Private,
    Slave,
    Shared,
    Unchanged,
}

impl Propagation {
    pub fn flag(self) -> Option<(MsFlags, &'static str)> {
        match self {
            Self::Private => Some((MsFlags::MS_PRIVATE, "MS_PRIVATE")),
            Self::Slave => Some((MsFlags::MS_SLAVE, "MS_SLAVE")),
            Self::Shared => Some((MsFlags::MS_SHARED, "MS_SHARED")),
            Self::Unchanged => None,
        }
    }

    pub fn why(self) -> &'static str {
        match self {
            Self::Private => "a copied mount table still shares its events with the host's",
            Self::Slave => "mounts of the host come in, ours do not go out",
            Self::Shared | Self::Unchanged => "mounts made here are copied to peers of this table",
        }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Slave => "slave",
            Self::Shared => "shared",
            Self::Unchanged => "unchanged",
        })
    }
}

impl FromStr for Propagation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Private, Self::Slave, Self::Shared, Self::Unchanged]
            .into_iter()
            .find(|propagation| propagation.to_string() == text)
            .ok_or("is not private, slave, shared or unchanged")
    }
}

/// Seconds by which the clocks of a new time namespace differ. `time_namespaces(7)`.
pub struct Offsets {
    pub monotonic: Option<i64>,
    pub boottime: Option<i64>,
}

impl Offsets {
    fn clocks(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let clocks = [("monotonic", self.monotonic), ("boottime", self.boottime)];
        clocks.into_iter().filter_map(|(clock, seconds)| Some((clock, seconds?)))
    }

    /// As options of `unshare(1)`.
    pub fn options(&self) -> String {
        let options = self.clocks().map(|(clock, seconds)| format!(" --{clock} {seconds}"));
        options.collect::<Vec<_>>().concat()
    }

    /// They can be written only while the namespace has no process yet, so before the fork.
    pub fn add_write<S>(&self, steps: &mut Steps<S>) {
        let lines = self.clocks().map(|(clock, seconds)| format!("{clock} {seconds} 0"));
        let text = lines.collect::<Vec<_>>().join("\n");
        if text.is_empty() {
            return;
        }
        steps.add(
            "set while the namespace has no process yet; fixed ever after",
            format!("write(\"/proc/self/timens_offsets\", {text:?})"),
            ": # unshare wrote it: from Linux 6.2 on its exec enters the namespace",
            move |_| fs::write("/proc/self/timens_offsets", text),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_the_kernel_and_util_linux_write_them() {
        let set = Namespaces::among(|_, kind| ["mount", "user"].contains(&kind.name));
        assert_eq!(set.to_string(), "CLONE_NEWUSER|CLONE_NEWNS");
        assert_eq!(set.options(), "--user --mount");
        assert!(set.has("mount") && !set.has("pid"));
        assert_eq!(set.filter(|file| file == "mnt").options(), "--mount");
        assert!(set.filter(|_| false).is_empty());
    }

    #[test]
    fn propagation_is_named_in_words() {
        for word in ["private", "slave", "shared", "unchanged"] {
            assert_eq!(word.parse::<Propagation>().unwrap().to_string(), word);
        }
        assert!("rprivate".parse::<Propagation>().is_err());
    }
}
