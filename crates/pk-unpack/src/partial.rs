//! The partial directory, which becomes DIR at the end or vanishes: DIR is whole or absent.
//!
//! It lies beside DIR, so that one rename moves it there. Its lock tells a later run whether its
//! owner still lives.

use crate::removal;
use pk::{Attempt, Error, Result};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fremovexattr, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// DIR: where the tree is to be in the end.
#[derive(Clone, Debug)]
pub struct Target {
    /// The directory that it lies in, without symlinks.
    pub parent: PathBuf,
    name: OsString,
}

impl Target {
    /// Checks that DIR does not exist, or is an empty directory that can be replaced.
    pub fn check(operand: &OsStr) -> Result<Self> {
        let path = Path::new(operand);
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")));
                let parent = parent.attempt(format_args!("open({operand:?})"))?;
                let name = path.file_name().ok_or(Errno::NOENT);
                let path = parent.join(name.attempt(format_args!("open({operand:?})"))?);
                if path.is_symlink() {
                    return Err(Error::new(path.display(), "is a symlink to nowhere"));
                }
                path
            }
            Err(error) => return Err(error).attempt(format_args!("open({operand:?})")),
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new("/", "is not an empty directory"));
        };
        if path.exists() {
            let mut entries = fs::read_dir(&path).attempt(format_args!("open({operand:?})"))?;
            if entries.next().is_some() {
                return Err(Error::new(path.display(), "exists and is not empty"));
            }
            if std::env::current_dir().is_ok_and(|here| here == path) {
                let hint = "run it from the directory above".to_owned();
                let reason = "is the working directory, and would be replaced by another one";
                return Err(Error::new(path.display(), reason).hint(hint));
            }
            let device = |path| fs::metadata(path).map(|metadata| metadata.dev());
            if device(parent).attempt("stat")? != device(&path).attempt("stat")? {
                let hint = "name a directory that does not exist yet, inside of it".to_owned();
                let reason = "is a mount point, over which nothing can be renamed";
                return Err(Error::new(path.display(), reason).hint(hint));
            }
        }
        Ok(Self { parent: parent.to_owned(), name: name.to_owned() })
    }

    /// DIR without symlinks.
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// The partial directory as a shell pattern.
    pub fn pattern(&self) -> PathBuf {
        let mut name = self.prefix();
        name.push("?".repeat(LETTERS));
        self.parent.join(name)
    }

    /// Removes what runs left that were killed.
    pub fn remove_leftovers(&self) -> Result<()> {
        let names = openat(CWD, &self.parent, DIRECTORY, Mode::empty()).and_then(|parent| {
            let names = removal::names(&parent)?;
            Ok((parent, names))
        });
        let (parent, names) = names.attempt(format_args!("open({:?})", self.parent))?;
        let owner = geteuid().as_raw();
        let only_we_write =
            fstat(&parent).is_ok_and(|stat| stat.st_uid == owner && stat.st_mode & 0o022 == 0);
        let prefix = self.prefix();
        for name in names.iter().filter(|name| {
            let letters = name.as_bytes().strip_prefix(prefix.as_bytes()).unwrap_or_default();
            letters.len() == LETTERS && letters.iter().all(u8::is_ascii_alphanumeric)
        }) {
            let Ok(directory) = openat(&parent, name, DIRECTORY, Mode::empty()) else { continue };
            // Just before the rename it gets the owner of the image's root.
            let is_ours = only_we_write || fstat(&directory).is_ok_and(|stat| stat.st_uid == owner);
            let lock = flock(&directory, FlockOperation::NonBlockingLockExclusive);
            if is_ours && lock.is_ok() {
                removal::remove(&parent, name).attempt(format_args!("unlinkat({name:?})"))?;
            }
        }
        Ok(())
    }

    pub fn prefix(&self) -> OsString {
        let mut prefix = OsString::from(".");
        prefix.push(&self.name);
        prefix.push(".pk-");
        prefix
    }
}

/// The place of a partial directory, as long as there is one. Whoever holds the lock may remove it.
pub type Place = Arc<Mutex<Option<PathBuf>>>;

/// A partial directory. Dropped before it was renamed, it is removed.
pub struct Partial {
    directory: OwnedFd,
    place: Place,
}

/// How a directory is opened that is to be locked.
pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Random letters in the name.
const LETTERS: usize = 6;

impl Partial {
    /// Makes it beside `target`, and notes it in `place`.
    pub fn create(target: &Target, place: Place) -> Result<Self> {
        raise_limit()?;
        let prefix = target.prefix();
        loop {
            let mut noted = place.lock().unwrap_or_else(PoisonError::into_inner);
            let made = tempfile::Builder::new()
                .prefix(&prefix)
                .rand_bytes(LETTERS)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&target.parent)
                .attempt(format_args!("mkdir({:?})", target.pattern()))?;
            let directory = openat(CWD, made.path(), DIRECTORY, Mode::empty());
            let Ok(directory) = directory else { continue };
            flock(&directory, FlockOperation::LockExclusive).attempt("flock")?;
            // Before it was locked, another run may have taken it for a leftover.
            if fstat(&directory).attempt("fstat")?.st_nlink == 0 {
                continue;
            }
            *noted = Some(made.keep());
            drop(noted);
            return Ok(Self::locked(directory, place));
        }
    }

    /// The new directory that `place` names and that is locked.
    pub fn locked(directory: OwnedFd, place: Place) -> Self {
        // What the directory above passes on to all that is made in it is no part of the image.
        let _ = fremovexattr(&directory, "system.posix_acl_default");
        let _ = fremovexattr(&directory, "system.posix_acl_access");
        Self { directory, place }
    }

    /// Renames it to `path`, over an empty directory if there is one.
    pub fn rename(&self, path: &Path) -> Result<()> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(partial) = place.as_ref() else { return Ok(()) };
        fs::rename(partial, path)?;
        *place = None;
        Ok(())
    }
}

impl AsFd for Partial {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What cannot be removed stays for the next run, and the error that led here is told.
        let _ = remove_at(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Raises the limit of open descriptors: to remove a tree takes one for each level of it.
pub fn raise_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).attempt("setrlimit(RLIMIT_NOFILE)")
}

/// Removes the partial directory at `place`, if there is one.
pub fn remove_at(place: &mut Option<PathBuf>) -> rustix::io::Result<()> {
    place.take().map_or(Ok(()), |path| removal::remove(CWD, path.as_os_str()))
}
