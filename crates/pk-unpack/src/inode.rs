//! What an inode keeps besides its contents, and what could not be kept.
//!
//! The order is the kernel's: a change of owner clears setuid, setgid and file capabilities
//! (`chown(2)`, `capabilities(7)`), and every change but that of the times could touch the times.

use crate::lower::is_mark;
use crate::metadata::Metadata;
use pk::{Attempt, Result};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmod, chownat,
    fchmod, fchown, fsetxattr, fstat, futimens, lsetxattr, openat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, umask};
use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Counts of what the caller has not the right to keep, or the filesystem not the means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    owners: u64,
    devices: u64,
    xattrs: u64,
}

impl Lost {
    /// Notes that a device became an empty file.
    pub fn device(&mut self) {
        self.devices += 1;
    }

    /// Takes away what overlayfs would read as marks of its own.
    pub fn marks(&mut self, xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        let count = xattrs.len();
        xattrs.retain(|(name, _)| !is_mark(name));
        self.xattrs += (count - xattrs.len()) as u64;
    }

    fn owner(&mut self, result: rustix::io::Result<()>) -> Result<()> {
        match result {
            // EINVAL: an id that the user namespace does not map.
            Err(Errno::PERM | Errno::INVAL) => self.owners += 1,
            result => result.attempt("fchown")?,
        }
        Ok(())
    }

    fn xattr(&mut self, name: &OsStr, result: rustix::io::Result<()>) -> Result<()> {
        match result {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => self.xattrs += 1,
            result => result.attempt(format_args!("fsetxattr({name:?})"))?,
        }
        Ok(())
    }

    /// With the counts of another layer.
    pub fn plus(self, other: &Self) -> Self {
        Self {
            owners: self.owners + other.owners,
            devices: self.devices + other.devices,
            xattrs: self.xattrs + other.xattrs,
        }
    }

    /// Whether all was kept.
    pub fn is_nothing(&self) -> bool {
        self.owners + self.devices + self.xattrs == 0
    }
}

impl Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let counts = [
            (self.owners, "owners"),
            (self.devices, "devices (now empty files)"),
            (self.xattrs, "extended attributes"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        write!(formatter, "could not be kept as they are: {}", counts.join(", "))
    }
}

/// What a new file has by itself, so that it need not be given it.
pub struct Inherited {
    /// None where it is not certain.
    owner: Option<(u32, u32)>,
    umask: u32,
}

impl Inherited {
    /// What this process's new files have in `top`, a directory that it made, and below it. No
    /// default ACL may be there.
    pub fn below(top: BorrowedFd) -> Result<Self> {
        let stat = fstat(top).attempt("fstat")?;
        let owner = (geteuid().as_raw(), getegid().as_raw());
        // The group may be the directory's instead: for setgid ones, or all if mounted with grpid.
        let is_certain = (stat.st_uid, stat.st_gid) == owner;
        // There is no call that only asks.
        let mask = umask(Mode::empty());
        umask(mask);
        Ok(Self { owner: is_certain.then_some(owner), umask: mask.as_raw_mode() })
    }

    /// The mode to make a file with: if [`Self::is_all`], that is its own.
    pub fn mode(&self, metadata: &Metadata) -> Mode {
        let mode = if self.is_all(metadata) { metadata.mode } else { 0o600 };
        Mode::from_raw_mode(mode)
    }

    /// Whether a file made with the right mode lacks no more than its times.
    fn is_all(&self, metadata: &Metadata) -> bool {
        self.owner == Some((metadata.uid, metadata.gid))
            && metadata.mode & (0o7000 | self.umask) == 0
            && metadata.xattrs.is_empty()
    }
}

/// Gives a file that was made with [`Inherited::mode`] what it lacks.
pub fn set_new(
    file: impl AsFd,
    metadata: &Metadata,
    inherited: &Inherited,
    lost: &mut Lost,
) -> Result<()> {
    if inherited.is_all(metadata) {
        return futimens(file, &times(metadata)).attempt("futimens");
    }
    set(file, metadata, lost)
}

/// Gives an open file or directory its owner, mode, extended attributes and times.
pub fn set(file: impl AsFd, metadata: &Metadata, lost: &mut Lost) -> Result<()> {
    let file = file.as_fd();
    let (uid, gid) = owner(metadata);
    lost.owner(fchown(file, uid, gid))?;
    // Before the mode: it may be one that lets the owner write neither contents nor attributes.
    for (name, value) in &metadata.xattrs {
        let name = OsStr::from_bytes(name);
        lost.xattr(name, fsetxattr(file, name, value, XattrFlags::empty()))?;
    }
    fchmod(file, Mode::from_raw_mode(metadata.mode)).attempt("fchmod")?;
    futimens(file, &times(metadata)).attempt("futimens")
}

/// Gives a symlink or a node, which cannot be opened, what [`set`] gives to a file, but no mode: a
/// symlink has none.
pub fn set_unopened(
    above: BorrowedFd,
    name: &OsStr,
    metadata: &Metadata,
    lost: &mut Lost,
) -> Result<()> {
    let (uid, gid) = owner(metadata);
    lost.owner(chownat(above, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    for (xattr, value) in &metadata.xattrs {
        // There is no lsetxattrat before Linux 6.13.
        let path = Path::new("/proc/self/fd").join(above.as_raw_fd().to_string()).join(name);
        let xattr = OsStr::from_bytes(xattr);
        lost.xattr(xattr, lsetxattr(&path, xattr, value, XattrFlags::empty()))?;
    }
    utimensat(above, name, &times(metadata), AtFlags::SYMLINK_NOFOLLOW).attempt("utimensat")
}

/// Gives a node its mode. `fchmodat(2)` would follow a symlink, and the call that need not is
/// younger (Linux 6.6).
pub fn set_mode_unopened(above: BorrowedFd, name: &OsStr, mode: u32) -> Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = openat(above, name, flags, Mode::empty()).attempt("openat(O_PATH)")?;
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    chmod(path, Mode::from_raw_mode(mode)).attempt("fchmod")
}

fn owner(metadata: &Metadata) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)))
}

/// An image knows no time of last access: it is that of the last change.
fn times(metadata: &Metadata) -> Timestamps {
    let time = metadata.mtime.unwrap_or(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT });
    Timestamps { last_access: time, last_modification: time }
}
