//! What a group is called, and the group above it.

use pk::{Attempt, Result};
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// What the names of anonymous groups start with.
pub const ANONYMOUS: &str = "pk-anonymous.";

/// The name of a group, one component of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Name {
    /// `--name`: made or joined, and kept.
    Given(String),
    /// Made for one PROG and removed with it.
    Anonymous(String),
}

impl Name {
    /// A name that no other group has. The process's id is there to be read by people; in another
    /// PID namespace it means nothing, so a random number makes the name unique.
    pub fn anonymous() -> Result<Self> {
        let mut random = [0; 8];
        getrandom(&mut random, GetRandomFlags::empty()).attempt("getrandom()")?;
        let random = u64::from_ne_bytes(random);
        Ok(Self::Anonymous(format!("{ANONYMOUS}{}.{random:016x}", std::process::id())))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Given(name) | Self::Anonymous(name) => name,
        }
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        // The kernel's files are in the same directory (cgroup-v2.rst, "Avoid Name Collisions").
        const FILES: [&str; 9] = [
            "cgroup.", "cpu.", "cpuacct.", "cpuset.", "memory.", "pids.", "io.", "blkio.",
            "freezer.",
        ];
        if text.is_empty() || text == "." || text == ".." || text.len() > 255 {
            return Err("is no name of a group");
        }
        if text.contains(|c: char| c == '/' || c.is_control()) {
            return Err("is no name of a group: it is one component of a path");
        }
        if FILES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err("is no name of a group: the kernel's own files are called so");
        }
        if text.starts_with(ANONYMOUS) {
            return Err("is no name of a group: anonymous groups are called so, and removed");
        }
        Ok(Self::Given(text.to_owned()))
    }
}

/// The path of a group from the top of a hierarchy as this process sees it, that is from the
/// mount point.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupPath(pub PathBuf);

impl FromStr for GroupPath {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let relative = text.strip_prefix('/').ok_or("is no path of a group: it starts with /")?;
        let is_name = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        let relative = relative.trim_start_matches('/');
        if !Path::new(relative).components().all(is_name) {
            return Err("is no path of a group: it has a ..");
        }
        Ok(Self(relative.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["box", "a.b", "-x", "box 1", "é", "cgroups"] {
            assert_eq!(good.parse(), Ok(Name::Given(good.to_owned())));
        }
        let long = "x".repeat(256);
        for bad in ["", ".", "..", "a/b", "/", "a\n", "cgroup.procs", "memory.max", &long] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        let anonymous = Name::anonymous().unwrap();
        assert_ne!(anonymous, Name::anonymous().unwrap());
        assert!(anonymous.as_str().parse::<Name>().is_err());
    }

    #[test]
    fn paths() {
        for (text, expected) in [("/", ""), ("/a/b", "a/b"), ("//a", "a"), ("/a/", "a")] {
            assert_eq!(text.parse(), Ok(GroupPath(expected.into())), "{text}");
        }
        for bad in ["", "a", "..", "/..", "/a/../b"] {
            assert!(bad.parse::<GroupPath>().is_err(), "{bad}");
        }
    }
}
