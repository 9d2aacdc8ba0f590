//! The tree that layers are applied to: each entry becomes a file, each whiteout hides some. OCI
//! image specification, "Image Layer Filesystem Changeset", "Applying Changesets".

use crate::entry::{Entries, Entry, Kind, Skip};
use crate::held::Held;
use crate::inode::{self, Inherited, Lost};
use crate::limits::Limits;
use crate::lower::Lower;
use crate::metadata::Metadata;
use crate::name::{Named, inside};
use crate::removal;
use crate::root::{Directory, Root};
use crate::sparse::Segment;
use crate::symlink::points_out;
use pk::{Attempt, Error, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat, readlinkat, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A root filesystem in the making. Paths in it are real ones, from its root.
pub struct Tree {
    pub root: Root,
    /// What directories are to be given at the end: until then they must stay writable, whatever
    /// their mode, and files made in them would change their times.
    directories: BTreeMap<PathBuf, Metadata>,
    /// What the layer that is being applied holds: its whiteouts, which may come later, hide only
    /// what lower layers hold.
    pub held: Held,
    inherited: Inherited,
    limits: Limits,
    lost: Lost,
}

impl Tree {
    /// An empty tree, in the empty directory `top`, which this process made.
    pub fn new(top: BorrowedFd) -> Result<Self> {
        Self::over(top, None, unstated())
    }

    /// An empty tree for one layer alone, in the form of overlayfs, over those below it.
    pub fn layer(top: BorrowedFd, lower: Lower) -> Result<Self> {
        let root = lower.root().transpose()?.unwrap_or_else(unstated);
        Self::over(top, Some(lower), root)
    }

    fn over(top: BorrowedFd, lower: Option<Lower>, root: Metadata) -> Result<Self> {
        Ok(Self {
            root: Root::new(top, lower)?,
            directories: BTreeMap::from([(PathBuf::new(), root)]),
            held: Held::default(),
            inherited: Inherited::below(top)?,
            limits: Limits::default(),
            lost: Lost::default(),
        })
    }

    /// The same, with limits to what is written.
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What may still be written.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Applies a layer, which errors call `layer`.
    pub fn apply(&mut self, layer: &str, tar: impl Skip) -> Result<()> {
        self.held = Held::default();
        self.root.begin_layer();
        let mut entries = Entries::new(tar);
        loop {
            let next = entries.next_entry();
            let next = next.attempt(format_args!("{layer}: entry at byte {}", entries.start()));
            let Some(entry) = next? else { break };
            let name = OsStr::from_bytes(&entry.path).to_owned();
            let applied = self.apply_entry(entry, &mut entries);
            applied.map_err(|error| error.within(format_args!("{layer}: {name:?}")))?;
        }
        entries.finish().attempt(layer)
    }

    /// Gives the directories what they are to have.
    pub fn finish(&mut self) -> Result<()> {
        for (path, metadata) in self.root.lower.iter_mut().flat_map(Lower::take_copied) {
            self.directories.entry(path).or_insert(metadata);
        }
        // The lowest first: the mode of one above might keep us out.
        for (path, metadata) in self.directories.iter().rev() {
            let set = |directory| inode::set(directory, metadata, &mut self.lost);
            let given = self.root.reopen(path).attempt("openat2").and_then(set);
            given.map_err(|error| error.within(format_args!("{path:?}")))?;
        }
        Ok(())
    }

    /// What could not be kept.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }

    fn apply_entry(&mut self, entry: Entry, entries: &mut Entries<impl Skip>) -> Result<()> {
        self.limits.entry()?;
        let xattrs = entry.metadata.xattrs.iter();
        self.limits.bytes(xattrs.map(|(name, value)| (name.len() + value.len()) as u64).sum())?;
        match Named::parse(&entry.path).map_err(refused)? {
            Named::Node(path) => self.put(&path, entry, entries),
            Named::Whiteout(path) => self.white_out(&path),
            Named::Opaque(path) => self.white_out_contents(&path),
            Named::Aufs => Ok(()),
        }
    }

    fn put(&mut self, path: &Path, entry: Entry, entries: &mut Entries<impl Skip>) -> Result<()> {
        let Entry { kind, mut metadata, .. } = entry;
        if self.root.lower.is_some() {
            self.lost.marks(&mut metadata.xattrs);
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            if kind != Kind::Directory {
                return Err(refused("the root itself can only be a directory"));
            }
            self.directories.insert(PathBuf::new(), metadata);
            return Ok(());
        };
        let (directories, limits) = (&mut self.directories, &mut self.limits);
        let mut made = |path| {
            directories.insert(path, unstated());
            limits.entry()
        };
        let above = self.root.make_directory(above, &self.held, &mut made)?;
        self.held.hold(&above.path.join(name));
        match kind {
            Kind::Directory => self.put_directory(&above, name, metadata),
            Kind::File { size, segments } => {
                let file = self.put_file(&above, name, &metadata)?;
                write(&file, size, &segments, entries, &mut self.limits)?;
                inode::set_new(&file, &metadata, &self.inherited, &mut self.lost)
            }
            Kind::HardLink(target) => self.put_hard_link(&above, name, &target),
            Kind::Symlink(target) => {
                let target = OsStr::from_bytes(&target);
                self.replacing(&above, name, "symlinkat", || symlinkat(target, &above, name))?;
                if points_out(&above.path, target.as_ref()) {
                    self.root.plant(above.path.join(name));
                }
                inode::set_unopened(above.as_fd(), name, &metadata, &mut self.lost)
            }
            Kind::Node(kind, major, minor) => {
                self.put_node(&above, name, kind, makedev(major, minor), &metadata)
            }
        }
    }

    fn put_directory(&mut self, above: &Directory, name: &OsStr, metadata: Metadata) -> Result<()> {
        let is_directory = || {
            let stat = statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        };
        let make = || mkdirat(above, name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) if is_directory() => {}
            Err(Errno::EXIST) => {
                self.replacing(above, name, "mkdirat", make)?;
                self.root.merge(above, name, true)?;
            }
            result => {
                result.attempt("mkdirat")?;
                self.root.merge(above, name, false)?;
            }
        }
        self.directories.insert(above.path.join(name), metadata);
        Ok(())
    }

    fn put_file(&mut self, above: &Directory, name: &OsStr, metadata: &Metadata) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = self.inherited.mode(metadata);
        let make = || openat(above, name, flags, mode);
        self.replacing(above, name, "openat", make).map(File::from)
    }

    fn put_hard_link(&mut self, above: &Directory, name: &OsStr, target: &[u8]) -> Result<()> {
        let call = || format!("linkat({:?})", OsStr::from_bytes(target));
        let path = inside(target).map_err(|reason| Error::new(call(), reason))?;
        let (Some(target_above), Some(target_name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(call(), "a directory cannot have two names"));
        };
        let target_above = self.root.directory(target_above)?;
        let target_above = target_above.ok_or(Errno::NOENT).attempt(call())?;
        if (&target_above.path, target_name) == (&above.path, name) {
            return Ok(());
        }
        self.root.bring_up(&target_above, target_name, &mut self.lost).attempt(call())?;
        let points_out = |link: CString| {
            points_out(&target_above.path, OsStr::from_bytes(link.as_bytes()).as_ref())
        };
        if readlinkat(&target_above, target_name, Vec::new()).is_ok_and(points_out) {
            return Err(Error::new(call(), "is a symlink that points out of the root"));
        }
        // A symlink gets another name itself: linkat(2) follows it only if asked to.
        let flags = AtFlags::empty();
        let make = || linkat(&target_above, target_name, above, name, flags);
        self.replacing(above, name, &call(), make)
    }

    fn put_node(
        &mut self,
        above: &Directory,
        name: &OsStr,
        kind: FileType,
        device: u64,
        metadata: &Metadata,
    ) -> Result<()> {
        // In a layer of its own it would be a whiteout.
        let is_whiteout = kind == FileType::CharacterDevice && device == makedev(0, 0);
        let is_refused = is_whiteout && self.root.lower.is_some();
        let make = || {
            if is_refused {
                return Err(Errno::PERM);
            }
            mknodat(above, name, kind, Mode::RUSR | Mode::WUSR, device)
        };
        match self.replacing(above, name, "mknodat", make) {
            Err(error) if error.errno() == Some(nix::errno::Errno::EPERM) => {
                self.lost.device();
                let file = self.put_file(above, name, metadata)?;
                inode::set_new(&file, metadata, &self.inherited, &mut self.lost)
            }
            result => {
                result?;
                inode::set_unopened(above.as_fd(), name, metadata, &mut self.lost)?;
                inode::set_mode_unopened(above.as_fd(), name, metadata.mode)
            }
        }
    }

    /// Makes something that must not be there; what is there gives way.
    fn replacing<T>(
        &mut self,
        above: &Directory,
        name: &OsStr,
        call: &str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.remove(above, name)?;
                make().attempt(call)
            }
            result => result.attempt(call),
        }
    }

    pub fn remove(&mut self, above: &Directory, name: &OsStr) -> Result<()> {
        let path = above.path.join(name);
        self.root.forget(&path);
        match unlinkat(above, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                self.directories.retain(|directory, _| !directory.starts_with(&path));
                self.root.lower.iter_mut().for_each(|lower| lower.forget(&path));
                removal::remove(above, name).attempt("unlinkat")
            }
            Err(Errno::NOENT) => Ok(()),
            result => result.attempt("unlinkat"),
        }
    }
}

fn write(
    file: &File,
    size: u64,
    segments: &[Segment],
    entries: &mut Entries<impl Skip>,
    limits: &mut Limits,
) -> Result<()> {
    let mut end = 0;
    for segment in segments {
        let mut at = segment.offset;
        end = at + segment.length;
        while at < end {
            let bytes = entries.contents()?;
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
            limits.bytes(length as u64)?;
            file.write_all_at(&bytes[..length], at).attempt("write")?;
            entries.consume(length);
            at += length as u64;
        }
    }
    // A hole at the end is not written.
    if end < size { file.set_len(size).attempt("ftruncate") } else { Ok(()) }
}

/// What a directory is given that no layer describes.
fn unstated() -> Metadata {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    Metadata { mode: 0o755, uid, gid, mtime: None, xattrs: Vec::new() }
}

fn refused(reason: &str) -> Error {
    Error::new("", reason)
}
