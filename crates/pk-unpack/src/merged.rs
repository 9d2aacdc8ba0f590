//! The root of a layer in the making, together with what its lower layers show: names are looked
//! up in both, and what has to be written to is copied up first.

use crate::copy_up::{copy_up, metadata};
use crate::inode::Lost;
use crate::lower::{Found, is_whiteout, names_of};
use crate::root::{Directory, MOST_LINKS, Root};
use pk::{Attempt, Error, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, Stat, linkat, makedev, mkdirat, mknodat, readlinkat, statat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What there is under a name.
pub enum Seen {
    /// Nothing, or a whiteout.
    Nothing,
    /// The layer itself holds it.
    Here(Box<Stat>),
    /// The lower layers show it.
    Below(Found),
}

impl Root {
    /// What is seen of `name` in the directory with the real path `above`.
    pub fn look(&self, above: &Path, name: &OsStr) -> Result<Seen> {
        let path = above.join(name);
        match statat(&self.top, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if self.lower.is_some() && is_whiteout(&stat) => return Ok(Seen::Nothing),
            Ok(stat) => return Ok(Seen::Here(Box::new(stat))),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).attempt(format_args!("fstatat({path:?})")),
        }
        let found = self.lower.as_ref().map(|lower| lower.find(above, name)).transpose()?;
        Ok(found.flatten().map_or(Seen::Nothing, Seen::Below))
    }

    /// Where the symlink points to that was seen at `path`, if it is one.
    pub fn target(&self, seen: &Seen, path: &Path) -> Result<Option<PathBuf>> {
        if kind(seen) != Some(FileType::Symlink) {
            return Ok(None);
        }
        let target = match (seen, &self.lower) {
            (Seen::Below(found), Some(lower)) => {
                readlinkat(lower.layer(found.layers[0]), path, Vec::new())
            }
            _ => readlinkat(&self.top, path, Vec::new()),
        };
        let target = target.attempt(format_args!("readlinkat({path:?})"))?;
        Ok(Some(OsStr::from_bytes(target.as_bytes()).into()))
    }

    /// The real path of the directory that `path` leads to, through symlinks of this layer and of
    /// lower ones. The kernel sees one layer at a time, so the walk is our own. All directories on
    /// the way are there afterwards.
    pub fn walk(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        let mut left: Vec<OsString> = parts(path);
        let (mut real, mut links) = (PathBuf::new(), 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let seen = self.look(&real, &name)?;
            let below = real.join(&name);
            if let Some(target) = self.target(&seen, &below)? {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP).attempt(format_args!("openat2({path:?})"));
                }
                if target.is_absolute() {
                    real.clear();
                }
                left.extend(parts(&target));
            } else if kind(&seen) == Some(FileType::Directory) {
                if let Seen::Below(found) = seen {
                    self.copy_up_directory(&below, found)?;
                }
                real = below;
            } else {
                return Ok(None);
            }
        }
        Ok(Some(real))
    }

    /// To be called when the directory `name` was made: it shows what lower layers hold there,
    /// unless it took the place of something that hid them.
    pub fn merge(&mut self, above: &Directory, name: &OsStr, replaced: bool) -> Result<()> {
        let Some(lower) = &mut self.lower else { return Ok(()) };
        let found = lower.find(&above.path, name)?;
        let Some(found) = found.filter(|found| found.kind == FileType::Directory) else {
            return Ok(());
        };
        let path = above.path.join(name);
        if replaced {
            return lower.make_opaque(above.open(name).attempt("openat")?, &path);
        }
        lower.merge(path, found.layers);
        Ok(())
    }

    /// Hides what lower layers hold in a directory. Returns the names that have to be hidden one
    /// by one: those in the root, where overlayfs does not look for the mark.
    pub fn make_opaque(&mut self, directory: &Directory) -> Result<Vec<OsString>> {
        let Some(lower) = &mut self.lower else { return Ok(Vec::new()) };
        if directory.path.as_os_str().is_empty() {
            return lower.root_names().attempt("getdents64");
        }
        if lower.is_merged(&directory.path) {
            lower.make_opaque(directory, &directory.path)?;
        }
        Ok(Vec::new())
    }

    /// Makes a whiteout, if there is something to hide.
    pub fn white_out(&self, above: &Directory, name: &OsStr) -> Result<()> {
        let Some(lower) = &self.lower else { return Ok(()) };
        if lower.find(&above.path, name)?.is_none() {
            return Ok(());
        }
        let device = makedev(0, 0);
        let made = mknodat(above, name, FileType::CharacterDevice, Mode::empty(), device);
        made.attempt(format_args!("mknodat({name:?}, S_IFCHR, 0:0)"))
    }

    /// Sees to it that a file which is about to get another name is in this layer, with all the
    /// names that it has: no hard link leads from one layer to another.
    pub fn bring_up(&mut self, above: &Directory, name: &OsStr, lost: &mut Lost) -> Result<()> {
        let found = match self.look(&above.path, name)? {
            Seen::Nothing => return Err(Error::from(Errno::NOENT)),
            Seen::Below(found) if found.kind != FileType::Directory => found,
            _ => return Ok(()),
        };
        let Some(lower) = &self.lower else { return Ok(()) };
        let path = above.path.join(name);
        let layer = lower.layer(found.layers[0]);
        copy_up(layer, &self.top, &path, lost)?;
        let stat = statat(layer, &path, AtFlags::SYMLINK_NOFOLLOW).attempt("fstatat")?;
        if stat.st_nlink == 1 {
            return Ok(());
        }
        for other in names_of(layer, &stat).attempt("getdents64")? {
            let (Some(above), Some(name)) = (other.parent(), other.file_name()) else { continue };
            if self.walk(above)?.as_deref() != Some(above) {
                continue;
            }
            if let Seen::Below(shown) = self.look(above, name)?
                && shown.layers[0] == found.layers[0]
            {
                let linked = linkat(&self.top, &path, &self.top, &other, AtFlags::empty());
                linked.attempt(format_args!("linkat({other:?})"))?;
            }
        }
        Ok(())
    }

    fn copy_up_directory(&mut self, path: &Path, found: Found) -> Result<()> {
        let Some(lower) = &mut self.lower else { return Ok(()) };
        let layer = lower.layer(found.layers[0]);
        let stat = statat(layer, path, AtFlags::SYMLINK_NOFOLLOW).attempt("fstatat")?;
        let metadata = metadata(layer, path, &stat)?;
        mkdirat(&self.top, path, Mode::RWXU).attempt(format_args!("mkdirat({path:?})"))?;
        lower.copied_up(path.to_owned(), found.layers, metadata);
        Ok(())
    }
}

fn kind(seen: &Seen) -> Option<FileType> {
    match seen {
        Seen::Nothing => None,
        Seen::Here(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
        Seen::Below(found) => Some(found.kind),
    }
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.collect()
}
