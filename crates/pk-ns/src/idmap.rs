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
use std::fs::OpenOptions;
use std::io::Write;

/// The two maps, and who can write them.
pub enum IdMaps {
    /// No user namespace, or one that is left without a map.
    None,
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
        if !matches!(self, Self::None) && !prctl::get_dumpable()? {
            steps.add(
                "the maps are written to files in /proc, which are not our own before this",
                "prctl(PR_SET_DUMPABLE, 1)",
                ": # util-linux has no command for it",
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
            "sleep 1 &",
            move |helper| {
                *helper = Some(Helper::fork(&uids, &gids)?);
                Ok::<_, Error>(())
            },
        );
    }

    /// The steps after `unshare`.
    pub fn add_writes(self, steps: &mut Steps<Option<Helper>>) {
        match self {
            Self::None => {}
            Self::Own { uid, gid } => {
                let mut write = |why, file: &'static str, text: String| {
                    steps.add(
                        why,
                        format!("write({file:?}, {text:?})"),
                        format!("echo {text} > {file}"),
                        move |_| {
                            write_map(file, &text).map_err(|error| error.hint(apparmor_restricts()))
                        },
                    );
                };
                let deny = "a group map may be written by an ordinary user only after this";
                write(deny, "/proc/self/setgroups", "deny".to_owned());
                write("the caller is root inside", "/proc/self/uid_map", format!("0 {uid} 1"));
                write("and so is its group", "/proc/self/gid_map", format!("0 {gid} 1"));
            }
            Self::Outside { uids, gids } => {
                let (call, shell) = describe(&uids, &gids);
                steps.add("the helper writes the maps from outside", call, shell, |helper| {
                    helper.take().expect("forked by the first step").ask()
                });
                let own = uids.iter().any(|range| range.inner_of(geteuid().as_raw()).is_some());
                if !own && uids.iter().any(|range| range.inner == 0) {
                    Credentials::add_become_root(steps);
                }
            }
        }
    }
}

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

fn describe(uids: &[IdRange], gids: &[IdRange]) -> (String, String) {
    if geteuid().is_root() {
        let call = |file, ranges| format!("write(\"/proc/PID/{file}\", {:?})", words(ranges));
        let shell = |file, ranges| format!("echo '{}' > /proc/PID/{file}", words(ranges));
        let both = |a: String, separator, b: String| format!("{a}{separator}{b}");
        return (
            both(call("uid_map", uids), ", ", call("gid_map", gids)),
            both(shell("uid_map", uids), "; ", shell("gid_map", gids)),
        );
    }
    let shell = format!("newuidmap PID {}; newgidmap PID {}", words(uids), words(gids));
    (
        format!(
            "execve(\"newuidmap\", [{:?}]), execve(\"newgidmap\", [{:?}])",
            words(uids),
            words(gids)
        ),
        shell,
    )
}
