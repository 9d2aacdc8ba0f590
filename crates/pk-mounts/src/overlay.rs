//! Layers put over each other: the kernel's documentation, filesystems/overlayfs.
//!
//! The directories are handed over as descriptors. So they are those that were looked at, whatever
//! is in their names, and there may be more of them than one page of options has room for.

use crate::filesystem::said;
use crate::root::Root;
use crate::source;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use pk::{Attempt, Error, Result, Steps, in_initial_user_namespace, quote};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What `mount(2)` takes as options, with the NUL at their end.
const PAGE: usize = 4096;

/// The file system to be.
pub struct Overlay {
    /// The topmost first.
    lower: Vec<Directory>,
    /// Where changes go, and the work directory beside it.
    upper: Option<(Directory, Directory)>,
    /// Whiteouts and opaque directories are marked in `user.*`, `trusted.*` being root's.
    userxattr: bool,
}

struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
}

/// The overlay that the options describe, if any; its directories must be there.
pub fn settle(
    lower: Option<String>,
    upper: Option<String>,
    work: Option<String>,
) -> Result<Option<Overlay>> {
    let Some(lower) = lower else {
        let lonely = upper.or(work).map(|_| Error::usage("--upper, --work", "need --overlay"));
        return lonely.map_or(Ok(None), Err);
    };
    let lower = split(&lower).into_iter().map(Directory::open).collect::<Result<Vec<_>>>()?;
    let upper = match (upper, work) {
        (Some(upper), Some(work)) => Some((Directory::open(upper)?, Directory::open(work)?)),
        (None, None) if lower.len() < 2 => {
            return Err(Error::usage("--overlay", "one layer alone is not an overlay").hint(
                "add --upper DIR --work DIR, or use the layer as ROOT with --read-only".to_owned(),
            ));
        }
        (None, None) => None,
        _ => return Err(Error::usage("--upper, --work", "go together")),
    };
    Ok(Some(Overlay { lower, upper, userxattr: !in_initial_user_namespace() }))
}

/// The layers of `LOWER[:LOWER...]`. A backslash takes a colon, or another one, as it is: as
/// overlayfs has it.
fn split(text: &str) -> Vec<String> {
    let mut layers = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let (layer, next) = match character {
            ':' => {
                layers.push(String::new());
                continue;
            }
            '\\' => (layers.last_mut(), characters.next()),
            character => (layers.last_mut(), Some(character)),
        };
        layer.expect("there is one from the start").extend(next);
    }
    layers
}

/// What separates layers and options, in a path.
fn escaped(path: &Path) -> String {
    let text = path.display().to_string();
    text.replace('\\', r"\\").replace(':', r"\:").replace(',', r"\,")
}

impl Directory {
    fn open(path: String) -> Result<Self> {
        let path = PathBuf::from(path);
        let descriptor = source::open_directory(&path)?;
        Ok(Self { path, descriptor })
    }

    /// A path that has neither length nor separators.
    fn by_descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.descriptor.as_raw_fd())
    }
}

impl Overlay {
    pub fn add_mount(self, root: &str, and_enter: &str, steps: &mut Steps<Root>) {
        let options = self.options(|directory| escaped(&directory.path));
        steps.add(
            "layers read from top to bottom; what is changed is written to the upper directory",
            format!("move_mount(fsmount(\"overlay\", {options:?}), {root:?})"),
            format!("mount -t overlay -o {} overlay {root}{and_enter}", quote(&options)),
            move |root| match self.create()? {
                Some(mount) => root.cover(mount),
                None => self.mount_by_options(root),
            },
        );
    }

