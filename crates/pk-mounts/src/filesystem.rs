//! New instances of file systems, made and configured before they are attached. `fsopen(2)`.

use crate::root::{Links, Root};
use pk::{Error, Result, Steps, quote};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::OwnedFd;

/// A file system to be: its type, its options as `mount -o` takes them, and its mount's flags.
#[derive(Clone, Debug)]
pub struct Filesystem {
    kind: &'static str,
    options: String,
    flags: MountAttrFlags,
}

pub const NOTHING_BUT_FILES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl Filesystem {
    pub fn new(kind: &'static str, options: impl Into<String>, flags: MountAttrFlags) -> Self {
        Self { kind, options: options.into(), flags }
    }

    /// A tmpfs for files of any kind but devices and setuid programs.
    pub fn tmpfs(options: impl Into<String>) -> Self {
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        Self::new("tmpfs", options, flags)
    }

    /// Makes the file system: a mount that is attached nowhere yet.
    pub fn create(&self) -> Result<OwnedFd> {
        let context = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        let configure = || {
            fsconfig_set_string(&context, "source", self.kind)?;
            for option in self.options.split(',').filter(|option| !option.is_empty()) {
                match option.split_once('=') {
                    Some((key, value)) => fsconfig_set_string(&context, key, value)?,
                    None => fsconfig_set_flag(&context, option)?,
                }
            }
            fsconfig_create(&context)
        };
        configure().map_err(|errno| Error::from(errno).hint(said(&context)))?;
        Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, self.flags)?)
    }

    /// Adds the step that mounts it on `path` inside ROOT.
    pub fn add_mount(self, path: &str, why: &'static str, root: &str, steps: &mut Steps<Root>) {
        self.add_mount_with(path, Links::InRoot, why, root, steps, |_| None);
    }

    /// The same with what to say about symbolic links and about refusals.
    pub fn add_mount_with(
        self,
        path: &str,
        links: Links,
        why: &'static str,
        root: &str,
        steps: &mut Steps<Root>,
        hint: impl FnOnce(&Error) -> Option<String> + 'static,
    ) {
        let (call, shell) = (self.call(root, path), self.shell(root, path));
        let path = path.to_owned();
        steps.add(why, call, shell, move |root| {
            let mount = self.create().map_err(|error| {
                let cause = hint(&error);
                error.hint(cause)
            })?;
            root.mount(mount, &path, links)
        });
    }

    /// What mounts it on `path` inside ROOT, as strace writes it.
    pub fn call(&self, root: &str, path: &str) -> String {
        let Self { kind, options, .. } = self;
        let flags = names(self.flags);
        let options = if options.is_empty() { String::new() } else { format!(", {options:?}") };
        format!("move_mount(fsmount({kind:?}{options}, {flags}), \"{root}{path}\")")
    }

    /// The command that does the same. An option `ro` would make the file system read-only, and
    /// not this mount of it alone.
    pub fn shell(&self, root: &str, path: &str) -> String {
        let Self { kind, options, flags } = self;
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
        let words = [words(*flags - read_only), options.clone()];
        let words: Vec<String> = words.into_iter().filter(|words| !words.is_empty()).collect();
        let on = format!("{root}{}", quote(path));
        let mount = format!("mount --mkdir -t {kind} -o {} {kind} {on}", quote(words.join(",")));
        let then = if flags.contains(read_only) {
            format!(" && mount -o remount,bind,ro {on}")
        } else {
            String::new()
        };
        mount + &then
    }
}

/// What went wrong, in the words that the kernel would have written to its log: a context keeps
/// them for who reads it.
pub fn said(context: &OwnedFd) -> Option<String> {
    let mut text = [0; 256];
    let length = rustix::io::read(context, &mut text).unwrap_or(0);
    let said = String::from_utf8_lossy(&text[..length]).trim().to_owned();
    said.strip_prefix("e ").map(|said| format!("the kernel says: {said}"))
}

/// The flags as strace writes them.
pub fn names(flags: MountAttrFlags) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

/// The flags as `mount -o` takes them.
pub fn words(flags: MountAttrFlags) -> String {
    let word = |(name, _): (&str, _)| {
        let word = name.trim_start_matches("MOUNT_ATTR_").to_lowercase();
        if word == "rdonly" { "ro".to_owned() } else { word }
    };
    flags.iter_names().map(word).collect::<Vec<_>>().join(",")
}

/// The flag that an option of `mount -o` sets.
pub fn flag(word: &str) -> Option<MountAttrFlags> {
    match word {
        "ro" => Some(MountAttrFlags::MOUNT_ATTR_RDONLY),
        "nosuid" => Some(MountAttrFlags::MOUNT_ATTR_NOSUID),
        "nodev" => Some(MountAttrFlags::MOUNT_ATTR_NODEV),
        "noexec" => Some(MountAttrFlags::MOUNT_ATTR_NOEXEC),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_written_as_the_kernel_and_mount_write_them() {
        let flags = NOTHING_BUT_FILES | MountAttrFlags::MOUNT_ATTR_RDONLY;
        assert_eq!(words(flags), "ro,nosuid,nodev,noexec");
        assert_eq!(
            words(flags).split(',').filter_map(flag).fold(MountAttrFlags::empty(), |a, b| a | b),
            flags
        );
        assert_eq!(
            names(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV),
            "MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV"
        );
        assert_eq!(names(MountAttrFlags::empty()), "0");
    }

    #[test]
    fn a_file_system_is_described_as_it_is_made() {
        let tmpfs = Filesystem::tmpfs("mode=755");
        assert_eq!(
            tmpfs.shell("r", "/run"),
            "mount --mkdir -t tmpfs -o nosuid,nodev,mode=755 tmpfs r/run"
        );
        assert_eq!(
            tmpfs.call("r", "/run"),
            "move_mount(fsmount(\"tmpfs\", \"mode=755\", MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV), \"r/run\")"
        );
    }
}
