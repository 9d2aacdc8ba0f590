//! The mounts that a process sees.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::mountinfo;
use crate::process::Process;
use crate::statmount;
use crate::text::printable;
use serde::{Deserialize, Serialize};

/// A mount.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Mount {
    pub point: String,
    pub filesystem: String,
    pub source: String,
    /// What of the file system is mounted, `/` if all of it.
    pub root: String,
    /// The mount's own: `rw`, `nosuid`, `relatime`.
    pub flags: Vec<String>,
    /// The file system's, in one text.
    pub options: String,
    /// `private`, `shared`, `slave`, `slave,shared` or `unbindable`.
    pub propagation: String,
}

/// In the order in which they were mounted, so that of two with one point the later one is seen.
pub type Mounts = Answer<Vec<Mount>>;

pub fn read(process: &Process) -> Mounts {
    table(process).map(|mounts| mounts.iter().map(Mount::from).collect()).into()
}

/// The mounts as the kernel tells them.
pub fn table(process: &Process) -> Result<Vec<mountinfo::Mount>, Unknown> {
    let told = process.read("mountinfo").map(|text| mountinfo::parse(&text));
    if told.is_ok() || !process.is_own {
        return told;
    }
    statmount::table().or(told)
}

impl From<&mountinfo::Mount> for Mount {
    fn from(mount: &mountinfo::Mount) -> Self {
        // The numbers of peer groups say who shares with whom, and are given anew at any time.
        let words = mount.propagation.iter().filter_map(|tag| {
            Some(match tag.split(|&byte| byte == b':').next()? {
                b"master" => "slave",
                b"shared" => "shared",
                b"unbindable" => "unbindable",
                _ => return None,
            })
        });
        let mut words: Vec<&str> = words.collect();
        words.sort_unstable_by_key(|&word| word != "slave");
        let propagation = if words.is_empty() { "private".to_owned() } else { words.join(",") };
        Self {
            point: printable(&mount.point),
            filesystem: printable(&mount.filesystem),
            source: printable(&mount.source),
            root: printable(&mount.root),
            flags: printable(&mount.flags).split(',').map(str::to_owned).collect(),
            options: printable(&mount.options),
            propagation,
        }
    }
}

impl Mount {
    /// Source and root in the words of `findmnt(8)`.
    pub fn origin(&self) -> String {
        // That of a cgroup is told as seen from the own cgroup namespace.
        if self.root == "/" || self.filesystem.starts_with("cgroup") {
            return self.source.clone();
        }
        format!("{}[{}]", self.source, self.root)
    }

    pub fn flags(&self) -> String {
        self.flags.join(",")
    }
}

impl Mounts {
    pub fn facts(&self) -> Vec<Fact> {
        let mounts = match self {
            Self::Known(mounts) => mounts,
            Self::Unknown(unknown) => return vec![Fact::unknown(Topic::Mount, "", unknown)],
        };
        let mut facts: Vec<Fact> = Vec::new();
        for mount in mounts {
            let below = facts.iter().filter(|fact| is_at(fact, &mount.point)).count();
            let name = match below {
                0 => mount.point.clone(),
                _ => format!("{} ({} over it)", mount.point, below),
            };
            let columns = [
                mount.filesystem.clone(),
                mount.origin(),
                mount.flags(),
                mount.propagation.clone(),
                mount.options.clone(),
            ];
            facts.push(Fact::new(Topic::Mount, name, columns));
        }
        facts
    }
}

/// The columns of a mount that are worth a look: not what is so by default, nor the file system's
/// options, which are long.
pub fn shown(columns: &[String]) -> Vec<String> {
    let [filesystem, source, flags, propagation, ..] = columns else { return columns.to_vec() };
    let flags: Vec<&str> = flags.split(',').filter(|&flag| flag != "relatime").collect();
    let propagation = Some(propagation).filter(|&word| word != "private").cloned();
    [filesystem.clone(), source.clone(), flags.join(",")].into_iter().chain(propagation).collect()
}

fn is_at(fact: &Fact, point: &str) -> bool {
    fact.name.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.ends_with(" over it)"))
}
