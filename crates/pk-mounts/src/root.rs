//! ROOT: a directory that becomes a mount, and paths inside it.
//!
//! What an image holds is not to be trusted: a path inside ROOT is resolved by the kernel as if
//! ROOT were `/`, and what is mounted is mounted on the descriptor that this gives, so that
//! nothing can be swapped in between. `openat2(2)`, `move_mount(2)`.

use crate::{host, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat, mkdirat, stat, umask};
use nix::unistd::fchdir;
use pk::{Attempt, Error, Result, Steps, quote};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directory, by its path on the host, and the descriptor under which it is worked on.
pub struct Root {
    path: PathBuf,
    directory: OwnedFd,
    /// proc, sysfs and dev, with what is mounted in them, by their paths.
    mounted: Vec<(String, OwnedFd)>,
}

/// What to do about symbolic links in a path.
#[derive(Clone, Copy, PartialEq)]
pub enum Links {
    /// They lead to where they lead inside ROOT.
    InRoot,
    /// They are refused: proc over a link is proc somewhere else. And what is in proc is looked
    /// for in the proc that was mounted, whatever has taken its place in ROOT by then.
    Refused,
}

impl Root {
    pub fn open(path: OsString) -> Result<Self> {
        let path = PathBuf::from(path);
        let directory = open_directory(&path)?;
        Ok(Self { path, directory, mounted: Vec::new() })
    }

    /// ROOT as the commands that do the same take it.
    pub fn shown(&self) -> String {
        quote(&self.path)
    }

    /// ROOT's path on the host.
    pub fn on_host(&self) -> &Path {
        &self.path
    }

    /// What a shell that stands in ROOT adds to a command that covers it.
    pub fn and_enter(&self) -> Result<&'static str> {
        Ok(if self.is_here()? { " && cd \"$PWD\"" } else { "" })
    }

    /// Whether ROOT is the working directory.
    fn is_here(&self) -> Result<bool> {
        let (root, here) = (fstat(&self.directory)?, stat(".")?);
        Ok((root.st_dev, root.st_ino) == (here.st_dev, here.st_ino))
    }

    /// Whether ROOT is where a mount begins, as `pivot_root(2)` wants it.
    pub fn is_mount(&self) -> Result<bool> {
        let call = || format!("statx({:?})", self.path);
        let status =
            statx(&self.directory, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).attempt(call())?;
        Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    /// Refuses to mount where others would see it.
    pub fn check_private(&self) -> Result<()> {
        host::check_private(&self.path, &self.directory)
    }

    fn resolve(&self, path: &str, flags: OFlag, links: Links) -> nix::Result<OwnedFd> {
        if links == Links::InRoot {
            return open_inside(&self.directory, path, flags, ResolveFlag::empty());
        }
        let mut mounted = self.mounted.iter().rev();
        let below =
            mounted.find_map(|(point, mount)| Some((mount, strip_mount_point(path, point)?)));
        let (mount, rest) = below.unwrap_or((&self.directory, path));
        open_inside(mount, rest, flags, ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    /// Attaches a mount on a path inside ROOT.
    pub fn mount(&mut self, mount: OwnedFd, path: &str, links: Links) -> Result<()> {
        let on = self.directory(path, links)?;
        if links == Links::InRoot {
            return self.attach(&mount, &on);
        }
        attach(&mount, on)?;
        self.mounted.push((path.to_owned(), mount));
        Ok(())
    }

    /// Attaches a mount on what was found inside ROOT. If that is proc, sysfs or dev, it is the
    /// caller's wish that PROG sees this one there.
    pub fn attach(&mut self, mount: &OwnedFd, on: &OwnedFd) -> Result<()> {
        let place = place(on)?;
        attach(mount, on)?;
        for (_, mounted) in &mut self.mounted {
            if self::place(&*mounted)? == place {
                *mounted = mount.try_clone()?;
            }
        }
        Ok(())
    }

    /// Whether PROG will find proc, sysfs and dev where they were mounted. Who may write to ROOT
    /// from another mount namespace can rename or remove a mount point there meanwhile.
    pub fn check_mounted(&self) -> Result<()> {
        for (point, mount) in &self.mounted {
            let no_links = ResolveFlag::RESOLVE_NO_SYMLINKS;
            let found = open_inside(&self.directory, point, OFlag::O_PATH, no_links);
            if found.ok().and_then(|found| place(found).ok()) != Some(place(mount)?) {
                let reason = "is not what was mounted there: somebody changes ROOT meanwhile";
                return Err(Error::new(format!("statx({:?})", self.inside(point)), reason));
            }
        }
        Ok(())
    }

    /// What is at a path, or nothing.
    pub fn find(&self, path: &str, links: Links) -> Result<Option<OwnedFd>> {
        match self.resolve(path, OFlag::O_PATH, links) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(self.refused(path, errno)),
        }
    }

    /// The directory at a path; made where it is missing, with its parents, as mount points are.
    pub fn directory(&self, path: &str, links: Links) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.resolve(path, flags, links) {
            Err(Errno::ENOENT) => {}
            result => return result.map_err(|errno| self.refused(path, errno)),
        }
        let (parent, name) = split(path);
        let parent = self.directory(parent, links)?;
        without_umask(|| mkdirat(&parent, name, Mode::from_bits_truncate(0o755)))
            .attempt(format_args!("mkdir({:?})", self.inside(path)))?;
        self.resolve(path, flags, links).map_err(|errno| self.refused(path, errno))
    }

    /// The file at a path; an empty one is made where it is missing.
    pub fn file(&self, path: &str, links: Links) -> Result<OwnedFd> {
        if let Some(file) = self.find(path, links)? {
            return Ok(file);
        }
        let (parent, name) = split(path);
        let parent = self.directory(parent, links)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        openat(&parent, name, flags, mode)
            .attempt(format_args!("open({:?}, O_CREAT)", self.inside(path)))
    }

    fn refused(&self, path: &str, errno: Errno) -> Error {
        let hint = (errno == Errno::ELOOP).then(|| {
            "a symbolic link in it would put the mount somewhere else; replace it by a directory".to_owned()
        });
        Error::from(errno).attempting(format_args!("openat2({:?})", self.inside(path))).hint(hint)
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// Puts a mount on ROOT itself.
    pub fn cover(&mut self, mount: OwnedFd) -> Result<()> {
        attach(&mount, &self.directory)?;
        self.enter(mount)
    }

    /// Lets ROOT be what `mount(2)` put on its path.
    pub fn reopen(&mut self) -> Result<()> {
        let mount = open_directory(&self.path)?;
        self.enter(mount)
    }

    /// From here on ROOT is what has been mounted on it. A working directory in ROOT would still
    /// be below that mount, and `.` would name what it covers.
    fn enter(&mut self, mount: OwnedFd) -> Result<()> {
        if self.is_here()? {
            fchdir(&mount)?;
        }
        self.directory = mount;
        Ok(())
    }
}

/// Makes ROOT a mount: `pivot_root(2)` moves mounts, not directories.
pub fn add_self_bind(shown: &str, and_enter: &str, steps: &mut Steps<Root>) {
    steps.add(
        "ROOT has to be a mount: pivot_root moves mounts, not directories",
        format!("move_mount(open_tree({shown:?}, OPEN_TREE_CLONE|AT_RECURSIVE), {shown:?})"),
        format!("mount --rbind {shown} {shown}{and_enter}"),
        |root| {
            let tree = clone_tree(&root.directory, true).map_err(|error| {
                let hint = pk::not_root(error.errno());
                error.hint(hint)
            })?;
            root.cover(tree)
        },
    );
}

/// An image may hold device files, and its maker chose which ones. `mount_setattr(2)`.
pub fn add_no_devices(shown: &str, steps: &mut Steps<Root>) {
    steps.add(
        "a device file that came with the image opens no device: those of PROG are in /dev",
        format!("mount_setattr({shown:?}, {{attr_set=MOUNT_ATTR_NODEV}})"),
        format!("mount -o remount,bind,nodev {shown}"),
        |root| sys::mount_setattr(&root.directory, MountAttrFlags::MOUNT_ATTR_NODEV, false),
    );
}

/// After everything has been mounted, because making a mount point is a write.
pub fn add_read_only(shown: &str, steps: &mut Steps<Root>) {
    steps.add(
        "last, because the mount points had to be made",
        format!("mount_setattr({shown:?}, {{attr_set=MOUNT_ATTR_RDONLY}})"),
        format!("mount -o remount,bind,ro {shown}"),
        |root| sys::mount_setattr(&root.directory, MountAttrFlags::MOUNT_ATTR_RDONLY, false),
    );
}

/// At the very end: a change that comes after it is one that PROG will see as well.
pub fn add_verification(shown: &str, steps: &mut Steps<Root>) {
    steps.add(
        "whoever else may write to ROOT has not put something else in their place",
        format!("statx(\"{shown}/proc\" and what else was mounted, STATX_MNT_ID)"),
        format!("findmnt -no ID {shown}/proc"),
        |root| root.check_mounted(),
    );
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).attempt(format_args!("open({path:?}, O_DIRECTORY)"))
}

