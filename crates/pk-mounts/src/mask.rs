//! Paths that are hidden, and paths that are made read-only.

use crate::dev::open_null;
use crate::filesystem::{Filesystem, NOTHING_BUT_FILES};
use crate::root::{Links, Root, clone_tree};
use crate::source::is_directory;
use crate::standard::remount_all;
use crate::sys::mount_setattr;
use pk::{Result, Steps, quote};
use rustix::mount::MountAttrFlags;
use std::os::fd::OwnedFd;

/// What runc and Docker hide: kernel memory, keys, timers, firmware, the host's processes' timing.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

/// What runc and Docker make read-only: the settings of the one kernel that all share.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub fn add_standard(root: &str, steps: &mut Steps<Root>) {
    add_masks(MASKED.map(str::to_owned).to_vec(), Links::Refused, root, steps);
    let paths = READ_ONLY.map(|path| format!("{root}{path}")).join(" ");
    let remount = remount_all("$p", "ro");
    steps.add(
        "settings of the one kernel that all containers share",
        format!("mount_setattr(each that is there of: {paths}, AT_RECURSIVE, {{attr_set=MOUNT_ATTR_RDONLY}})"),
        format!("for p in {paths}; do [ ! -e $p ] || {{ mount --rbind $p $p && {remount}; }}; done"),
        |root| {
            for path in READ_ONLY {
                let Some(on) = root.find(path, Links::Refused)? else { continue };
                let tree = clone_tree(&on, true)?;
                mount_setattr(&tree, MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
                root.attach(&tree, &on)?;
            }
            Ok::<_, pk::Error>(())
        },
    );
}

/// Hides each of `paths` that is there: whatever is mounted over it, it cannot be reached.
pub fn add_masks(paths: Vec<String>, links: Links, root: &str, steps: &mut Steps<Root>) {
    let shown: Vec<String> = paths
        .iter()
        .map(|path| format!("{root}/{}", quote(path.trim_start_matches('/'))))
        .collect();
    let shown = shown.join(" ");
    steps.add(
        "what a container has no business with is covered: files by null, directories by nothing",
        format!("move_mount(\"/dev/null\" or an empty tmpfs, each that is there of: {shown})"),
        format!(
            "for p in {shown}; do if [ -d \"$p\" ]; then {}; elif [ -e \"$p\" ]; then {}; fi; done",
            "mount -t tmpfs -o nosuid,nodev,noexec,size=0,nr_inodes=1,mode=755 tmpfs \"$p\" && \
             mount -o remount,bind,ro \"$p\"",
            "mount --bind /dev/null \"$p\""
        ),
        move |root| {
            let mut covers = Covers { null: None, nothing: None };
            for path in &paths {
                let Some(on) = root.find(path, links)? else { continue };
                covers.attach(root, &on)?;
            }
            Ok::<_, pk::Error>(())
        },
    );
}

/// What masks are copies of; made when the first one is needed.
struct Covers {
    null: Option<OwnedFd>,
    nothing: Option<OwnedFd>,
}

impl Covers {
    fn attach(&mut self, root: &mut Root, on: &OwnedFd) -> Result<()> {
        if !is_directory(on)? {
            let null = match self.null.take() {
                Some(null) => null,
                None => open_null()?,
            };
            return root.attach(&clone_tree(self.null.insert(null), false)?, on);
        }
        // The first one is attached itself: before Linux 6.15 a mount that is attached nowhere
        // cannot be copied (open_tree(2), EINVAL).
        if let Some(attached) = &self.nothing {
            return root.attach(&clone_tree(attached, false)?, on);
        }
        let flags = NOTHING_BUT_FILES | MountAttrFlags::MOUNT_ATTR_RDONLY;
        let nothing = Filesystem::new("tmpfs", "size=0,nr_inodes=1,mode=755", flags).create()?;
        root.attach(self.nothing.insert(nothing), on)
    }
}
