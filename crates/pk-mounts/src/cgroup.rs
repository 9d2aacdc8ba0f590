//! /sys/fs/cgroup: what is seen of the cgroup hierarchies, never writable. `cgroups(7)`.
//!
//! A new mount of a hierarchy begins at the root of the cgroup namespace that it is made in, so
//! that after `pk-ns --cgroup` a container sees its own group and not those beside it.

use crate::filesystem::{Filesystem, NOTHING_BUT_FILES};
use crate::root::{Links, Root};
use crate::standard::why_refused;
use crate::sys::mount_setattr;
use pk::{Attempt, Error, Result, Steps};
use rustix::mount::MountAttrFlags;
use std::fs;

const ON: &str = "/sys/fs/cgroup";

/// A hierarchy that is mounted on the host: the last name of its mount point, type and options.
#[derive(Debug, PartialEq)]
struct Hierarchy {
    name: String,
    kind: &'static str,
    options: String,
}

pub fn add_mounts(root: &str, steps: &mut Steps<Root>) -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").attempt("open(\"/proc/self/mountinfo\")")?;
    let mut hierarchies = hierarchies(&mounts);
    let add = |hierarchy: Hierarchy, on: &str, steps: &mut Steps<Root>| {
        let flags = NOTHING_BUT_FILES | MountAttrFlags::MOUNT_ATTR_RDONLY;
        let filesystem = Filesystem::new(hierarchy.kind, hierarchy.options, flags);
        let why = "limits and use can be read inside, not changed";
        filesystem.add_mount_with(on, Links::Refused, why, root, steps, |error| {
            why_refused(error, "cgroup", ON)
        });
    };
    match hierarchies.len() {
        0 => Err(Error::new("--cgroup", "no cgroup hierarchy is mounted here")
            .hint("looked for cgroup and cgroup2 in /proc/self/mountinfo".to_owned())),
        1 => {
            add(hierarchies.remove(0), ON, steps);
            Ok(())
        }
        _ => {
            let tmpfs = Filesystem::new("tmpfs", "mode=755", NOTHING_BUT_FILES);
            let why = "version 1 has a hierarchy for each controller: a directory to hold them";
            tmpfs.add_mount_with(ON, Links::Refused, why, root, steps, |_| None);
            for hierarchy in hierarchies {
                let on = format!("{ON}/{}", hierarchy.name);
                add(hierarchy, &on, steps);
            }
            steps.add(
                "after the directories in it are made",
                format!("mount_setattr(\"{root}{ON}\", {{attr_set=MOUNT_ATTR_RDONLY}})"),
                format!("mount -o remount,bind,ro {root}{ON}"),
                |root| {
                    let tmpfs = root.directory(ON, Links::Refused)?;
                    mount_setattr(tmpfs, MountAttrFlags::MOUNT_ATTR_RDONLY, false)
                        .map_err(Error::from)
                },
            );
            Ok(())
        }
    }
}

/// The hierarchies in a `/proc/PID/mountinfo`, each once.
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let (mount, filesystem): (Vec<_>, Vec<_>) =
            (mount.split(' ').collect(), filesystem.split(' ').collect());
        let (Some(point), [kind, _, options]) = (mount.get(4), &filesystem[..]) else { continue };
        let (kind, options) = match *kind {
            "cgroup2" => ("cgroup2", own(options).join(",")),
            "cgroup" => ("cgroup", controllers(options)),
            _ => continue,
        };
        let name = point.rsplit('/').next().unwrap_or_default().to_owned();
        let hierarchy = Hierarchy { name, kind, options };
        if !found.iter().any(|other| other.kind == kind && other.options == hierarchy.options) {
            found.push(hierarchy);
        }
    }
    found
}

/// What is said of a hierarchy among the options of its superblock. A mount of version 2 that leaves
/// out `nsdelegate` or `memory_recursiveprot` takes it from the whole machine, if it is made in the
/// first cgroup namespace: the kernel's documentation, cgroup-v2, "Mounting".
fn own(options: &str) -> Vec<&str> {
    let own = |option: &&str| {
        !["rw", "ro", "xattr"].contains(option) && !option.starts_with("release_agent=")
    };
    options.split(',').filter(own).collect()
}

/// What names a hierarchy of version 1.
fn controllers(options: &str) -> String {
    let named = own(options);
    let none = if named.iter().all(|option| option.contains('=')) { "none," } else { "" };
    format!("{none}{}", named.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_wherever_they_are_mounted() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            33 31 0:29 / /again/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            40 31 0:37 / /cg/systemd rw shared:1 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
            41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let expected = [
            ("cpu", "cgroup", "cpu,cpuacct"),
            ("systemd", "cgroup", "none,name=systemd"),
            ("unified", "cgroup2", "nsdelegate"),
        ];
        let expected = expected.map(|(name, kind, options)| Hierarchy {
            name: name.to_owned(),
            kind,
            options: options.to_owned(),
        });
        assert_eq!(hierarchies(text), expected);
        assert_eq!(hierarchies("bad line\n"), []);
    }
}
