//! `/run/pk`: the static tools for those links of a chain that run inside ROOT.
//!
//! A read-only bind is what it takes: nothing can be written through it, not even through
//! `/proc/PID/exe` (CVE-2019-5736). But who has `CAP_SYS_ADMIN` where it was made can remount it
//! writable. Root of the machine may do anything anyway, until pk-privs takes the capability away.
//! Root of a user namespace keeps it, and the tools may be those that this very user runs outside:
//! there they are shown by an overlay without an upper directory, which has nowhere to write to
//! whatever is asked of it.

use crate::filesystem::{Filesystem, names, words};
use crate::root::{Links, Root, attach, clone_tree};
use crate::source;
use crate::sys::mount_setattr;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstatat, stat};
use pk::{Attempt, Error, Result, Steps, in_initial_user_namespace, quote};
use rustix::mount::MountAttrFlags;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const ON: &str = "/run/pk";

const FLAGS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// What a directory of the tools holds for the inside, besides this program.
const INSIDE: [&str; 1] = ["pk-init"];

/// The directory that this program was started from.
pub struct Tools {
    path: PathBuf,
    directory: OwnedFd,
}

impl Tools {
    /// Finds it by `/proc/self/exe`: the name under which a program was started (`AT_EXECFN`) may
    /// be a link elsewhere, or relative to a directory that was left.
    pub fn find() -> Result<Self> {
        let own = fs::read_link("/proc/self/exe").attempt("readlink(\"/proc/self/exe\")")?;
        let path = own.parent().unwrap_or(Path::new("/")).to_owned();
        let directory = source::open(&path)?;
        // What has been removed or covered since has a name that leads somewhere else.
        let running = stat("/proc/self/exe").attempt("stat(\"/proc/self/exe\")")?;
        let name = own.file_name().unwrap_or_default();
        let named = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
        if named.map(|file| (file.st_dev, file.st_ino)) != Some((running.st_dev, running.st_ino)) {
            let reason = format!("{own:?} is not this program, so its directory is not known");
            return Err(Error::new("--tools", reason));
        }
        for tool in INSIDE {
            fstatat(&directory, tool, AtFlags::empty())
                .attempt(format_args!("--tools: stat({:?})", path.join(tool)))?;
        }
        Ok(Self { path, directory })
    }

    /// Adds the step that shows them on `/run/pk`.
    pub fn add_mount(self, root: &str, steps: &mut Steps<Root>) {
        if in_initial_user_namespace() {
            self.add_bind(root, steps);
        } else {
            self.add_overlay(root, steps);
        }
    }

    fn add_bind(self, root: &str, steps: &mut Steps<Root>) {
        let (path, on) = (&self.path, format!("{root}{ON}"));
        let tree = format!("open_tree({path:?}, OPEN_TREE_CLONE)");
        steps.add(
            "the links that run inside; nothing is written through it",
            format!("move_mount(mount_setattr({tree}, {{attr_set={}}}), {on:?})", names(FLAGS)),
            format!(
                "mount --mkdir --bind {} {on} && mount -o remount,bind,{} {on}",
                quote(path),
                words(FLAGS)
            ),
            move |root| {
                let on = mount_point(root)?;
                let tree = clone_tree(&self.directory, false)?;
                mount_setattr(&tree, FLAGS, false)?;
                attach(tree, on)
            },
        );
    }

    fn add_overlay(self, root: &str, steps: &mut Steps<Root>) {
        // An overlay wants two layers; the mount point is empty and at hand.
        let options = format!("lowerdir={}:{root}{ON}", self.path.display());
        steps.add(
            "the links that run inside; an overlay, because a read-only bind can be remounted",
            format!(
                "move_mount(fsmount(\"overlay\", {options:?}, {}), \"{root}{ON}\")",
                names(FLAGS)
            ),
            format!(
                "mount --mkdir -t overlay -o nosuid,nodev,{} overlay {root}{ON} && \
                 mount -o remount,bind,ro {root}{ON}",
                quote(&options)
            ),
            move |root| {
                let on = mount_point(root)?;
                let fd = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
                let layers = format!("lowerdir={}:{}", fd(&self.directory), fd(&on));
                attach(Filesystem::new("overlay", layers, FLAGS).create()?, on)
            },
        );
    }
}

fn mount_point(root: &mut Root) -> Result<OwnedFd> {
    root.directory(ON, Links::Refused).map_err(|error| {
        let read_only = error.errno() == Some(Errno::EROFS);
        let hint = "ROOT is read-only and has no /run/pk: --run makes room for it";
        error.hint(read_only.then(|| hint.to_owned()))
    })
}