/// What tells a file in one mount from all others: the mount's number and the inode.
fn place(file: impl AsFd) -> rustix::io::Result<(u64, u64)> {
    let status = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | StatxFlags::INO)?;
    Ok((status.stx_mnt_id, status.stx_ino))
}

fn open_inside(
    directory: &OwnedFd,
    path: &str,
    flags: OFlag,
    links: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | links;
    openat2(directory, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

/// The rest of a path below a mount point.
fn strip_mount_point<'a>(path: &'a str, point: &str) -> Option<&'a str> {
    match path.strip_prefix(point)? {
        "" => Some("."),
        rest => rest.strip_prefix('/'),
    }
}

/// A copy of the mount at `from`, attached nowhere yet.
pub fn clone_tree(from: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    let recurse = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(from, "", flags | OpenTreeFlags::AT_EMPTY_PATH | recurse)?)
}

/// Attaches a detached mount on what a descriptor stands for.
pub fn attach(mount: impl AsFd, on: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", on, "", flags)?)
}

/// Modes of what is made are meant as they stand; PROG gets the umask as it was.
pub fn without_umask<T>(make: impl FnOnce() -> T) -> T {
    let before = umask(Mode::empty());
    let result = make();
    umask(before);
    result
}

/// The parent of a path, and its last name.
fn split(path: &str) -> (&str, &str) {
    let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or((".", path));
    (if parent.is_empty() { "/" } else { parent }, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_parent_and_a_name() {
        let table = [
            ("/proc", ("/", "proc")),
            ("proc", (".", "proc")),
            ("/a/b/", ("/a", "b")),
            ("a/b/c", ("a/b", "c")),
        ];
        for (path, expected) in table {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_below_a_mount_point_has_a_rest() {
        assert_eq!(strip_mount_point("/proc/sys/fs", "/proc"), Some("sys/fs"));
        assert_eq!(strip_mount_point("/proc", "/proc"), Some("."));
        assert_eq!(strip_mount_point("/process", "/proc"), None);
        assert_eq!(strip_mount_point("/sys", "/proc"), None);
    }
}
