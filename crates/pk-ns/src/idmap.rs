//! Id maps of a new user namespace. `user_namespaces(7)`, "User and group ID mappings".
//!
//! A process may map its own id itself. Every other map has to be written from outside, by a
//! process that may set ids there: root, or `newuidmap(1)` within what `/etc/subuid` grants. So a
//! helper is forked before the namespace is entered, and stays outside until it is asked.

use crate::Options;
use crate::credentials::Credentials;
use crate::helper::Helper;
use crate::namespaces::{Namespaces, apparmor_restricts};
use crate::subordinate::with_subordinates;
use nix::sys::prctl;
use nix::unistd::{getegid, geteuid};
use pk::{Error, IdRange, Result, Steps};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::fs::OpenOptions;
use std::io::Write;

/// The two maps, and who can write them.
pub enum IdMaps {
    /// No user namespace.
    None,
    /// One that is left without a map.
    Nobody,
    /// The caller's own ids as 0: the one map that needs nobody outside.
    Own { uid: u32, gid: u32 },
    /// Anything else.
    Outside { uids: Vec<IdRange>, gids: Vec<IdRange> },
}

impl IdMaps {
    pub fn settle(options: &Options, chosen: Namespaces) -> Result<Self> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let explicit = !(options.uid_map.is_empty() && options.gid_map.is_empty());
        match (options.map_root, options.map_auto, explicit) {
            (false, false, false) if options.all && chosen.has("user") => {
                Ok(Self::Own { uid, gid })
            }
            (false, false, false) if chosen.has("user") => Ok(Self::Nobody),
            (false, false, false) => Ok(Self::None),
            (true, false, false) => Ok(Self::Own { uid, gid }),
            (false, true, false) => Ok(Self::Outside {
                uids: with_subordinates(uid, "/etc/subuid")?,
                gids: with_subordinates(gid, "/etc/subgid")?,
            }),
            (false, false, true) => {
                if options.uid_map.is_empty() || options.gid_map.is_empty() {
                    return Err(Error::usage("--uid-map, --gid-map", "go together"));
                }
                Ok(Self::Outside { uids: options.uid_map.clone(), gids: options.gid_map.clone() })
            }
            _ => Err(Error::usage("--map-root, --map-auto, --uid-map", "exclude each other")),
        }
    }

    /// A step before `unshare`, for a process that may not be traced, as one that was started by
    /// `pk-ns --join`: its files in `/proc` are not its own, and maps are written to them.
    pub fn add_owning(&self, steps: &mut Steps<Option<Helper>>) -> Result<()> {
        if matches!(self, Self::Own { .. } | Self::Outside { .. }) && !prctl::get_dumpable()? {
            steps.add(
                "the maps are written to files in /proc, which are not our own before this",
                "prctl(PR_SET_DUMPABLE, 1)",
                ": # no command does it, nor has to: a shell may be traced",
                |_| prctl::set_dumpable(true),
            );
        }
        Ok(())
    }

    /// The step before `unshare`: the helper has to be left outside.
    pub fn add_helper(&self, steps: &mut Steps<Option<Helper>>) {
        let Self::Outside { uids, gids } = self else { return };
        let (uids, gids) = (uids.clone(), gids.clone());
        steps.add(
            "only a process outside may map more ids than one's own: a helper stays there",
            "fork()",
            helping(&uids, &gids),
            move |helper| {
                *helper = Some(Helper::fork(&uids, &gids)?);
                Ok::<_, Error>(())
            },
        );
    }

    /// The steps after `unshare`.
    pub fn add_writes(&self, steps: &mut Steps<Option<Helper>>) {
        match self {
            Self::None | Self::Nobody => {}
            Self::Own { uid, gid } => {
                let mut write = |why, file: &'static str, text: String, then: &str| {
                    let act = move |text: String| {
                        write_map(file, &text).map_err(|error| error.hint(apparmor_restricts()))
                    };
                    let call = format!("write({file:?}, {text:?})");
                    let shell = format!("echo {text} > {file}{then}");
                    steps.add(why, call, shell, move |_| act(text));
                };
                let (why, file) = ("and so is its group", "/proc/self/gid_map");
                let deny = "a group map may be written by an ordinary user only after this";
                write(deny, "/proc/self/setgroups", "deny".to_owned(), "");
                write("the caller is root inside", "/proc/self/uid_map", format!("0 {uid} 1"), "");
                write(why, file, format!("0 {gid} 1"), &format!("; {WITHOUT_KEPT_CAPS}"));
            }
            Self::Outside { uids, gids } => {
                let then = match self.id_inside() {
                    Some(0) => format!("; {WITHOUT_KEPT_CAPS}"),
                    _ => String::new(),
                };
                steps.add(
                    "the helper writes the maps from outside",
                    calls(uids, gids),
                    format!("until grep -q . /proc/self/gid_map; do sleep .1; done{then}"),
                    |helper| helper.take().expect("forked by the first step").ask(),
                );
                if self.becomes_root() {
                    // What kept a shell's capabilities until here is not to keep PROG's.
                    let shell = "exec setpriv --clear-groups --regid 0 --reuid 0 \
                        --inh-caps=-all --ambient-caps=-all sh";
                    Credentials::add_become_root(shell, steps);
                }
            }
        }
    }

    /// What the caller's user id is inside, if the maps have a name for it.
    fn id_inside(&self) -> Option<u32> {
        match self {
            Self::None | Self::Nobody => None,
            Self::Own { .. } => Some(0),
            Self::Outside { uids, .. } => {
                uids.iter().find_map(|range| range.inner_of(geteuid().as_raw()))
            }
        }
    }

    /// Whether somebody would be nobody inside, where there is a root to become.
    fn becomes_root(&self) -> bool {
        let Self::Outside { uids, .. } = self else { return false };
        self.id_inside().is_none() && uids.iter().any(|range| range.has_inner(0))
    }

    /// The last step, for who is not root inside.
    pub fn add_end(&self, steps: &mut Steps<Option<Helper>>) {
        if matches!(self, Self::None) || self.id_inside() == Some(0) || self.becomes_root() {
            return;
        }
        steps.add(
            "the exec would take them anyway: only root keeps capabilities without more ado",
            "capset({effective = permitted = inheritable = 0})",
            WITHOUT_KEPT_CAPS,
            |_| {
                let none = CapabilitySet::empty();
                let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
                set_capabilities(None, sets)
            },
        );
    }
}

