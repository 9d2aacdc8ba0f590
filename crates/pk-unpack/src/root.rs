//! Directories inside the root: every path is resolved by the kernel, as if the root were `/`.

use crate::held::Held;
use crate::lower::Lower;
use crate::merged::Seen;
use pk::{Attempt, Error, Result};
use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat, unlinkat,
};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// A root filesystem in the making, or one layer of it.
pub struct Root {
    pub top: Rc<Directory>,
    /// The path that was resolved last: most entries lie where the one before lies.
    recent: Option<(PathBuf, Rc<Directory>)>,
    /// What shows through where a layer of its own is made.
    pub lower: Option<Lower>,
    /// Symlinks of the layer in hand that point out of the root, by their real paths.
    planted: HashSet<PathBuf>,
}

/// A directory inside the root.
pub struct Directory {
    fd: OwnedFd,
    /// Its path from the root, with no symlink in it, so that it has no other.
    pub path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const PLAIN: ResolveFlags = INSIDE.union(ResolveFlags::NO_SYMLINKS);
/// Dangling symlinks in a path, as many as the kernel follows of them.
pub const MOST_LINKS: u32 = 40;

impl Root {
    /// The root that `top` is open at, over `lower` if it is a layer of its own.
    pub fn new(top: BorrowedFd, lower: Option<Lower>) -> Result<Self> {
        let fd = top.try_clone_to_owned().attempt("dup")?;
        let top = Rc::new(Directory { fd, path: PathBuf::new() });
        Ok(Self { top, recent: None, lower, planted: HashSet::new() })
    }

    /// From now on what is planted counts for another layer: what a lower one holds is followed.
    pub fn begin_layer(&mut self) {
        self.planted.clear();
    }

    /// Notes a symlink through which this layer must not write.
    pub fn plant(&mut self, path: PathBuf) {
        self.planted.insert(path);
    }

