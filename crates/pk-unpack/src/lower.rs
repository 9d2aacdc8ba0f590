//! The layers below the one that is being made, seen together as overlayfs shows them: the
//! kernel's documentation, filesystems/overlayfs.
//!
//! A layer is not its tar alone. Where an entry goes depends on the symlinks below it, what an
//! implied directory is like on the directory below it, and a hard link may name a file below it.
//! There are two ways to know. To mount the lower layers with the new one as `upperdir`, and to
//! write through the mount: then the kernel does all of it, but only where the caller may mount,
//! on filesystems that can be an upper one, for as many layers as fit into a page. Or to look each
//! name up in the layers, the topmost first, and to copy up what has to be written to, as the
//! kernel would. This is the second one: it needs no privilege and works wherever files can be
//! made, and a layer is whole with its last file.

use crate::metadata::Metadata;
use crate::{copy_up, removal};
use pk::{Attempt, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, XattrFlags, fsetxattr, lgetxattr, makedev, openat,
    statat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// In which attributes overlayfs keeps its marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Marks {
    /// `trusted.*`, which only root of the initial user namespace can set or see.
    Trusted,
    /// `user.*`, for mounts with `userxattr`, as all in a user namespace are.
    User,
}

impl Marks {
    /// The extended attribute of a directory that hides those below it.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// The lower layers of one that is being made. Paths are real ones, from the root.
pub struct Lower {
    marks: Marks,
    /// The topmost first.
    layers: Vec<OwnedFd>,
    /// The directories of the new layer that show more than they hold, with the lower layers
    /// that they show, the topmost first.
    merged: HashMap<PathBuf, Vec<usize>>,
    /// What directories that were copied up are to be given at the end.
    copied: BTreeMap<PathBuf, Metadata>,
}

/// What the lower layers show under a name.
pub struct Found {
    pub kind: FileType,
    /// The layer that holds it; of a directory all that are merged, the topmost first.
    pub layers: Vec<usize>,
}

impl Lower {
    /// The view over `layers`, the topmost first.
    pub fn new(layers: Vec<OwnedFd>, marks: Marks) -> Self {
        let merged = HashMap::from([(PathBuf::new(), (0..layers.len()).collect())]);
        Self { marks, layers, merged, copied: BTreeMap::new() }
    }

    /// What the new layer's directory `above` shows under `name` if it does not hold that itself.
    pub fn find(&self, above: &Path, name: &OsStr) -> Result<Option<Found>> {
        let path = above.join(name);
        let mut found: Option<Found> = None;
        for &layer in self.merged.get(above).into_iter().flatten() {
            let stat = match statat(&self.layers[layer], &path, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                result => result.attempt(format_args!("fstatat({path:?})"))?,
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            match &mut found {
                _ if is_whiteout(&stat) => break,
                None if kind != FileType::Directory => {
                    return Ok(Some(Found { kind, layers: vec![layer] }));
                }
                Some(_) if kind != FileType::Directory => break,
                None => found = Some(Found { kind, layers: vec![layer] }),
                Some(found) => found.layers.push(layer),
            }
            if self.is_opaque(layer, &path) {
                break;
            }
        }
        Ok(found)
    }

    /// Notes that the new layer's directory `path` shows these layers too.
    pub fn merge(&mut self, path: PathBuf, layers: Vec<usize>) {
        self.merged.insert(path, layers);
    }

    /// Hides what the lower layers hold in the new layer's directory `path`.
    pub fn make_opaque(&mut self, directory: impl AsFd, path: &Path) -> Result<()> {
        self.merged.remove(path);
        let name = self.marks.opaque();
        let set = fsetxattr(directory, name, b"y", XattrFlags::empty());
        set.attempt(format_args!("fsetxattr({name:?})"))
    }

    /// Whether the directory shows what it does not hold.
    pub fn is_merged(&self, path: &Path) -> bool {
        self.merged.contains_key(path)
    }

    /// Forgets a directory of the new layer, and those below it, because they are about to go.
    pub fn forget(&mut self, path: &Path) {
        self.merged.retain(|directory, _| !directory.starts_with(path));
        self.copied.retain(|directory, _| !directory.starts_with(path));
    }

    /// Notes a directory that was copied up, and what it is to be given at the end.
    pub fn copied_up(&mut self, path: PathBuf, layers: Vec<usize>, metadata: Metadata) {
        self.merged.insert(path.clone(), layers);
        self.copied.insert(path, metadata);
    }

    /// The directories that were copied up.
    pub fn take_copied(&mut self) -> BTreeMap<PathBuf, Metadata> {
        mem::take(&mut self.copied)
    }

    /// What the topmost layer's root is like: so is the new layer's, if it does not say it.
    pub fn root(&self) -> Option<Result<Metadata>> {
        let path = Path::new(".");
        let stat = |layer| statat(layer, path, AtFlags::empty()).attempt("fstatat");
        let first = self.layers.first()?;
        Some(stat(first).and_then(|stat| copy_up::metadata(first, path, &stat)))
    }

    /// The names in the lower layers' roots.
    pub fn root_names(&self) -> rustix::io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for layer in &self.layers {
            names.extend(removal::names(open_directory(layer, Path::new(""))?)?);
        }
        Ok(names)
    }

    /// A lower layer.
    pub fn layer(&self, index: usize) -> &OwnedFd {
        &self.layers[index]
    }

    fn is_opaque(&self, layer: usize, path: &Path) -> bool {
        // A directory that is open with O_PATH, or not at all, has no fgetxattr(2).
        let place = Path::new("/proc/self/fd").join(self.layers[layer].as_raw_fd().to_string());
        let mut value = [0; 1];
        lgetxattr(place.join(path), self.marks.opaque(), &mut value).is_ok() && value == *b"y"
    }
}

/// Whether it is overlayfs's whiteout, a character device 0:0. Everyone may make one, since Linux
/// 5.8, though no other device: a mount in a user namespace takes them too.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(0, 0)
}

/// Whether overlayfs would read its own marks in an attribute. In an image they are none of its
/// files' attributes: they would say where overlayfs is to look for other files.
pub fn is_mark(xattr: &[u8]) -> bool {
    xattr.starts_with(b"trusted.overlay.") || xattr.starts_with(b"user.overlay.")
}

/// All paths in a layer that are names of the inode `wanted`.
pub fn names_of(layer: &OwnedFd, wanted: &Stat) -> rustix::io::Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(path) = left.pop() {
        let directory = open_directory(layer, &path)?;
        for name in removal::names(&directory)? {
            let stat = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push(path.join(name));
            } else if stat.st_ino == wanted.st_ino {
                found.push(path.join(name));
            }
        }
    }
    Ok(found)
}

fn open_directory(layer: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(layer, path, flags, Mode::empty())
}
