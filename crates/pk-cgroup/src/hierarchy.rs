//! The cgroup hierarchies of this machine: which are mounted, where, and what each can limit.
//!
//! Nothing has a fixed path. `/proc/self/mountinfo` says what is mounted where (`proc(5)`),
//! `/proc/self/cgroup` which controllers hang together and which group this process is in
//! (`cgroups(7)`). A machine has one v2 hierarchy, any number of v1 hierarchies, or both (hybrid);
//! a controller is in one hierarchy only.

use pk::{Attempt, Result};
use std::ffi::OsStr;
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
    /// The directory of the group that this process is in. `None` where the mount does not show
    /// it, as in a new cgroup namespace that did not mount its hierarchies again.
    pub own: Option<PathBuf>,
}

impl Hierarchy {
    /// The hierarchies that this process can reach.
    pub fn find() -> Result<Vec<Self>> {
        let read = |path| std::fs::read(path).attempt(format_args!("open({path:?})"));
        let mut found = parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
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

/// The hierarchies of a `/proc/self/mountinfo` and a `/proc/self/cgroup`; those of v2 without
/// their controllers, which are not told there.
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
        // A hierarchy named by `name=` has no controller and is its maker's alone (systemd's).
        let controllers = names.into_iter().filter(|name| !name.starts_with(b"name="));
        found.push(Hierarchy {
            version,
            controllers: controllers.map(|name| String::from_utf8_lossy(name).into()).collect(),
            point: mount.point.clone(),
            own: below(mount).map(|group| mount.point.join(group).components().collect()),
        });
    }
    found.retain(|hierarchy| hierarchy.version == Version::V2 || !hierarchy.controllers.is_empty());
    found
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
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

/// A path as the kernel writes it: blanks and backslashes are `\040` and the like.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
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
mod tests {
    use super::*;
    use Version::{V1, V2};

    type Expected<'a> = (Version, &'a [&'a str], &'a str, Option<&'a str>);

    fn check(what: &str, mountinfo: &str, membership: &str, expected: &[Expected]) {
        let expected: Vec<Hierarchy> = expected
            .iter()
            .map(|&(version, controllers, point, own)| Hierarchy {
                version,
                controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
                point: point.into(),
                own: own.map(PathBuf::from),
            })
            .collect();
        assert_eq!(parse(mountinfo.as_bytes(), membership.as_bytes()), expected, "{what}");
    }

    const ROOT: &str = "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";

    #[test]
    fn machines_of_each_kind() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        check(
            "v2 only",
            &format!("{ROOT}{v2}"),
            "0::/user.slice/session-1.scope\n",
            &[(V2, &[], "/sys/fs/cgroup", Some("/sys/fs/cgroup/user.slice/session-1.scope"))],
        );
        check(
            "v1, two controllers in one hierarchy, systemd's own",
            "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
             33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
            "4:memory:/a\n3:cpu,cpuacct:/\n2:net_cls:/\n1:name=systemd:/a/b\n",
            &[
                (V1, &["memory"], "/sys/fs/cgroup/memory", Some("/sys/fs/cgroup/memory/a")),
                (
                    V1,
                    &["cpu", "cpuacct"],
                    "/sys/fs/cgroup/cpu,cpuacct",
                    Some("/sys/fs/cgroup/cpu,cpuacct"),
                ),
            ],
        );
        check(
            "hybrid",
            "36 31 0:33 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
            "8:pids:/x\n0::/\n",
            &[
                (V1, &["pids"], "/sys/fs/cgroup/pids", Some("/sys/fs/cgroup/pids/x")),
                (V2, &[], "/sys/fs/cgroup/unified", Some("/sys/fs/cgroup/unified")),
            ],
        );
        check("no cgroups", ROOT, "", &[]);
        check("a line cut short", "36 31 0:33 / /sys/fs/cgroup/pids rw,relat", "8:pids:/\n", &[]);
    }

    #[test]
    fn the_root_of_a_mount_is_taken_off_the_path() {
        let mount = |root| format!("41 31 0:38 {root} /cg rw - cgroup2 cgroup2 rw\n");
        let table: &[(&str, &str, &str, Option<&str>)] = &[
            ("container, host's namespace", "/docker/1f", "/docker/1f", Some("/cg")),
            ("a group inside of it", "/docker/1f", "/docker/1f/a", Some("/cg/a")),
            ("another container's", "/docker/1f", "/docker/1fa", None),
            ("container, own namespace", "/", "/", Some("/cg")),
            ("namespace without a new mount", "/../..", "/", None),
            ("above the namespace", "/..", "/../a", Some("/cg/a")),
            ("a colon in the name", "/", "/a:b", Some("/cg/a:b")),
        ];
        for &(what, root, group, own) in table {
            let membership = format!("0::{group}\n");
            check(what, &mount(root), &membership, &[(V2, &[], "/cg", own)]);
        }
    }

    #[test]
    fn the_best_of_several_mounts_is_taken() {
        let part = "50 23 0:38 /a /part rw - cgroup2 cgroup2 rw\n";
        let read_only = "51 23 0:38 / /ro ro - cgroup2 cgroup2 rw\n";
        let whole = "52 23 0:38 / /whole rw - cgroup2 cgroup2 rw\n";
        let table: &[(&[&str], &str, &str)] = &[
            (&[part, read_only, whole], "/whole", "/whole/a"),
            (&[part, read_only], "/part", "/part"),
            (&[read_only], "/ro", "/ro/a"),
        ];
        for &(mounts, point, own) in table {
            check(point, &mounts.concat(), "0::/a\n", &[(V2, &[], point, Some(own))]);
        }
    }

    #[test]
    fn a_mount_under_another_one_is_not_seen() {
        let below = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let seen = format!("{ROOT}{below}");
        let point = "/sys/fs/cgroup/unified";
        check("plain", &seen, "0::/\n", &[(V2, &[], point, Some(point))]);
        let cover = "60 31 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
        check("covered", &format!("{seen}{cover}"), "0::/\n", &[]);
        let cover = "60 41 0:50 / /sys/fs/cgroup/unified rw - tmpfs tmpfs rw\n";
        check("covered at its point", &format!("{seen}{cover}"), "0::/\n", &[]);
        // After switch_root the root's line may stand behind those of what is mounted in it.
        let late = format!("{below}{ROOT}");
        check("the root listed last", &late, "0::/\n", &[(V2, &[], point, Some(point))]);
    }

    #[test]
    fn octal_escapes_are_undone() {
        let table: &[(&[u8], &[u8])] = &[
            (br"/a\040b", b"/a b"),
            (br"/a\134040", br"/a\040"),
            (br"/\011\012", b"/\t\n"),
            (br"/a\04", br"/a\04"),
            (br"/a\x40", br"/a\x40"),
            (b"/caf\xe9", b"/caf\xe9"),
        ];
        for &(field, expected) in table {
            assert_eq!(path(field).as_os_str().as_bytes(), expected);
        }
    }
}
