//! The control groups of a process, with what they limit and what is in use. `cgroups(7)`.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::mountinfo::Mount;
use crate::mounts;
use crate::process::Process;
use crate::text::{printable, size};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The group of a process in one hierarchy.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Group {
    /// The controllers of a v1 hierarchy (`cpu,cpuacct`), or its name (`name=systemd`); `unified`
    /// is that of v2.
    pub hierarchy: String,
    pub version: u8,
    /// As seen from the cgroup namespace of who asks.
    pub path: String,
}

/// A limit, null where there is none, and what is in use, null where nobody counts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Meter {
    pub limit: Option<u64>,
    pub usage: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Cgroups {
    pub groups: Answer<Vec<Group>>,
    /// Bytes.
    pub memory: Answer<Meter>,
    /// Tasks.
    pub pids: Answer<Meter>,
    /// How many processors' worth of time.
    pub cpus: Answer<Option<f64>>,
    /// Which processors: `0-1`.
    pub cpuset: Answer<String>,
}

/// A group that can be reached: its directory and those above it, the nearest first.
struct Reached {
    controllers: Vec<String>,
    directories: Vec<PathBuf>,
}

/// v1 says no limit by the largest number of pages, in bytes: with pages of 64 KiB the lowest.
const NO_LIMIT_OF_V1: u64 = i64::MAX as u64 / 65536 * 65536;

pub fn read(process: &Process) -> Cgroups {
    let lines = process.read("cgroup");
    let lines: Result<Vec<Line>, Unknown> = lines.map(|text| parse(&text));
    // The paths are those of the own cgroup namespace, and so are the mounts.
    let mounts = mounts::table(&Process::own()).unwrap_or_default();
    let reached = lines
        .as_ref()
        .map_err(Clone::clone)
        .map(|lines| lines.iter().filter_map(|line| line.reach(&mounts)).collect::<Vec<_>>());
    let of = |controller: &str| -> Result<&Reached, Unknown> {
        let reached = reached.as_ref().map_err(Clone::clone)?;
        let mut found =
            reached.iter().filter(|one| one.controllers.iter().any(|name| name == controller));
        found.next().ok_or_else(|| Unknown::new("no mount in sight shows its group"))
    };
    Cgroups {
        groups: lines
            .as_ref()
            .map(|lines| lines.iter().map(Line::group).collect())
            .map_err(Clone::clone)
            .into(),
        memory: of("memory").map(Reached::memory).into(),
        pids: of("pids").map(Reached::pids).into(),
        cpus: of("cpu").map(Reached::cpus).into(),
        cpuset: of("cpuset").and_then(Reached::cpuset).into(),
    }
}

/// A line of `/proc/PID/cgroup`: `4:memory:/box`, and `0::/box` for v2.
struct Line {
    names: Vec<String>,
    path: Vec<u8>,
}

fn parse(text: &[u8]) -> Vec<Line> {
    let line = |line: &[u8]| {
        let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
        let names = String::from_utf8_lossy(fields.next()?);
        let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Line { names, path: fields.next()?.to_vec() })
    };
    let mut lines: Vec<Line> = text.split(|&byte| byte == b'\n').filter_map(line).collect();
    lines.reverse();
    lines
}

impl Line {
    fn is_v2(&self) -> bool {
        self.names.is_empty()
    }

    fn group(&self) -> Group {
        Group {
            hierarchy: if self.is_v2() { "unified".to_owned() } else { self.names.join(",") },
            version: if self.is_v2() { 2 } else { 1 },
            path: printable(&self.path),
        }
    }

