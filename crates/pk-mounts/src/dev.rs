//! /dev: the few devices that programs expect, and nothing of the machine's hardware.

use crate::filesystem::{Filesystem, NOTHING_BUT_FILES};
use crate::root::{Links, Root, attach, clone_tree, without_umask};
use crate::source;
use crate::standard::why_refused;
use nix::sys::stat::{Mode, SFlag, fstat, major, makedev, minor, mknodat};
use nix::unistd::{geteuid, symlinkat};
use pk::{Error, IdRange, Result, Steps, in_initial_user_namespace};
use rustix::mount::MountAttrFlags;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Name, major and minor number. `null(4)`, `full(4)`, `random(4)`, `tty(4)`.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    // A pts of its own has a ptmx of its own. The kernel's documentation, filesystems/devpts.
    ("ptmx", "pts/ptmx"),
];

pub fn add_mounts(root: &str, steps: &mut Steps<Root>) {
    let tmpfs = Filesystem::new("tmpfs", "mode=755,size=65536k", MountAttrFlags::MOUNT_ATTR_NOSUID);
    let why = "the image's /dev is empty, or somebody else's";
    tmpfs.add_mount_with("/dev", Links::Refused, why, root, steps, |_| None);

    // Only root of the first user namespace may make devices; others are lent the host's.
    if geteuid().is_root() && in_initial_user_namespace() {
        add_nodes(root, steps);
    } else {
        add_borrowed(root, steps);
    }
    steps.add(
        "what shells and scripts expect beside the devices",
        LINKS.map(|(name, to)| format!("symlink({to:?}, \"{root}/dev/{name}\")")).join(", "),
        LINKS.map(|(name, to)| format!("ln -s {to} {root}/dev/{name}")).join("; "),
        |root| {
            let dev = root.directory("/dev", Links::Refused)?;
            LINKS.iter().try_for_each(|(name, to)| symlinkat(*to, &dev, *name)).map_err(Error::from)
        },
    );

    // Terminals belong to the group tty, 5 on every distribution, if it exists here.
    let group = if gid_is_mapped(5) { ",gid=5" } else { "" };
    let no_exec = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = format!("newinstance,ptmxmode=0666,mode=0620{group}");
    let mut add = |filesystem: Filesystem, path, why, hint: fn(&Error) -> Option<String>| {
        filesystem.add_mount_with(path, Links::Refused, why, root, steps, hint);
    };
    let why = "terminals of its own: the host's cannot be opened by number";
    add(Filesystem::new("devpts", options, no_exec), "/dev/pts", why, |_| None);
    let shm = Filesystem::new("tmpfs", "mode=1777,size=65536k", NOTHING_BUT_FILES);
    add(shm, "/dev/shm", "POSIX shared memory, shm_overview(7)", |_| None);
    let mqueue = Filesystem::new("mqueue", "", NOTHING_BUT_FILES);
    let why = "POSIX message queues of the process's IPC namespace";
    add(mqueue, "/dev/mqueue", why, |error| why_refused(error, "ipc", "/dev/mqueue"));
}

fn add_nodes(root: &str, steps: &mut Steps<Root>) {
    let call = |(name, major, minor): (&str, u64, u64)| {
        format!("mknod(\"{root}/dev/{name}\", S_IFCHR|0666, makedev({major}, {minor}))")
    };
    let shell = |(name, major, minor): (&str, u64, u64)| {
        format!("mknod -m 666 {root}/dev/{name} c {major} {minor}")
    };
    steps.add(
        "devices that every program expects; none of them is hardware",
        DEVICES.map(call).join(", "),
        DEVICES.map(shell).join("; "),
        |root| {
            let dev = root.directory("/dev", Links::Refused)?;
            let mode = Mode::from_bits_truncate(0o666);
            without_umask(|| {
                DEVICES.iter().try_for_each(|&(name, major, minor)| {
                    mknodat(&dev, name, SFlag::S_IFCHR, mode, makedev(major, minor))
                })
            })
            .map_err(Error::from)
        },
    );
}

fn add_borrowed(root: &str, steps: &mut Steps<Root>) {
    let call = |(name, ..): (&str, u64, u64)| {
        format!("move_mount(open_tree(\"/dev/{name}\", OPEN_TREE_CLONE), \"{root}/dev/{name}\")")
    };
    let shell = |(name, ..): (&str, u64, u64)| {
        format!("touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}")
    };
    steps.add(
        "a user namespace may not make devices, so it is lent the host's",
        DEVICES.map(call).join(", "),
        DEVICES.map(shell).join("; "),
        |root| {
            DEVICES.iter().try_for_each(|&device| {
                let on = root.file(&format!("/dev/{}", device.0), Links::Refused)?;
                attach(clone_tree(open_device(device)?, false)?, on)
            })
        },
    );
}

/// One of the host's devices, if it is what its name says.
fn open_device((name, wanted_major, wanted_minor): (&str, u64, u64)) -> Result<OwnedFd> {
    let path = format!("/dev/{name}");
    let device = source::open(Path::new(&path))?;
    let status = fstat(&device)?;
    let is_device =
        SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFCHR;
    if is_device && (major(status.st_rdev), minor(status.st_rdev)) == (wanted_major, wanted_minor) {
        return Ok(device);
    }
    Err(Error::new(path, format_args!("is not the device {wanted_major}:{wanted_minor}")))
}

/// The host's `/dev/null`.
pub fn open_null() -> Result<OwnedFd> {
    open_device(DEVICES[0])
}

fn gid_is_mapped(gid: u32) -> bool {
    let map = IdRange::of_map(&fs::read("/proc/self/gid_map").unwrap_or_default());
    map.iter().any(|range| range.has_inner(gid))
}
