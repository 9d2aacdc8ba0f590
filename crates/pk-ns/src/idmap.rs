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
use pk::{Error, Result, Steps};
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::str::FromStr;

/// `count` ids from `inner` on are, outside, those from `outer` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub inner: u32,
    pub outer: u32,
    pub count: u32,
}

impl Range {
    /// A range of at least one id that does not run past the last.
    pub fn new(inner: u32, outer: u32, count: u32) -> Option<Self> {
        let fits = |first: u32| count > 0 && first.checked_add(count).is_some();
        (fits(inner) && fits(outer)).then_some(Self { inner, outer, count })
    }

    /// What an id of outside is inside.
    pub fn inner_of(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.outer).filter(|&offset| offset < self.count)?;
        Some(self.inner + offset)
    }

    /// The ranges of a `/proc/PID/uid_map`.
    pub fn of_map(text: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(text);
        let range = |line: &str| {
            let numbers: Vec<u32> =
                line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let &[inner, outer, count] = &numbers[..] else { return None };
            Self::new(inner, outer, count)
        };
        text.lines().filter_map(range).collect()
    }
}

/// As `/proc/PID/uid_map` takes it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {}", self.inner, self.outer, self.count)
    }
}

impl FromStr for Range {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[inner, outer, count]) => {
                Self::new(inner, outer, count).ok_or("runs past the last id")
            }
            _ => Err("is not INNER:OUTER:COUNT, three numbers"),
        }
    }
}

/// The two maps, and who can write them.
pub enum IdMaps {
    /// No user namespace, or one that is left without a map.
    None,
    /// The caller's own ids as 0: the one map that needs nobody outside.
    Own { uid: u32, gid: u32 },
    /// Anything else.
    Outside { uids: Vec<Range>, gids: Vec<Range> },
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

pub fn joined(ranges: &[Range], separator: &str) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

pub fn words(ranges: &[Range]) -> String {
    joined(ranges, " ")
}

fn describe(uids: &[Range], gids: &[Range]) -> (String, String) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_three_numbers_that_fit() {
        let table = [
            ("0:100000:65536", Some("0 100000 65536")),
            ("0:0:4294967295", Some("0 0 4294967295")),
            ("0:0:0", None),
            ("1:0:4294967295", None),
            ("0:1000", None),
            ("0:1000:1:1", None),
            ("-1:0:1", None),
            ("a:b:c", None),
        ];
        for (text, expected) in table {
            let range = text.parse::<Range>().ok().map(|range| range.to_string());
            assert_eq!(range.as_deref(), expected, "{text}");
        }
    }
}
