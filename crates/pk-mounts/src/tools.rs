//! `/run/pk`: the static tools for those links of a chain that run inside ROOT.
//!
//! A bind would not do. Whoever has `CAP_SYS_ADMIN` where it was made, as root of a user namespace
//! has, can remount it writable; and the tools belong to that very user if he built them, so that
//! a program inside would change what he runs outside. An overlay without an upper directory has
//! nowhere to write to, whatever is asked of it, and no file of it can be opened for writing
//! through `/proc/PID/exe` (CVE-2019-5736).

use crate::filesystem::{Filesystem, names};
use crate::root::{Links, Root, attach};
use crate::source;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstatat, stat};
use pk::{Attempt, Error, Result, Steps, quote};
use rustix::mount::MountAttrFlags;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const ON: &str = "/run/pk";

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
        let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        // An overlay wants two layers; the mount point is empty and at hand.
        let options = format!("lowerdir={}:{root}{ON}", self.path.display());
        steps.add(
            "the links that run inside; an overlay, because a read-only bind can be remounted",
            format!(
                "move_mount(fsmount(\"overlay\", {options:?}, {}), \"{root}{ON}\")",
                names(flags)
            ),
            format!(
                "mount --mkdir -t overlay -o nosuid,nodev,{} overlay {root}{ON} && \
                 mount -o remount,bind,ro {root}{ON}",
                quote(&options)
            ),
            move |root| {
                let on = root.directory(ON, Links::Refused).map_err(|error| {
                    let read_only = error.errno() == Some(Errno::EROFS);
                    let hint = "ROOT is read-only and has no /run/pk: --run makes room for it";
                    error.hint(read_only.then(|| hint.to_owned()))
                })?;
                let fd = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
                let layers = format!("lowerdir={}:{}", fd(&self.directory), fd(&on));
                attach(Filesystem::new("overlay", layers, flags).create()?, on)
            },
        );
    }
}
