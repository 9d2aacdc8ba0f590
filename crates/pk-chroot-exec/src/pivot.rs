//! Making ROOT the root of the mount namespace. `pivot_root(2)`.

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, fchdir, pivot_root};
use pk::{Attempt, Error, Result, Steps};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

pub fn add_steps(root: OwnedFd, shown: &str, steps: &mut Steps) -> Result<()> {
    let is_mount = is_mount(&root, "").attempt(format_args!("statx({shown:?})"))?;
    steps.check(|()| pk::check_own_mount_namespace());
    steps.add(
        if is_mount {
            "ROOT is the working directory while names change their meaning"
        } else {
            "pivot_root moves mounts, not directories: ROOT becomes one, and the working directory"
        },
        if is_mount {
            format!("chdir({shown:?})")
        } else {
            format!("move_mount(open_tree({shown:?}, OPEN_TREE_CLONE|AT_RECURSIVE), {shown:?}), chdir({shown:?})")
        },
        if is_mount { format!("cd {shown}") } else { format!("mount --rbind {shown} {shown}; cd {shown}") },
        move |()| if is_mount { Ok(fchdir(&root)?) } else { enter_bound(&root) },
    );
    steps.add(
        "or taking the old root off would take it off for whoever shares its mounts",
        "mount(NULL, \"/\", NULL, MS_REC|MS_SLAVE, NULL)",
        "mount --make-rslave /",
        |()| {
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_SLAVE,
                None::<&str>,
            )
        },
    );
    steps.add(
        "ROOT is the root now, and the old one lies on top of it",
        "pivot_root(\".\", \".\")",
        "pivot_root . .",
        |()| pivot_root(".", ".").map_err(|errno| Error::from(errno).hint(why_refused(errno))),
    );
    steps.add(
        "the old root goes, with everything in it, as soon as nothing uses it",
        "umount2(\".\", MNT_DETACH), chdir(\"/\")",
        "umount --lazy .; cd /",
        |()| umount2(".", MntFlags::MNT_DETACH).and_then(|()| chdir("/")),
    );
    Ok(())
}

/// Binds a directory over itself and goes there: the working directory must be in the new mount.
fn enter_bound(directory: &OwnedFd) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(directory, "", flags)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", directory, "", flags)?;
    Ok(fchdir(tree)?)
}

/// Whether a mount begins here.
fn is_mount(directory: impl AsFd, path: &str) -> rustix::io::Result<bool> {
    let status = statx(directory, path, AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// EINVAL has many causes; those that can be seen from here are named.
fn why_refused(errno: Errno) -> Option<String> {
    if errno == Errno::EBUSY {
        return Some("ROOT is the root already".to_owned());
    }
    if errno != Errno::EINVAL {
        return None;
    }
    if !is_mount(CWD, "/").ok()? {
        return Some(
            "this process is in a chroot: its / is no mount that could be moved; --chroot works"
                .to_owned(),
        );
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    let (mount, filesystem) = root.split_once(" - ")?;
    if filesystem.starts_with("rootfs ") {
        return Some("/ is the initramfs, which cannot be moved; --chroot works".to_owned());
    }
    let shared = mount.split(' ').skip(6).any(|field| field.starts_with("shared:"));
    shared.then(|| {
        "the mount on / is shared: mount --make-rprivate /, as pk-ns --mount does".to_owned()
    })
}