/// A shell has kept its capabilities through `unshare --keep-caps`, which our own process does
/// not have to. Root has them again after the next exec, and nobody else is to have them.
const WITHOUT_KEPT_CAPS: &str = "exec setpriv --inh-caps=-all --ambient-caps=-all sh";

/// The kernel takes a map in one write, and only once.
fn write_map(path: &str, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

pub fn joined(ranges: &[IdRange], separator: &str) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

pub fn words(ranges: &[IdRange]) -> String {
    joined(ranges, " ")
}

/// What the helper will do, as strace writes it.
fn calls(uids: &[IdRange], gids: &[IdRange]) -> String {
    let call = |file, program, ranges| {
        if geteuid().is_root() {
            format!("write(\"/proc/PID/{file}\", {:?})", joined(ranges, "\n"))
        } else {
            format!("execve({program:?}, [{program:?}, \"PID\", {:?}])", words(ranges))
        }
    };
    let (uid, gid) = (call("uid_map", "newuidmap", uids), call("gid_map", "newgidmap", gids));
    format!("{uid}, {gid}")
}

/// The helper in shell: it writes the maps as soon as the shell is in another user namespace.
fn helping(uids: &[IdRange], gids: &[IdRange]) -> String {
    let write = |file, program, ranges| {
        if geteuid().is_root() {
            format!("printf '{}\\n' > /proc/$$/{file}", joined(ranges, "\\n"))
        } else {
            format!("{program} $$ {}", words(ranges))
        }
    };
    format!(
        "( while [ /proc/$$/ns/user -ef /proc/self/ns/user ]; do sleep .1; done; {}; {} ) &",
        write("uid_map", "newuidmap", uids),
        write("gid_map", "newgidmap", gids),
    )
}
