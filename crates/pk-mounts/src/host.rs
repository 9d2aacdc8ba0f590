//! Telling the host's mount namespace from one of our own: what is mounted in the host's stays
//! there when the chain ends, and everybody sees it.

use pk::{Attempt, Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Refuses the mount namespace of PID 1, which is the host's as far as can be seen from here.
/// `mountinfo` is the process's own.
pub fn check_own_mount_namespace(call: &str, mountinfo: &str) -> Result<()> {
    // A PID 1 takes its namespace along when it ends.
    if fs::read_link("/proc/self").attempt("readlink(\"/proc/self\")")? == Path::new("1") {
        return Ok(());
    }
    if shares_with_init(mountinfo)? {
        return Err(Error::new(call, "this is the host's mount namespace, and mounts stay there")
            .hint("put pk-ns --mount in front, or unshare --mount".to_owned()));
    }
    Ok(())
}

fn shares_with_init(mountinfo: &str) -> Result<bool> {
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
    Ok(have_a_mount_in_common(mountinfo, &theirs))
}

/// Whether two `proc_pid_mountinfo(5)` show the same mount, by its first field.
fn have_a_mount_in_common(ours: &str, theirs: &str) -> bool {
    let id = |line: &str| line.split(' ').next().and_then(|id| id.parse::<u64>().ok());
    let theirs: Vec<u64> = theirs.lines().filter_map(id).collect();
    ours.lines().filter_map(id).any(|id| theirs.contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_namespace_is_known_by_its_mounts() {
        let host = "22 1 8:1 / / rw - ext4 /dev/sda rw\n23 22 0:5 / /proc rw - proc proc rw\n";
        let chrooted = "23 22 0:5 / /proc rw - proc proc rw\n";
        let copy = "44 1 8:1 / / rw - ext4 /dev/sda rw\n45 22 0:5 / /proc rw - proc proc rw\n";
        assert!(have_a_mount_in_common(host, chrooted));
        assert!(!have_a_mount_in_common(host, copy));
    }
}