    /// Makes the file system, if this kernel takes layers as descriptors: from Linux 6.13 on.
    fn create(&self) -> Result<Option<OwnedFd>> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let explained = |errno| Error::from(errno).hint(said(&context));
        fsconfig_set_string(&context, "source", "overlay")?;
        for (index, directory) in self.lower.iter().enumerate() {
            match fsconfig_set_fd(&context, "lowerdir+", &directory.descriptor) {
                // EOPNOTSUPP before Linux 6.5, when overlayfs had nothing but mount(2)'s options.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) if index == 0 => {
                    return Ok(None);
                }
                result => result.map_err(explained).attempt(format_args!(
                    "fsconfig(FSCONFIG_SET_FD, \"lowerdir+\", {:?})",
                    directory.path
                ))?,
            }
        }
        let configure = || {
            if let Some((upper, work)) = &self.upper {
                fsconfig_set_fd(&context, "upperdir", &upper.descriptor)?;
                fsconfig_set_fd(&context, "workdir", &work.descriptor)?;
            }
            if self.userxattr {
                fsconfig_set_flag(&context, "userxattr")?;
            }
            fsconfig_create(&context)
        };
        configure().map_err(explained)?;
        Ok(Some(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?))
    }

    /// The same in one page of options.
    fn mount_by_options(&self, root: &mut Root) -> Result<()> {
        let mut options = self.options(|directory| escaped(&directory.path));
        if options.len() >= PAGE {
            options = self.options(Directory::by_descriptor);
        }
        if options.len() >= PAGE {
            let reason = format!("{} layers are more than fit into one page", self.lower.len());
            return Err(Error::new("mount(\"overlay\")", reason)
                .hint("from Linux 6.13 on there is no such limit".to_owned()));
        }
        let on = root.on_host();
        let overlay = Some("overlay");
        mount(overlay, on, overlay, MsFlags::empty(), Some(options.as_str()))
            .map_err(|errno| match errno {
                Errno::EINVAL => Error::from(errno).hint(
                    "the kernel's log (dmesg) says what is wrong with which layer".to_owned(),
                ),
                errno => errno.into(),
            })
            .attempt(format_args!("mount(\"overlay\", {on:?}, {options:?})"))?;
        root.reopen()
    }

    fn options(&self, name: impl Fn(&Directory) -> String) -> String {
        let lower: Vec<String> = self.lower.iter().map(&name).collect();
        let mut options = format!("lowerdir={}", lower.join(":"));
        if let Some((upper, work)) = &self.upper {
            let _ = write!(options, ",upperdir={},workdir={}", name(upper), name(work));
        }
        if self.userxattr {
            options += ",userxattr";
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(lower: &str, upper: Option<&str>, work: Option<&str>) -> Option<String> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let overlay = settle(Some(lower.to_owned()), own(upper), own(work)).ok()??;
        Some(overlay.options(|directory| escaped(&directory.path)))
    }

    #[test]
    fn layers_and_directories_become_options() {
        let with_upper = options("/usr:/etc", Some("/tmp"), Some("/var")).unwrap();
        assert!(with_upper.starts_with("lowerdir=/usr:/etc,upperdir=/tmp,workdir=/var"));
        assert!(options("/usr:/etc", None, None).unwrap().starts_with("lowerdir=/usr:/etc"));
        assert_eq!(options("/usr", None, None), None, "one layer");
        assert_eq!(options("/usr:/nonexistent", None, None), None, "a missing layer");
        assert_eq!(options("/usr:/etc/passwd", None, None), None, "a file");
        assert_eq!(options("/usr:/etc", Some("/tmp"), None), None, "no work directory");
        assert!(settle(None, Some("/tmp".to_owned()), None).is_err());
        assert!(settle(None, None, None).unwrap().is_none());
    }

    #[test]
    fn a_backslash_takes_separators_as_they_are() {
        assert_eq!(split(r"a:b\:c:d\\:e,f"), ["a", "b:c", r"d\", "e,f"]);
        assert_eq!(split(""), [""]);
        assert_eq!(escaped(Path::new(r"a,b:c\d")), r"a\,b\:c\\d");
        assert_eq!(split(&escaped(Path::new(r"a,b:c\d"))), [r"a,b:c\d"]);
    }
}
