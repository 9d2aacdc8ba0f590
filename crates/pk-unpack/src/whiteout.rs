//! Whiteouts: hiding what lower layers hold. OCI image specification, "Image Layer Filesystem
//! Changeset", "Whiteouts".

use crate::removal;
use crate::root::Directory;
use crate::tree::Tree;
use pk::{Attempt, Result};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;

impl Tree {
    /// Hides what lower layers hold at `path` and below.
    pub fn white_out(&mut self, path: &Path) -> Result<()> {
        let above = self.whited_out(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or_default();
        above.map_or(Ok(()), |above| self.hide(&above, name))
    }

    /// Hides what lower layers hold in the directory `path`.
    pub fn white_out_contents(&mut self, path: &Path) -> Result<()> {
        let directory = self.whited_out(path)?;
        directory.map_or(Ok(()), |directory| self.hide_contents(&directory))
    }

    fn hide(&mut self, above: &Directory, name: &OsStr) -> Result<()> {
        if !self.held.contains(&above.path.join(name)) {
            self.remove(above, name)?;
            return self.root.white_out(above, name);
        }
        match above.open(name) {
            Ok(directory) => self.hide_contents(&directory),
            // This layer has replaced it.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).attempt("openat"),
        }
    }

    fn hide_contents(&mut self, directory: &Directory) -> Result<()> {
        let alone = self.root.make_opaque(directory)?;
        for name in removal::names(directory).attempt("getdents64")?.into_iter().chain(alone) {
            self.hide(directory, &name)?;
        }
        Ok(())
    }

    /// The directory that a whiteout lies in; none if the lower layers' one is no longer there:
    /// nothing, a file, or a symlink of this layer has taken its place.
    fn whited_out(&mut self, path: &Path) -> Result<Option<Rc<Directory>>> {
        let directory = match self.root.directory(path) {
            // Symlinks that lead to each other lead to nothing.
            Err(error) if error.errno() == Some(nix::errno::Errno::ELOOP) => None,
            directory => directory?,
        };
        let Some(directory) = directory else { return Ok(None) };
        if directory.path == path {
            return Ok(Some(directory));
        }
        for part in path.ancestors() {
            let (Some(above), Some(name)) = (part.parent(), part.file_name()) else { break };
            let Some(above) = self.root.directory(above)? else { return Ok(None) };
            let is_symlink = || above.open(name).is_err();
            if self.held.contains(&above.path.join(name)) && is_symlink() {
                return Ok(None);
            }
        }
        Ok(Some(directory))
    }
}
