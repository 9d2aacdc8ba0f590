//! Directories of the host and tmpfs that are asked for: `--bind` and `--tmpfs`.

use crate::filesystem::{Filesystem, flag, names, words};
use crate::root::{Links, Root, clone_tree, open_source};
use crate::sys::mount_setattr;
use nix::sys::stat::{SFlag, fstat, stat};
use pk::{Attempt, Result, Steps, quote};
use rustix::mount::MountAttrFlags;
use std::str::FromStr;

/// `SRC:DST[:OPTION,...]`.
#[derive(Debug, PartialEq)]
pub struct Bind {
    source: String,
    destination: String,
    flags: MountAttrFlags,
    recursive: bool,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (Some(source), Some(destination)) = (parts.next(), parts.next()) else {
            return Err("is not SRC:DST[:OPTION,...]".to_owned());
        };
        if source.is_empty() || destination.is_empty() {
            return Err("SRC or DST is empty".to_owned());
        }
        let mut bind = Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            flags: MountAttrFlags::empty(),
            recursive: true,
        };
        for option in parts.next().into_iter().flat_map(|options| options.split(',')) {
            match option {
                "rw" | "rec" => {}
                "norec" => bind.recursive = false,
                option => {
                    bind.flags |=
                        flag(option).ok_or_else(|| format!("no such option: {option}"))?;
                }
            }
        }
        Ok(bind)
    }
}

/// `DST[:OPTION,...]`, options those of `tmpfs(5)` and of mounts.
#[derive(Debug)]
pub struct Tmpfs {
    destination: String,
    filesystem: Filesystem,
}

impl FromStr for Tmpfs {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (destination, options) = text.split_once(':').unwrap_or((text, ""));
        if destination.is_empty() {
            return Err("DST is empty");
        }
        // As Docker's --tmpfs: nothing in it is executed or gains privileges.
        let mut flags = crate::filesystem::NOTHING_BUT_FILES;
        let mut settings = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match (option, flag(option)) {
                ("exec", _) => flags -= MountAttrFlags::MOUNT_ATTR_NOEXEC,
                (_, Some(flag)) => flags |= flag,
                _ => settings.push(option),
            }
        }
        let filesystem = Filesystem::new("tmpfs", settings.join(","), flags);
        Ok(Self { destination: destination.to_owned(), filesystem })
    }
}

impl Bind {
    /// A missing source is a mistake to be told before anything is done, not a directory to make.
    pub fn check_source(&self) -> Result<()> {
        stat(self.source.as_str()).map(drop).attempt(format_args!("stat({:?})", self.source))
    }

    fn add_mount(self, root: &str, steps: &mut Steps<Root>) {
        let recurse = if self.recursive { "|AT_RECURSIVE" } else { "" };
        let (source, on) =
            (quote(&self.source), format!("{root}/{}", self.destination.trim_start_matches('/')));
        let (mut call, mut shell) = (
            format!("open_tree({:?}, OPEN_TREE_CLONE{recurse})", self.source),
            format!("mount --{}bind {source} {on}", if self.recursive { "r" } else { "" }),
        );
        if !self.flags.is_empty() {
            call = format!("mount_setattr({call}, {{attr_set={}}})", names(self.flags));
            // mount(8) from util-linux 2.39 on; before it, `remount,bind` reached only the top.
            let flags = words(self.flags).replace(',', "=recursive,");
            shell = format!("{shell} -o {flags}{}", if self.recursive { "=recursive" } else { "" });
        }
        call = format!("move_mount({call}, {on:?})");
        steps.add("a path of the host's, in both worlds at once", call, shell, move |root| {
            let source = open_source(&self.source)?;
            let directory = fstat(&source)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
            let on = if directory {
                root.directory(&self.destination, Links::InRoot)?
            } else {
                root.file(&self.destination, Links::InRoot)?
            };
            let tree = clone_tree(source, self.recursive)?;
            // Before it is attached: at no moment is a read-only bind writable.
            mount_setattr(&tree, self.flags, self.recursive)?;
            root.attach(tree, &on)
        });
    }
}

/// Adds them, shortest destination first: `/data` must not cover `/data/cache`.
pub fn add_mounts(binds: Vec<Bind>, tmpfs: Vec<Tmpfs>, root: &str, steps: &mut Steps<Root>) {
    enum Mount {
        Bind(Bind),
        Tmpfs(Tmpfs),
    }
    let depth = |path: &str| path.split('/').filter(|name| !name.is_empty()).count();
    let binds = binds.into_iter().map(|bind| (depth(&bind.destination), Mount::Bind(bind)));
    let tmpfs = tmpfs.into_iter().map(|tmpfs| (depth(&tmpfs.destination), Mount::Tmpfs(tmpfs)));
    let mut mounts: Vec<_> = binds.chain(tmpfs).collect();
    mounts.sort_by_key(|&(depth, _)| depth);
    for (_, mount) in mounts {
        match mount {
            Mount::Bind(bind) => bind.add_mount(root, steps),
            Mount::Tmpfs(Tmpfs { destination, filesystem }) => {
                let path = format!("/{}", destination.trim_start_matches('/'));
                filesystem.add_mount(
                    &path,
                    "files that live as long as the container",
                    root,
                    steps,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_source_destination_and_options() {
        let bind = |flags, recursive| Bind {
            source: "/a".to_owned(),
            destination: "/b".to_owned(),
            flags,
            recursive,
        };
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
        let table = [
            ("/a:/b", Some(bind(MountAttrFlags::empty(), true))),
            ("/a:/b:ro", Some(bind(read_only, true))),
            (
                "/a:/b:ro,norec,nodev",
                Some(bind(read_only | MountAttrFlags::MOUNT_ATTR_NODEV, false)),
            ),
            ("/a:/b:rw,rec", Some(bind(MountAttrFlags::empty(), true))),
            ("/a:/b:rö", None),
            ("/a:/b:", None),
            ("/a", None),
            (":/b", None),
            ("/a:", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_tmpfs_is_a_destination_and_options() {
        let described = |text: &str| format!("{:?}", text.parse::<Tmpfs>().unwrap().filesystem);
        assert!(described("/t:size=1M,ro,mode=700").contains("size=1M,mode=700"));
        assert!(described("/t").contains("NOEXEC") && !described("/t:exec").contains("NOEXEC"));
        assert!("".parse::<Tmpfs>().is_err());
    }
}
