//! proc and sysfs, and why the kernel may refuse them.

use crate::filesystem::{Filesystem, NOTHING_BUT_FILES, words};
use crate::root::{Links, Root, clone_tree};
use crate::{source, sys};
use nix::errno::Errno;
use nix::sys::statfs::{SYSFS_MAGIC, fstatfs};
use pk::{Error, Result, Steps};
use rustix::mount::MountAttrFlags;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub fn add_proc(root: &str, steps: &mut Steps<Root>) {
    let why = "ps, top and /dev/fd read it; it shows the PID namespace that mounts it";
    let proc = Filesystem::new("proc", "", NOTHING_BUT_FILES);
    proc.add_mount_with("/proc", Links::Refused, why, root, steps, |error| {
        why_refused(error, "pid", "/proc")
    });
}

/// Who owns no network namespace, or sees only parts of a sysfs, may not mount another one: then
/// what is seen from here is bound, with what is mounted in it.
pub fn add_sys(root: &str, steps: &mut Steps<Root>) {
    let flags = NOTHING_BUT_FILES | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let sysfs = Filesystem::new("sysfs", "", flags);
    steps.add(
        "read-only: most of it is the hardware's, and the same for every container",
        format!("{}, or of open_tree(\"/sys\") where that is refused", sysfs.call(root, "/sys")),
        format!(
            "{{ {}; }} 2> /dev/null || {{ mount --mkdir --rbind /sys {root}/sys && {}; }}",
            sysfs.shell(root, "/sys"),
            remount_all(&format!("{root}/sys"), &words(flags))
        ),
        move |root| {
            let mount = sysfs.create().or_else(|error| {
                let is_refused = error.errno() == Some(Errno::EPERM);
                let bound = if is_refused { bind_sys(flags)? } else { None };
                bound.ok_or_else(|| {
                    let cause = why_refused(&error, "net", "/sys");
                    error.hint(cause)
                })
            })?;
            root.mount(mount, "/sys", Links::Refused)
        },
    );
}

/// What sets flags on a mount and on all below it: `mount(8)` can do so in one go from util-linux
/// 2.39 on.
pub fn remount_all(on: &str, flags: &str) -> String {
    format!("findmnt -nlRo TARGET {on} | xargs -d '\\n' -n 1 mount -o remount,bind,{flags}")
}

/// A copy of the sysfs that is seen from here, if it is one.
fn bind_sys(flags: MountAttrFlags) -> Result<Option<OwnedFd>> {
    let sys = source::open(Path::new("/sys"))?;
    if fstatfs(&sys)?.filesystem_type() != SYSFS_MAGIC {
        return Ok(None);
    }
    let tree = clone_tree(sys, true)?;
    sys::mount_setattr(&tree, flags, true)?;
    Ok(Some(tree))
}

/// The kernel lets proc and sysfs be mounted by who owns the namespace that they show, and in a
/// user namespace only if the mount there is shows all of it: `mount_namespaces(7)`.
pub fn why_refused(error: &Error, namespace: &str, mounted: &str) -> Option<String> {
    if error.errno() != Some(Errno::EPERM) {
        return None;
    }
    if !owned_by_our_user_namespace(namespace).ok()? {
        return Some(format!(
            "this {namespace} namespace belongs to another user namespace: pk-ns --user --{namespace} gives one of its own"
        ));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let covering = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let covering: Vec<&str> =
        covering.filter(|point| point.starts_with(&format!("{mounted}/"))).collect();
    (!covering.is_empty()).then(|| {
        format!(
            "parts of the {mounted} seen from here are covered ({}), as in a container: the kernel allows a new one only where a whole one is seen",
            covering.join(", ")
        )
    })
}

/// Whether the user namespace of this process owns its namespace of the given kind.
pub fn owned_by_our_user_namespace(namespace: &str) -> nix::Result<bool> {
    let open = |name: &str| File::open(format!("/proc/self/ns/{name}"));
    let inode = |file: File| file.metadata().map(|file| (file.dev(), file.ino()));
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let owner = match sys::owner(open(namespace).map_err(errno)?) {
        // The kernel does not show an owner that is further out than we are.
        Err(Errno::EPERM) => return Ok(false),
        owner => owner?,
    };
    let ours = open("user").map_err(errno)?;
    Ok(inode(owner).map_err(errno)? == inode(ours).map_err(errno)?)
}
