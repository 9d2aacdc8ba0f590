//! What is mounted where others see it stays when the chain ends: in the host's mount namespace, or
//! where mounts travel to others. `mount_namespaces(7)`.

use crate::mountinfo::{optional_fields, shared_mount_point};
use pk::{Attempt, Error, Result};
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Refuses a directory for ROOT whose mounts others would see.
pub fn check_private(path: &Path, directory: &OwnedFd) -> Result<()> {
    let call = format!("move_mount({path:?})");
    let status = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).attempt(&call)?;
    check_own_mount_namespace(&call, status.stx_mnt_id)?;
    // The list of all mounts is long: it takes as long as making some.
    if is_shared(directory) == Some(false) {
        return Ok(());
    }
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").attempt("open(\"/proc/self/mountinfo\")")?;
    match shared_mount_point(&mounts, status.stx_mnt_id) {
        Some(point) => Err(Error::new(
            call,
            format_args!("the mount on {point} is shared: others would see what is mounted"),
        )
        .hint(format!(
            "mount --make-private {point} unshares it; pk-ns --mount does so by itself"
        ))),
        None => Ok(()),
    }
}

/// Refuses the mount namespace of PID 1, which is the host's as far as can be seen from here.
/// `mount` is one of the process's own.
fn check_own_mount_namespace(call: &str, mount: u64) -> Result<()> {
    // A PID 1 takes its namespace along when it ends.
    if fs::read_link("/proc/self").attempt("readlink(\"/proc/self\")")? == Path::new("1") {
        return Ok(());
    }
    if shares_with_init(mount)? {
        return Err(Error::new(call, "this is the host's mount namespace, and mounts stay there")
            .hint("put pk-ns --mount in front, or unshare --mount".to_owned()));
    }
    Ok(())
}

fn shares_with_init(mount: u64) -> Result<bool> {
    let inode = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let ours = inode("/proc/self/ns/mnt").attempt("stat(\"/proc/self/ns/mnt\")")?;
    match inode("/proc/1/ns/mnt") {
        Ok(hosts) => return Ok(ours == hosts),
        // Not even root may look at it where PID 1 has one capability more than root has.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error).attempt("stat(\"/proc/1/ns/mnt\")"),
    }
    // Everybody may read its mounts, and a mount's number is given once on a whole machine.
    let theirs = fs::read_to_string("/proc/1/mountinfo").attempt("open(\"/proc/1/mountinfo\")")?;
    Ok(optional_fields(&theirs, mount).is_some())
}

/// Whether events in the mount of a directory are shared with others, if the kernel can tell it of
/// a single mount. `statmount(2)`, since Linux 6.8.
fn is_shared(directory: &OwnedFd) -> Option<bool> {
    const STATX_MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    const STATMOUNT_MNT_BASIC: u64 = 2;
    let status = statx(directory, "", AtFlags::EMPTY_PATH, STATX_MNT_ID_UNIQUE).ok()?;
    if status.stx_mask & STATX_MNT_ID_UNIQUE.bits() == 0 {
        return None;
    }
    let mount = pk::statmount(status.stx_mnt_id, STATMOUNT_MNT_BASIC).ok()?;
    // `mnt_propagation` of `struct statmount`.
    let propagation = u64::from_ne_bytes(mount.get(72..80)?.try_into().ok()?);
    Some(propagation & libc::MS_SHARED != 0)
}
