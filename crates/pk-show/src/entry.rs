//! Entering a namespace of the process that is looked at, for what only those inside are told:
//! the host name and the network devices. `setns(2)`.
//!
//! It is this process that moves, and it only reads there, so nobody else notices. What belongs to
//! the caller (files to be read and written) has to be open by then.

use crate::answer::Unknown;
use crate::namespaces::Kind;
use crate::process::Process;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{AtFlags, CWD, statat};

/// Makes this process see what `process` sees of a kind of namespace.
pub fn enter(process: &Process, kind: Kind) -> Result<(), Unknown> {
    if process.is_own || is_shared(process, kind)? {
        return Ok(());
    }
    let file = process.file(&format!("ns/{}", kind.file()))?;
    let refused = match setns(&file, CloneFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(errno) => Unknown::new(format!("its {} namespace: {}", kind.name(), errno.desc())),
    };
    // Who owns its user namespace is root in there, and may enter what belongs to that.
    if is_shared(process, Kind::User)? {
        return Err(refused);
    }
    setns(process.file("ns/user")?, CloneFlags::CLONE_NEWUSER).map_err(|_| refused.clone())?;
    setns(file, CloneFlags::empty()).map_err(|_| refused)
}

fn is_shared(process: &Process, kind: Kind) -> Result<bool, Unknown> {
    let path = format!("ns/{}", kind.file());
    let theirs = statat(process.directory()?, &path, AtFlags::empty())?;
    let ours = statat(CWD, format!("/proc/self/{path}"), AtFlags::empty())?;
    Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
}
