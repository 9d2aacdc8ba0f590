//! The cgroup hierarchies of this machine: which are mounted, where, and what each can limit.
//!
//! Nothing has a fixed path. `/proc/self/mountinfo` says what is mounted where (`proc(5)`),
//! `/proc/self/cgroup` which controllers hang together and which group this process is in
//! (`cgroups(7)`). A machine has one v2 hierarchy, any number of v1 hierarchies, or both (hybrid);
//! a controller is in one hierarchy only.

use pk::{Attempt, Result};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The two kinds of hierarchy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    V1,
    V2,
}

/// A controller that a limit may need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Controller {
    Cpu,
    Cpuset,
    Io,
    Memory,
    Pids,
}

impl Controller {
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Io, Self::Memory, Self::Pids];

    /// The kernel's name for it. v2 renamed one (`cgroup-v2.rst`, "IO").
    pub fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Cpu, _) => "cpu",
            (Self::Cpuset, _) => "cpuset",
            (Self::Io, Version::V1) => "blkio",
            (Self::Io, Version::V2) => "io",
            (Self::Memory, _) => "memory",
            (Self::Pids, _) => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name(Version::V2))
    }
}

/// A hierarchy that can be reached through a mount.
#[derive(Debug, PartialEq)]
pub struct Hierarchy {
    pub version: Version,
    /// What it can limit, as the kernel calls it.
    pub controllers: Vec<String>,
    /// Where it is mounted: the topmost group that can be seen.
    pub point: PathBuf,
    /// The directory of the group that the process is in, usually this one. `None` where the mount
    /// does not show it, as in a new cgroup namespace that did not mount its hierarchies again.
    pub own: Option<PathBuf>,
}

impl Hierarchy {
    /// The hierarchies that this process can reach and that serve to limit, freeze or kill.
    pub fn find() -> Result<Vec<Self>> {
        let read = |path| std::fs::read(path).attempt(format_args!("open({path:?})"));
        let mut found = parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        // One named by `name=` has no controller and is its maker's alone (systemd's).
        found.retain(|one| one.version == Version::V2 || !one.controllers.is_empty());
        for hierarchy in found.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
            hierarchy.controllers = words(&hierarchy.point.join("cgroup.controllers"))?;
        }
        Ok(found)
    }

    /// Whether it can limit what this controller does.
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.iter().any(|name| name == controller.name(self.version))
    }
}

/// The words of a file such as `cgroup.controllers`.
pub fn words(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).attempt(format_args!("open({path:?})"))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// What `mountinfo` says of a mount.
struct Mount<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    /// The group that is at the mount point, as a path in the hierarchy.
    root: PathBuf,
    point: PathBuf,
    writable: bool,
    kind: &'a [u8],
    /// The options of the file system: on v1 they name the controllers.
    options: Vec<&'a [u8]>,
}

/// The hierarchies of a `/proc/self/mountinfo` and a process's `/proc/PID/cgroup`, as far as they
/// are mounted; those of v2 without their controllers, which are not told there.
pub fn parse(mountinfo: &[u8], membership: &[u8]) -> Vec<Hierarchy> {
    let mounts: Vec<Mount> = lines(mountinfo).filter_map(parse_mount).collect();
    let visible = |mount: &&Mount| !is_hidden(mount, &mounts);
    let mut found = Vec::new();
    for line in lines(membership) {
        let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
        let (Some(names), Some(group)) = (fields.next(), fields.next()) else { continue };
        let names: Vec<&[u8]> =
            names.split(|&byte| byte == b',').filter(|name| !name.is_empty()).collect();
        let version = if names.is_empty() { Version::V2 } else { Version::V1 };
        let shows_it = |mount: &&Mount| match version {
            Version::V2 => mount.kind == b"cgroup2",
            Version::V1 => {
                mount.kind == b"cgroup" && names.iter().all(|name| mount.options.contains(name))
            }
        };
        let group = Path::new(OsStr::from_bytes(group));
        let below = |mount: &Mount| group.strip_prefix(&mount.root).map(Path::to_owned).ok();
        // Of several mounts, one that shows our own group, can be written to, and shows most.
        let worth = |mount: &&Mount| {
            (below(mount).is_none(), !mount.writable, mount.root.components().count())
        };
        let Some(mount) = mounts.iter().filter(shows_it).filter(visible).min_by_key(worth) else {
            continue;
        };
        let controllers = names.into_iter().filter(|name| !name.starts_with(b"name="));
        found.push(Hierarchy {
            version,
            controllers: controllers.map(|name| String::from_utf8_lossy(name).into()).collect(),
            point: mount.point.clone(),
            own: below(mount).map(|group| mount.point.join(group).components().collect()),
        });
    }
    found
}

/// The lines of a file of the kernel's.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// One line: `31 23 0:28 ROOT POINT OPTIONS [TAG…] - KIND SOURCE OPTIONS`.
fn parse_mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (id, parent) = (fields.next()?, fields.next()?);
    let (root, point) = (fields.nth(1)?, fields.next()?);
    let writable = has_option(fields.next()?, b"rw");
    fields.find(|&field| field == b"-")?;
    let kind = fields.next()?;
    let options = fields.nth(1)?.split(|&byte| byte == b',').collect();
    Some(Mount { id, parent, root: path(root), point: path(point), writable, kind, options })
}

fn has_option(options: &[u8], wanted: &[u8]) -> bool {
    options.split(|&byte| byte == b',').any(|option| option == wanted)
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(pk::unescaped(field)).into()
}

/// Whether another mount lies over this one: it covers its mount point and hangs on a mount that
/// one passes on the way there.
fn is_hidden(mount: &Mount, mounts: &[Mount]) -> bool {
    let mut way = vec![mount];
    while let Some(parent) = mounts.iter().find(|other| other.id == way[way.len() - 1].parent)
        && !way.iter().any(|other| other.id == parent.id)
    {
        way.push(parent);
    }
    mounts.iter().any(|other| {
        !way.iter().any(|passed| passed.id == other.id)
            && way.iter().any(|passed| passed.id == other.parent)
            && mount.point.starts_with(&other.point)
    })
}

#[cfg(test)]
mod tests;
