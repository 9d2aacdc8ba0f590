//! Resource limits. `getrlimit(2)`, `prlimit(1)`.

use crate::answer::Answer;
use crate::fact::{Fact, Topic};
use crate::process::Process;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// In the spelling of `prlimit(1)` and Docker, and as `/proc/PID/limits` calls them.
const NAMES: [(&str, Resource, &str); 16] = [
    ("as", Resource::As, "Max address space"),
    ("core", Resource::Core, "Max core file size"),
    ("cpu", Resource::Cpu, "Max cpu time"),
    ("data", Resource::Data, "Max data size"),
    ("fsize", Resource::Fsize, "Max file size"),
    ("locks", Resource::Locks, "Max file locks"),
    ("memlock", Resource::Memlock, "Max locked memory"),
    ("msgqueue", Resource::Msgqueue, "Max msgqueue size"),
    ("nice", Resource::Nice, "Max nice priority"),
    ("nofile", Resource::Nofile, "Max open files"),
    ("nproc", Resource::Nproc, "Max processes"),
    ("rss", Resource::Rss, "Max resident set"),
    ("rtprio", Resource::Rtprio, "Max realtime priority"),
    ("rttime", Resource::Rttime, "Max realtime timeout"),
    ("sigpending", Resource::Sigpending, "Max pending signals"),
    ("stack", Resource::Stack, "Max stack size"),
];

/// A limit; null is unlimited. Bytes, seconds (`cpu`), microseconds (`rttime`) or counts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Limit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

pub type Limits = Answer<BTreeMap<String, Limit>>;

pub fn is_name(name: &str) -> bool {
    NAMES.iter().any(|(other, ..)| *other == name)
}

pub fn read(process: &Process) -> Limits {
    if process.is_own {
        let limit = |(name, resource, _): (&str, _, _)| {
            let limit = getrlimit(resource);
            (name.to_owned(), Limit { soft: limit.current, hard: limit.maximum })
        };
        return Answer::Known(NAMES.into_iter().map(limit).collect());
    }
    process.read("limits").map(|text| parse(&String::from_utf8_lossy(&text))).into()
}

/// `proc_pid_limits(5)`: the name, the soft limit and the hard one.
fn parse(text: &str) -> BTreeMap<String, Limit> {
    let limit = |(name, _, title): (&str, _, &str)| {
        let mut lines = text.lines();
        let mut words = lines.find_map(|line| line.strip_prefix(title))?.split_whitespace();
        let mut value = || match words.next()? {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        };
        Some((name.to_owned(), Limit { soft: value()?, hard: value()? }))
    };
    NAMES.into_iter().filter_map(limit).collect()
}

impl Limits {
    pub fn facts(&self) -> Vec<Fact> {
        match self {
            Self::Known(limits) => limits
                .iter()
                .map(|(name, limit)| Fact::new(Topic::Limit, name, [limit.text()]))
                .collect(),
            Self::Unknown(unknown) => vec![Fact::unknown(Topic::Limit, "", unknown)],
        }
    }
}

impl Limit {
    /// As `pk-privs --rlimit` takes it.
    pub fn text(self) -> String {
        let word = |value: Option<u64>| value.map_or("unlimited".to_owned(), |n| n.to_string());
        if self.soft == self.hard {
            return word(self.soft);
        }
        format!("{}:{}", word(self.soft), word(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_tells_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max open files            1024                 4096                 files     \n\
            Max realtime timeout      unlimited            5                    us        \n";
        let texts: Vec<_> = parse(text).into_iter().map(|(name, one)| (name, one.text())).collect();
        let expected = [("cpu", "unlimited"), ("nofile", "1024:4096"), ("rttime", "unlimited:5")];
        assert_eq!(texts, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
