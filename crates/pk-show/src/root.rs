//! The root directory of a process and the mount that it is on; its working directory.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::mounts;
use crate::process::Process;
use crate::text::printable;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use serde::{Deserialize, Serialize};

/// The root directory.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Root {
    /// Where it is, seen from who asks: `/` of oneself, another path after a `chroot(2)`.
    pub path: String,
    pub inode: u64,
    /// The device of its file system, `MAJOR:MINOR`.
    pub device: String,
    /// Whether it is the top of a mount. A directory that is none has been entered by `chroot(2)`,
    /// and is no boundary.
    pub is_mount: Option<bool>,
    pub filesystem: Option<String>,
    pub source: Option<String>,
}

pub fn read(process: &Process) -> Answer<Root> {
    let read = || -> Result<Root, Unknown> {
        let (file, path) = if process.is_own {
            (statx(CWD, "/", AtFlags::empty(), StatxFlags::BASIC_STATS)?, b"/".to_vec())
        } else {
            let directory = process.directory()?;
            let link = process.link("root")?;
            (statx(directory, "root", AtFlags::empty(), StatxFlags::BASIC_STATS)?, link)
        };
        let knows = file.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
        let is_mount = knows.then(|| file.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        let mounts = mounts::table(process).unwrap_or_default();
        // Of several on one point, the last one is seen.
        let mount = mounts.iter().rfind(|mount| mount.point == b"/");
        let mount = mount.map(mounts::Mount::from);
        Ok(Root {
            path: printable(&path),
            inode: file.stx_ino,
            device: format!("{}:{}", file.stx_dev_major, file.stx_dev_minor),
            is_mount,
            filesystem: mount.as_ref().map(|mount| mount.filesystem.clone()),
            source: mount.as_ref().map(mounts::Mount::origin),
        })
    };
    read().into()
}

/// The working directory, as a path from its root on.
pub fn directory(process: &Process) -> Answer<String> {
    let read = || -> Result<String, Unknown> {
        if process.is_own {
            return Ok(printable(&rustix::process::getcwd(Vec::new())?.into_bytes()));
        }
        let (root, directory) = (process.link("root")?, process.link("cwd")?);
        let inside = directory.strip_prefix(&root[..]).filter(|_| root != b"/");
        let inside = inside.filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        Ok(match inside {
            Some(b"") => "/".to_owned(),
            inside => printable(inside.unwrap_or(&directory)),
        })
    };
    read().into()
}

impl Answer<Root> {
    pub fn facts(&self) -> Vec<Fact> {
        vec![Fact::of(Topic::Root, "", self.as_ref(), Root::text)]
    }
}

/// What is said of a root that is no boundary.
pub const CHROOT: &str = "a directory that is no mount (chroot)";

impl Root {
    fn text(&self) -> String {
        let Self { inode, device, .. } = self;
        match (&self.filesystem, &self.source, self.is_mount) {
            (_, _, Some(false)) => {
                format!("{CHROOT}: inode {inode} of device {device}")
            }
            (Some(filesystem), Some(source), _) => format!("{filesystem} {source}"),
            _ => format!("a mount: inode {inode} of device {device}"),
        }
    }
}
