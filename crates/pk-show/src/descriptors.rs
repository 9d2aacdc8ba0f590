//! The descriptors that a process was given, and what they lead to.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::process::Process;
use crate::sys;
use crate::text::printable;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Descriptor {
    pub number: u32,
    /// A path, or as in `proc_pid_fd(5)`: `pipe:[4711]`, `anon_inode:[eventfd]`.
    pub target: Answer<String>,
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
        numbers.retain(|&number| !process.is_own || sys::is_inherited(number));
        // Another process may close one meanwhile.
        let one = |number| {
            let target = printable(&process.link(&format!("fd/{number}")).ok()?);
            Some(Descriptor { number, target: Answer::Known(target) })
        };
        Ok(numbers.into_iter().filter_map(one).collect())
    };
    match read() {
        Err(unknown) if process.is_own => Answer::Known(without_proc(&unknown)),
        result => result.into(),
    }
}

/// Each number is asked whether it is open.
fn without_proc(unknown: &Unknown) -> Vec<Descriptor> {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    (0..u32::try_from(most).unwrap_or(u32::MAX))
        .filter(|&number| sys::is_inherited(number))
        .map(|number| Descriptor { number, target: Answer::Unknown(unknown.clone()) })
        .collect()
}

impl Descriptors {
    /// By what they lead to, as the numbers say little. Only those above 2 are compared: the
    /// others are whoever's who reads and writes.
    pub fn facts(&self) -> Vec<Fact> {
        let descriptors = match self {
            Self::Known(descriptors) => descriptors,
            Self::Unknown(unknown) => return vec![Fact::unknown(Topic::Descriptor, "", unknown)],
        };
        let mut facts: Vec<Fact> = Vec::new();
        for Descriptor { number, target } in descriptors {
            let name = target.known().map_or("", |target| without_inode(target));
            let at = facts.iter().position(|fact| fact.name == name).unwrap_or_else(|| {
                facts.push(Fact::of(Topic::Descriptor, name, target.as_ref(), |_| "standard"));
                facts.len() - 1
            });
            let fact = &mut facts[at];
            if *number > 2
                && let Ok(columns) = &mut fact.value
            {
                let others = columns[0].parse().unwrap_or(0) + 1;
                *columns = vec![others.to_string()];
            }
            format!("{} {number}", fact.note).trim_start().clone_into(&mut fact.note);
        }
        facts
    }
}

/// `pipe:[4711]` is another one each time, and a pipe.
fn without_inode(target: &str) -> &str {
    match target.split_once(":[") {
        Some((kind, _)) if kind != "anon_inode" => kind,
        _ => target,
    }
}
