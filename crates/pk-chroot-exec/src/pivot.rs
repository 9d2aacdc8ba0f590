//! Making ROOT the root of the mount namespace. `pivot_root(2)`.

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, fchdir, pivot_root};
use pk::{Attempt, Error, Result, Steps};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

/// Whether a directory is the root of this process already, as it is after `pk-ns --join`.
pub fn is_root(directory: &OwnedFd) -> Result<bool> {
    let status = |directory, path| statx(directory, path, AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    let (root, given) = (status(CWD, "/").attempt("statx(\"/\")")?, status(directory.as_fd(), "")?);
    Ok((root.stx_ino, root.stx_mnt_id) == (given.stx_ino, given.stx_mnt_id))
}

/// There is nothing to switch. The working directory stays, if it is in ROOT at all: one that was
/// left outside is a way out (CVE-2024-21626).
pub fn add_stay(steps: &mut Steps) {
    steps.add(
        "ROOT is the root already; only a working directory outside of it would lead out",
        "getcwd()",
        "pwd -P",
        |()| {
            let outside = |errno| {
                let error = Error::from(errno);
                match errno {
                    Errno::ENOENT => {
                        error.hint("it is not in ROOT any more; cd / leads back".to_owned())
                    }
                    _ => error,
                }
            };
            nix::unistd::getcwd().map(drop).map_err(outside)
        },
    );
}

pub fn add_steps(root: OwnedFd, shown: &str, steps: &mut Steps) -> Result<()> {
    let is_mount = is_mount(&root, "").attempt(format_args!("statx({shown:?})"))?;
    steps.add(
        "the working directory is ROOT while names change their meaning",
        format!("chdir({shown:?})"),
        format!("cd {shown}"),
        move |()| fchdir(&root),
    );
    steps.add(
        "pivot_root moves the root of every process in a mount namespace: here there is only this one",
        "unshare(CLONE_NEWNS)",
        "exec unshare --mount --propagation unchanged sh",
        |()| unshare(CloneFlags::CLONE_NEWNS).map_err(refused),
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
    // Mounts that were there before a user namespace are locked in it, `mount_namespaces(7)`;
    // nothing tells them from others.
    if !is_mount || !pk::in_initial_user_namespace() {
        steps.add(
            "pivot_root moves no directories, nor mounts that a user namespace came with: ROOT becomes one of ours",
            "move_mount(open_tree(\".\", OPEN_TREE_CLONE|AT_RECURSIVE), \".\"), chdir(\".\")",
            "mount --rbind . . && cd \"$PWD\"",
            |()| bind_working_directory(),
        );
    }
    steps.add(
        "ROOT is the root now, and the old one lies on top of it",
        "pivot_root(\".\", \".\")",
        "pivot_root . .",
        |()| pivot_root(".", ".").map_err(|errno| Error::from(errno).hint(why_refused(errno))),
    );
    steps.add(
        "the old root goes, with everything in it, as soon as nothing uses it",
        "umount2(\".\", MNT_DETACH), chdir(\"/\")",
        "umount -l . && cd /",
        |()| umount2(".", MntFlags::MNT_DETACH).and_then(|()| chdir("/")),
    );
    Ok(())
}

/// Binds the working directory over itself and goes there: it must be in the new mount.
fn bind_working_directory() -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, ".", flags)?;
    move_mount(&tree, "", CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(fchdir(tree)?)
}

fn refused(errno: impl Into<Error>) -> Error {
    let error = errno.into();
    let hint = pk::not_root(error.errno());
    error.hint(hint)
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
        let hint =
            "this process is in a chroot: its / is no mount that could be moved; --chroot works";
        return Some(hint.to_owned());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    let initramfs = root.split_once(" - ").is_some_and(|(_, kind)| kind.starts_with("rootfs "));
    initramfs.then(|| "/ is the initramfs, which cannot be moved; --chroot works".to_owned())
}
