//! The descriptors that a process was given, and what they lead to.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::process::Process;
use crate::sys;
use crate::text::printable;
use rustix::fs::{FileType, fstat};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Descriptor {
    pub number: u32,
    /// A path, or as in `proc_pid_fd(5)`: `pipe:[4711]`, `anon_inode:[eventfd]`.
    pub target: String,
}

pub type Descriptors = Answer<Vec<Descriptor>>;

/// More than these are not asked for one by one.
const MOST: u64 = 1 << 16;

/// Of this process those that it was started with: what it opens itself is closed on exec.
pub fn read(process: &Process) -> Descriptors {
    let read = || -> Result<Vec<Descriptor>, Unknown> {
        let mut numbers: Vec<u32> =
            process.names("fd")?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.retain(|&number| !process.is_own || sys::inherited(number).is_some());
        // Another process may close one meanwhile.
        let one = |number| {
            let target = printable(&process.link(&format!("fd/{number}")).ok()?);
            Some(Descriptor { number, target })
        };
        Ok(numbers.into_iter().filter_map(one).collect())
    };
    match read() {
        Err(_) if process.is_own => Answer::Known(without_proc()),
        result => result.into(),
    }
}

/// Each number is asked whether it is open, and for the kind of file.
fn without_proc() -> Vec<Descriptor> {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    let one = |number| {
        let kind = match FileType::from_raw_mode(fstat(sys::inherited(number)?).ok()?.st_mode) {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Fifo => "pipe",
            FileType::Socket => "socket",
            FileType::CharacterDevice => "character device",
            FileType::BlockDevice => "block device",
            _ => "other",
        };
        Some(Descriptor { number, target: format!("{kind} (no /proc)") })
    };
    (0..u32::try_from(most).unwrap_or(u32::MAX)).filter_map(one).collect()
}

impl Descriptors {
    /// By what they lead to, as the numbers say little. Only those above 2 are compared: the
    /// others are whoever's who reads and writes.
    pub fn facts(&self) -> Vec<Fact> {
        let descriptors = match self {
            Self::Known(descriptors) => descriptors,
            Self::Unknown(unknown) => return vec![Fact::unknown(Topic::Descriptor, "", unknown)],
        };
        let mut facts: Vec<(Fact, usize)> = Vec::new();
        for Descriptor { number, target } in descriptors {
            let name = target.split_once(":[").map_or(target.as_str(), |(kind, inode)| {
                if kind == "anon_inode" { inode.trim_end_matches(']') } else { kind }
            });
            let at = facts.iter().position(|(fact, _)| fact.name == name).unwrap_or_else(|| {
                facts.push((Fact::new(Topic::Descriptor, name, [""]), 0));
                facts.len() - 1
            });
            let (fact, others) = &mut facts[at];
            *others += usize::from(*number > 2);
            let numbers = format!("{} {number}", fact.note);
            numbers.trim_start().clone_into(&mut fact.note);
        }
        let finish = |(fact, others): (Fact, usize)| Fact {
            value: Ok(vec![if others == 0 { "standard".to_owned() } else { others.to_string() }]),
            ..fact
        };
        facts.into_iter().map(finish).collect()
    }
}