    /// The directory at `path`, through symlinks inside the root, if there is one.
    pub fn directory(&mut self, path: &Path) -> Result<Option<Rc<Directory>>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(Rc::clone(&self.top)));
        }
        if let Some((_, directory)) = self.recent.as_ref().filter(|(recent, _)| recent == path) {
            return Ok(Some(Rc::clone(directory)));
        }
        // With `..` in it, as a symlink may bring one, a path is not the only one.
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let opened = if is_plain { open_inside(&self.top, path, PLAIN) } else { Err(Errno::LOOP) };
        let directory = match opened {
            Ok(fd) => Directory { fd, path: path.to_owned() },
            Err(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) if self.lower.is_some() => {
                if errno == Errno::LOOP {
                    self.refuse_planted(path)?;
                }
                let Some(real) = self.walk(path)? else { return Ok(None) };
                let fd = self.reopen(&real).attempt(format_args!("openat2({path:?})"))?;
                Directory { fd, path: real }
            }
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::LOOP) => {
                self.refuse_planted(path)?;
                match open_inside(&self.top, path, INSIDE) {
                    Ok(fd) => Directory { path: self.real_path(&fd)?, fd },
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                    Err(errno) => return Err(errno).attempt(format_args!("openat2({path:?})")),
                }
            }
            Err(errno) => return Err(errno).attempt(format_args!("openat2({path:?})")),
        };
        let directory = Rc::new(directory);
        self.recent = Some((path.to_owned(), Rc::clone(&directory)));
        Ok(Some(directory))
    }

    /// The directory at `path`. Where it is missing, or is a file that the layer has not `held`, it
    /// is made, and `made` is told of each one.
    pub fn make_directory(
        &mut self,
        path: &Path,
        held: &Held,
        made: &mut impl FnMut(PathBuf) -> Result<()>,
    ) -> Result<Rc<Directory>> {
        self.make(path, held, made, MOST_LINKS)
    }

    /// The directory at `path`, which was made before and leads through no symlink.
    pub fn reopen(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        open_inside(&self.top, path, PLAIN)
    }

    /// Forgets what was resolved, because what is at the real path `path` is about to go.
    pub fn forget(&mut self, path: &Path) {
        self.recent = None;
        self.planted.retain(|planted| !planted.starts_with(path));
    }

    fn make(
        &mut self,
        path: &Path,
        held: &Held,
        made: &mut impl FnMut(PathBuf) -> Result<()>,
        links: u32,
    ) -> Result<Rc<Directory>> {
        if let Some(directory) = self.directory(path)? {
            return Ok(directory);
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::from(Errno::NOENT).attempting(format_args!("mkdirat({path:?})")));
        };
        let above = self.make(above, held, made, links)?;
        let seen = self.look(&above.path, name)?;
        // A symlink to where nothing is: what it points to is made.
        if let Some(target) = self.target(&seen, &above.path.join(name))? {
            if links == 0 {
                return Err(Errno::LOOP).attempt(format_args!("openat2({path:?})"));
            }
            let target = above.path.join(target);
            return self.make(target.strip_prefix("/").unwrap_or(&target), held, made, links - 1);
        }
        if !matches!(seen, Seen::Nothing) && held.contains(&above.path.join(name)) {
            return Err(Errno::NOTDIR).attempt(format_args!("openat2({path:?})"));
        }
        // There may be a file of a lower layer, which gives way; or, in a layer of its own, a
        // whiteout, which is not seen.
        let may_be_there = !matches!(seen, Seen::Nothing) || self.lower.is_some();
        let replaced = may_be_there && unlinkat(&above, name, AtFlags::empty()).is_ok();
        mkdirat(&above, name, Mode::RWXU).attempt(format_args!("mkdirat({path:?})"))?;
        self.merge(&above, name, replaced)?;
        made(above.path.join(name))?;
        let directory = Rc::new(above.open(name).attempt("openat")?);
        self.recent = Some((path.to_owned(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// Refuses a path that leads through what this layer planted. The kernel would stay inside the
    /// root, so this need not resolve the path as safely as it does, only to the same end.
    fn refuse_planted(&self, path: &Path) -> Result<()> {
        if self.planted.is_empty() {
            return Ok(());
        }
        let mut left = vec![path.to_owned()];
        let (mut real, mut links) = (PathBuf::new(), 0);
        while let Some(path) = left.pop() {
            let mut parts = path.components();
            let Some(part) = parts.next() else { continue };
            left.push(parts.as_path().to_owned());
            match part {
                Component::Normal(name) => real.push(name),
                Component::ParentDir => drop(real.pop()),
                Component::RootDir => real.clear(),
                Component::CurDir | Component::Prefix(_) => {}
            }
            if self.planted.contains(&real) {
                let reason = "leads through a symlink of this layer that points out of the root";
                return Err(Error::new("", format!("{reason}: {real:?}")));
            }
            if let Some(target) = self.link_target(&real) {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                real.pop();
                left.push(target);
            }
        }
        Ok(())
    }

    /// What a symlink points to; `None` if it is none.
    fn link_target(&self, path: &Path) -> Option<PathBuf> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = openat2(&self.top, path, flags, Mode::empty(), PLAIN).ok()?;
        let target = readlinkat(link, "", Vec::new()).ok()?;
        Some(OsStr::from_bytes(target.as_bytes()).into())
    }

    /// Where a directory lies that was reached through symlinks: `..` by `..` to the top would
    /// need a search for each name, so the kernel is asked.
    fn real_path(&self, fd: &OwnedFd) -> Result<PathBuf> {
        let of = |fd: BorrowedFd| {
            let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            std::fs::read_link(&link).attempt(format_args!("readlink({link:?})"))
        };
        let (top, path) = (of(self.top.as_fd())?, of(fd.as_fd())?);
        let below = path.strip_prefix(&top).map(Path::to_owned);
        below
            .map_err(|_| Error::new(format_args!("readlink({path:?})"), "lies outside of the root"))
    }
}

impl Directory {
    /// The directory `name` in this one, which must not be a symlink.
    pub fn open(&self, name: &OsStr) -> rustix::io::Result<Self> {
        let fd = openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: self.path.join(name) })
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open_inside(top: &Directory, path: &Path, how: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    loop {
        // EAGAIN: something was renamed meanwhile, so that the kernel cannot tell where a `..` of
        // a symlink led. openat2(2).
        match openat2(top, path, DIRECTORY, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}
