//! What a refusal says of the namespaces that this process is in.

use nix::errno::Errno;
use nix::unistd::geteuid;

/// The way out for an ordinary user who was refused what only root of a namespace may do.
#[must_use]
pub fn not_root(errno: Option<Errno>) -> Option<String> {
    let refused = errno == Some(Errno::EPERM) && !geteuid().is_root();
    refused.then(|| "you are not root: put pk-ns --user --map-root --mount in front".to_owned())
}
