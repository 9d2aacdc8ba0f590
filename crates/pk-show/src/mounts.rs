//! The mounts that a process sees.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::mountinfo;
use crate::process::Process;
use crate::statmount;
use crate::text::printable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
}

impl Mounts {
    pub fn facts(&self) -> Vec<Fact> {
        let mounts = match self {
            Self::Known(mounts) => mounts,
            Self::Unknown(unknown) => return vec![Fact::unknown(Topic::Mount, "", unknown)],
        };
        let mut counts = BTreeMap::new();
        let fact = |mount: &Mount| {
            let count = counts.entry(mount.point.clone()).or_insert(0);
            *count += 1;
            let number = if *count == 1 { String::new() } else { format!(" #{count}") };
            let columns = [
                mount.filesystem.clone(),
                mount.origin(),
                mount.flags.join(","),
                mount.propagation.clone(),
                mount.options.clone(),
            ];
            Fact::new(Topic::Mount, format!("{}{number}", mount.point), columns)
        };
        mounts.iter().map(fact).collect()
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

/// Two mounts on one point: what tells them apart.
pub fn changed(old: &[String], new: &[String]) -> [String; 2] {
    if old[..2] != new[..2] {
        return [old, new].map(|columns| shown(columns).join(" "));
    }
    let differs: Vec<usize> = (2..old.len()).filter(|&column| old[column] != new[column]).collect();
    // The options of the file system only where nothing else does.
    let options = old.len() - 1;
    let told = differs.iter().filter(|&&column| column != options || differs == [options]);
    [old, new].map(|columns| {
        told.clone().map(|&column| columns[column].as_str()).collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_two_mounts_apart_is_shown() {
        let mount = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let old = mount("tmpfs t rw,relatime private rw,size=4k");
        let table = [
            ("tmpfs t ro,relatime private rw,size=8k", "rw,relatime", "ro,relatime"),
            ("tmpfs t rw,relatime shared rw,size=4k", "private", "shared"),
            ("tmpfs t rw,relatime private rw,size=8k", "rw,size=4k", "rw,size=8k"),
            ("tmpfs u ro,relatime slave rw,size=4k", "tmpfs t rw", "tmpfs u ro slave"),
        ];
        for (new, before, after) in table {
            assert_eq!(changed(&old, &mount(new)), [before, after], "{new}");
        }
    }
}