    /// Its directory below the mount that shows it.
    fn reach(&self, mounts: &[Mount]) -> Option<Reached> {
        let group = path(&self.path);
        let shows = |mount: &&Mount| {
            let options = String::from_utf8_lossy(&mount.options);
            let has = |name: &String| options.split(',').any(|word| word == name);
            let filesystem: &[u8] = if self.is_v2() { b"cgroup2" } else { b"cgroup" };
            mount.filesystem == filesystem && self.names.iter().all(has)
        };
        // A mount may be hidden under another one.
        let (point, below) = mounts.iter().filter(shows).find_map(|mount| {
            let below = group.strip_prefix(path(&mount.root)).ok()?;
            let point = path(&mount.point);
            point.join(below).join("cgroup.procs").exists().then_some((point, below))
        })?;
        let directories = below.ancestors().map(|one| point.join(one)).collect();
        let mut controllers = self.names.clone();
        if self.is_v2() {
            let top = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
            controllers = top.split_whitespace().map(str::to_owned).collect();
        }
        Some(Reached { controllers, directories })
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

impl Reached {
    /// What each group on the way up says in a file that has one of these names, the nearest first.
    fn values(&self, names: &[&str]) -> impl Iterator<Item = String> {
        self.directories.iter().filter_map(|directory| value(directory, names))
    }

    /// The lowest limit counts, whoever's it is; what is in use is told of the own group.
    fn meter(&self, limit: &[&str], usage: &[&str]) -> Meter {
        let limits = self.values(limit).filter_map(|text| text.trim().parse::<u64>().ok());
        let own = self.directories.first().and_then(|own| value(own, usage));
        Meter {
            limit: limits.filter(|&limit| limit < NO_LIMIT_OF_V1).min(),
            usage: own.and_then(|text| text.trim().parse().ok()),
        }
    }

    fn memory(&self) -> Meter {
        let limit = ["memory.max", "memory.limit_in_bytes"];
        self.meter(&limit, &["memory.current", "memory.usage_in_bytes"])
    }

    fn pids(&self) -> Meter {
        self.meter(&["pids.max"], &["pids.current"])
    }

    /// Quota by period. v1 has them in two files.
    fn cpus(&self) -> Option<f64> {
        let one = |directory: &PathBuf| {
            let read = |name| fs::read_to_string(directory.join(name));
            let text = read("cpu.max").or_else(|_| {
                Ok::<_, std::io::Error>(read("cpu.cfs_quota_us")? + &read("cpu.cfs_period_us")?)
            });
            let text = text.ok()?;
            let mut words = text.split_whitespace().map(str::parse::<f64>);
            let (quota, period) = (words.next()?.ok()?, words.next()?.ok()?);
            (quota > 0.0).then_some(quota / period)
        };
        self.directories.iter().filter_map(one).min_by(f64::total_cmp)
    }

    fn cpuset(&self) -> Result<String, Unknown> {
        let text = self.values(&["cpuset.cpus.effective", "cpuset.effective_cpus"]).next();
        text.map(|text| text.trim().to_owned()).ok_or_else(Unknown::not_told)
    }
}

/// A file of a group under the name that it has in v2 or in v1.
fn value(directory: &Path, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| fs::read_to_string(directory.join(name)).ok())
}

impl Cgroups {
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts: Vec<Fact> = match &self.groups {
            Answer::Known(groups) => groups
                .iter()
                .map(|group| Fact::new(Topic::Cgroup, &group.hierarchy, [&group.path]))
                .collect(),
            Answer::Unknown(unknown) => return vec![Fact::unknown(Topic::Cgroup, "", unknown)],
        };
        let meter = |name, meter: &Answer<Meter>, unit: fn(u64) -> String| {
            let usage = meter.known().and_then(|meter| meter.usage);
            let note = usage.map_or(String::new(), |usage| format!("{} in use", unit(usage)));
            let text = |meter: &Meter| meter.limit.map_or("none".to_owned(), unit);
            Fact::of(Topic::Cgroup, name, meter.as_ref(), text).note(note)
        };
        facts.push(meter("memory limit", &self.memory, size));
        facts.push(meter("pids limit", &self.pids, |count| count.to_string()));
        facts.push(Fact::of(Topic::Cgroup, "cpus limit", self.cpus.as_ref(), |cpus| {
            cpus.map_or("none".to_owned(), |most| most.to_string())
        }));
        facts.push(Fact::of(Topic::Cgroup, "cpuset limit", self.cpuset.as_ref(), String::clone));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo;
    use std::os::unix::ffi::OsStrExt;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let top = tempfile::tempdir().unwrap();
        let group = top.path().join("a/b");
        write(top.path(), &[("cgroup.controllers", "cpu memory pids\n")]);
        write(&top.path().join("a"), &[("memory.max", "4096\n"), ("cpu.max", "50000 100000\n")]);
        let own = [
            ("cgroup.procs", ""),
            ("memory.max", "max\n"),
            ("memory.current", "123\n"),
            ("cpu.max", "max 100000\n"),
            ("pids.max", "max\n"),
        ];
        write(&group, &own);
        let point = top.path().as_os_str().as_bytes();
        let mount = [b"9 1 0:1 / ", point, b" rw - cgroup2 none rw\n"].concat();
        let line = parse(b"0::/a/b\n").remove(0);
        let reached = line.reach(&mountinfo::parse(&mount)).unwrap();
        assert_eq!(reached.memory(), Meter { limit: Some(4096), usage: Some(123) });
        assert_eq!(reached.pids(), Meter { limit: None, usage: None });
        assert_eq!(reached.cpus(), Some(0.5));
        assert_eq!(reached.controllers, ["cpu", "memory", "pids"]);
        let elsewhere = parse(b"0::/c\n").remove(0);
        assert!(elsewhere.reach(&mountinfo::parse(&mount)).is_none());
    }

    #[test]
    fn v1_has_another_word_for_no_limit() {
        let top = tempfile::tempdir().unwrap();
        let own = [
            ("cgroup.procs", ""),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "5\n"),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
        ];
        write(top.path(), &own);
        let point = top.path().as_os_str().as_bytes();
        let mount = [b"9 1 0:1 /a ", point, b" rw - cgroup none rw,cpu,memory\n"].concat();
        let line = parse(b"4:cpu,memory:/a\n").remove(0);
        let reached = line.reach(&mountinfo::parse(&mount)).unwrap();
        assert_eq!(reached.memory(), Meter { limit: None, usage: Some(5) });
        assert_eq!(reached.cpus(), None);
        assert_eq!(line.group().hierarchy, "cpu,memory");
    }
}
