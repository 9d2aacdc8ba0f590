//! What a tool that changes mounts has to know of the namespace it is in.

use crate::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Refuses to go on in the mount namespace of PID 1, which is the host's as far as can be seen
/// from here: what is mounted there stays when the chain ends.
///
/// An ordinary user cannot look at the host's PID 1, and cannot mount in its namespace either.
pub fn check_own_mount_namespace() -> Result<()> {
    let call = "stat(\"/proc/1/ns/mnt\")";
    let inode = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let hint = "put pk-ns --mount in front, or unshare --mount".to_owned();
    match (inode("/proc/self/ns/mnt"), inode("/proc/1/ns/mnt")) {
        // Nobody else's: it ends with this process.
        _ if fs::read_link("/proc/self").is_ok_and(|myself| myself == Path::new("1")) => Ok(()),
        (Ok(ours), Ok(hosts)) if ours == hosts => {
            Err(Error::new(call, "this is the host's own mount namespace").hint(hint))
        }
        (Ok(_), Ok(_)) => Ok(()),
        (Ok(_), Err(error)) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        (Err(error), _) | (_, Err(error)) => Err(Error::from(error)
            .attempting(call)
            .hint("/proc is needed to tell the host's mount namespace from another".to_owned())),
    }
}
