//! Directories of the host and tmpfs that are asked for: `--bind` and `--tmpfs`.

use crate::filesystem::{Filesystem, flag, names, words};
use crate::idmap::user_namespace;
use crate::root::{Links, Root, clone_tree};
use crate::source::{self, is_directory};
use crate::standard::remount_all;
use crate::sys::{mount_setattr, set_idmap};
use crate::travel::Travel;
use nix::errno::Errno;
use pk::{Error, IdRange, Result, Steps, quote};
use rustix::mount::MountAttrFlags;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;

/// `SRC:DST[:OPTION,...]`.
#[derive(Debug, PartialEq)]
pub struct Bind {
    source: PathBuf,
    destination: String,
    flags: MountAttrFlags,
    recursive: bool,
    travel: Travel,
    /// Who files belong to; as on the disk, if there is none.
    idmap: Vec<IdRange>,
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
            source: source.into(),
            destination: destination.to_owned(),
            flags: MountAttrFlags::empty(),
            recursive: true,
            travel: Travel::default(),
            idmap: Vec::new(),
        };
        for option in parts.next().into_iter().flat_map(|options| options.split(',')) {
            bind.set(option)?;
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
    fn set(&mut self, option: &str) -> Result<(), String> {
        let wrong = || format!("no such option: {option}");
        match option.split_once('=') {
            Some(("idmap", range)) => {
                let range = range.parse().map_err(|reason| format!("idmap= {reason}"))?;
                self.idmap.push(range);
            }
            Some(_) => return Err(wrong()),
            None if option == "rw" || option == "rec" => {}
            None if option == "norec" => self.recursive = false,
            None if option == "idmap" => {
                return Err("idmap= is not INNER:OUTER:COUNT, three numbers".to_owned());
            }
            None => match (flag(option), option.parse()) {
                (Some(flag), _) => self.flags |= flag,
                (None, Ok(travel)) => self.travel = travel,
                (None, Err(())) => return Err(wrong()),
            },
        }
        Ok(())
    }

    /// A missing source is a mistake to be told before anything is done, not a directory to make.
    pub fn check_source(&self) -> Result<()> {
        source::open(&self.source).map(drop)
    }

    /// Whether what is to travel can: known only to the process that really runs.
    pub fn add_check(&self, steps: &mut Steps<Root>) {
        let (source, travel) = (self.source.clone(), self.travel);
        steps.check(move |_| travel.check(&source));
    }

    fn add_mount(self, root: &str, steps: &mut Steps<Root>) {
        let on = format!("{root}/{}", self.destination.trim_start_matches('/'));
        let to = format!("{root}/{}", quote(self.destination.trim_start_matches('/')));
        let (call, shell) = (self.call(&on), self.shell(&to));
        steps.add("a path of the host's, in both worlds at once", call, shell, move |root| {
            let source = source::open(&self.source)?;
            let on = if is_directory(&source)? {
                root.directory(&self.destination, Links::InRoot)?
            } else {
                root.file(&self.destination, Links::InRoot)?
            };
            let tree = clone_tree(source, self.recursive)?;
            // Before it is attached: at no moment is a read-only bind writable.
            mount_setattr(&tree, self.flags, self.recursive)?;
            if !self.idmap.is_empty() {
                self.map_ids(&tree)?;
            }
            self.travel.set(&tree)?;
            root.attach(&tree, &on)
        });
    }

    fn map_ids(&self, tree: &OwnedFd) -> Result<()> {
        let user_namespace = user_namespace(&self.idmap)?;
        set_idmap(tree, user_namespace, self.recursive).map_err(|errno| {
            let hint = match errno {
                // The mount is new and the user namespace is not ours, which leaves this.
                Errno::EINVAL => Some(format!(
                    "a file system in {:?} knows no id maps (mount_setattr(2) lists those that do)",
                    self.source
                )),
                Errno::EPERM => Some(
                    "only root of the user namespace that a file system was mounted in may map its ids"
                        .to_owned(),
                ),
                _ => None,
            };
            Error::from(errno).attempting("mount_setattr(MOUNT_ATTR_IDMAP)").hint(hint)
        })
    }

    fn call(&self, on: &str) -> String {
        let recurse = if self.recursive { "|AT_RECURSIVE" } else { "" };
        let mut set = vec![self.travel.to_string()];
        if !self.flags.is_empty() {
            set.push(format!("attr_set={}", names(self.flags)));
        }
        set.extend(self.idmap.iter().map(|range| format!("MOUNT_ATTR_IDMAP {range}")));
        let tree = format!("open_tree({:?}, OPEN_TREE_CLONE{recurse})", self.source);
        format!("move_mount(mount_setattr({tree}, {{{}}}), {on:?})", set.join(", "))
    }

    /// What is mounted below gets its flags one by one: `mount(8)` can do it in one go from
    /// util-linux 2.39 on, from when it knows id maps as well.
    fn shell(&self, on: &str) -> String {
        let source = quote(&self.source);
        let bind = if self.recursive { "--rbind" } else { "--bind" };
        let range = |range: &IdRange| format!("b:{}", range.to_string().replace(' ', ":"));
        let ranges: Vec<String> = self.idmap.iter().map(range).collect();
        let idmap = format!(" -o X-mount.idmap={}", quote(ranges.join(" ")));
        let idmap = if ranges.is_empty() { "" } else { &idmap };
        let mut commands = if self.source.is_dir() {
            vec![format!("mount --mkdir {bind}{idmap} {source} {on}")]
        } else {
            let touch = format!("mkdir -p \"$(dirname {on})\" && touch -a {on}");
            vec![touch, format!("mount {bind}{idmap} {source} {on}")]
        };
        let flags = words(self.flags);
        match (flags.is_empty(), self.recursive) {
            (true, _) => {}
            (false, true) => commands.push(remount_all(on, &flags)),
            (false, false) => commands.push(format!("mount -o remount,bind,{flags} {on}")),
        }
        commands.push(format!("mount --make-{} {on}", self.travel.word()));
        commands.join(" && ")
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
        let plain = || Bind {
            source: "/a".into(),
            destination: "/b".to_owned(),
            flags: MountAttrFlags::empty(),
            recursive: true,
            travel: Travel::default(),
            idmap: Vec::new(),
        };
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
        let both = read_only | MountAttrFlags::MOUNT_ATTR_NODEV;
        let range: IdRange = "0:300000:10".parse().unwrap();
        let table = [
            ("/a:/b", Some(plain())),
            ("/a:/b:ro", Some(Bind { flags: read_only, ..plain() })),
            ("/a:/b:ro,norec,nodev", Some(Bind { flags: both, recursive: false, ..plain() })),
            ("/a:/b:rw,rec,rprivate", Some(plain())),
            ("/a:/b:rslave", Some(Bind { travel: "rslave".parse().unwrap(), ..plain() })),
            (
                "/a:/b:idmap=0:300000:10,ro",
                Some(Bind { idmap: vec![range], flags: read_only, ..plain() }),
            ),
            ("/a:/b:idmap", None),
            ("/a:/b:idmap=0:1", None),
            ("/a:/b:rö", None),
            ("/a:/b:size=1", None),
            ("/a:/b:", None),
            ("/a", None),
            (":/b", None),
            ("/a:", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
        let bind: Bind = "/a b:/b:ro,idmap=0:300000:10,slave".parse().unwrap();
        assert_eq!(
            bind.shell("r/b"),
            "mkdir -p \"$(dirname r/b)\" && touch -a r/b && \
             mount --rbind -o X-mount.idmap=b:0:300000:10 '/a b' r/b && \
             findmnt -nlRo TARGET r/b | xargs -d '\\n' -n 1 mount -o remount,bind,ro && \
             mount --make-slave r/b"
        );
    }

    #[test]
    fn a_tmpfs_is_a_destination_and_options() {
        let described = |text: &str| format!("{:?}", text.parse::<Tmpfs>().unwrap().filesystem);
        assert!(described("/t:size=1M,ro,mode=700").contains("size=1M,mode=700"));
        assert!(described("/t").contains("NOEXEC") && !described("/t:exec").contains("NOEXEC"));
        assert!("".parse::<Tmpfs>().is_err());
    }
}
