//! What can be done to a group through its directory: killing, freezing and removing it.

use pk::{Attempt, Error, Result};
use rustix::fs::{Access, Mode, OFlags, access, open};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use walkdir::WalkDir;

/// How long a group may take to end or to freeze: a process that waits for a disk does neither.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Writes a file of a group. The kernel takes it as one value only if it comes in one `write(2)`.
pub fn write(file: &Path, value: &str) -> Result<()> {
    let call = format_args!("write({file:?}, {value:?})");
    // Not created where it is missing: a file that is not there says more than EACCES would.
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let descriptor = open(file, flags, Mode::empty()).attempt(call)?;
    rustix::io::write(descriptor, value.as_bytes()).attempt(call)?;
    Ok(())
}

/// A group and those above it, up to the mount point: above that, no directory is a group.
pub fn lineage(group: &Path) -> impl Iterator<Item = PathBuf> {
    let is_group = |group: &&Path| group.join("cgroup.procs").exists();
    group.ancestors().take_while(is_group).map(Path::to_owned)
}

/// Whether this process may write to a file, or make a group in a group.
pub fn is_writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok()
}

/// The processes of a group itself, as far as they can be seen: one of another PID namespace is
/// listed as 0. A group that is gone has none.
pub fn processes(group: &Path) -> Result<Vec<i32>> {
    let file = group.join("cgroup.procs");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error).attempt(format_args!("read({file:?})")),
    }
}

/// A removed group's files cannot be opened, and those already open cannot be read.
fn is_gone(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::NODEV))
}

/// The group and all groups below it, the deepest first.
fn tree(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = WalkDir::new(group).contents_first(true).into_iter();
    // Groups that end while the tree is walked are none of ours to report.
    entries
        .filter_entry(|entry| entry.file_type().is_dir())
        .flatten()
        .map(walkdir::DirEntry::into_path)
}

/// Whether there is a process in the group or below it.
pub fn is_populated(group: &Path) -> Result<bool> {
    // v2 says it. (There, a group of threads would not even list its processes: EOPNOTSUPP.)
    if let Some(populated) = event(group, "populated") {
        return Ok(populated);
    }
    for group in tree(group) {
        if !processes(&group)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A line of v2's `cgroup.events`.
fn event(group: &Path, name: &str) -> Option<bool> {
    let text = std::fs::read_to_string(group.join("cgroup.events")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim() == "1"))
}

/// Repeats `attempt` with growing pauses until it says that it is done.
fn wait(patience: Duration, mut attempt: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(100);
    while !attempt()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(true)
}

/// Kills everything in the group and below it, and waits for the end.
pub fn kill(group: &Path, patience: Duration) -> Result<()> {
    let ended = wait(patience, || {
        if !is_populated(group)? {
            return Ok(true);
        }
        // Linux 5.14. It also catches what is being forked.
        let file = group.join("cgroup.kill");
        if file.exists() { write(&file, "1") } else { kill_each(group) }.map(|()| false)
    })?;
    if ended { Ok(()) } else { Err(still_there(group)) }
}

fn still_there(group: &Path) -> Error {
    let listed: Vec<i32> =
        tree(group).filter_map(|group| processes(&group).ok()).flatten().take(5).collect();
    let reason = format!("{} s after SIGKILL there is still {listed:?}", PATIENCE.as_secs());
    Error::new(format_args!("kill({group:?})"), reason)
}

/// One round of killing by process id. The group is frozen meanwhile, if that can be, so that no
/// process forks away; a frozen process of v1 ends only when it is thawed.
fn kill_each(group: &Path) -> Result<()> {
    let _ = set_frozen(group, true);
    let killed = tree(group).try_for_each(|group| kill_listed(&group));
    let _ = set_frozen(group, false);
    killed
}

fn kill_listed(group: &Path) -> Result<()> {
    // So many at a time as descriptors can surely be open.
    for listed in processes(group)?.chunks(128) {
        let handles: Vec<_> = listed
            .iter()
            .filter_map(|&pid| {
                Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?))
            })
            .collect();
        // A number may have gone to another process before its handle was opened. If it is still
        // listed, the handle is that of a process in the group.
        let listed = processes(group)?;
        for (_, handle) in handles.iter().filter(|(pid, _)| listed.contains(pid)) {
            match pidfd_send_signal(handle, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno).attempt(format_args!("kill({group:?})")),
            }
        }
    }
    Ok(())
}

fn set_frozen(group: &Path, frozen: bool) -> Result<()> {
    let (file, value) = freezing(group, frozen)?;
    write(&file, value)
}

/// What has to be written where to freeze or to thaw a group.
pub fn freezing(group: &Path, frozen: bool) -> Result<(PathBuf, &'static str)> {
    let (v2, v1) = (group.join("cgroup.freeze"), group.join("freezer.state"));
    if v2.exists() {
        return Ok((v2, if frozen { "1" } else { "0" }));
    }
    if v1.exists() {
        return Ok((v1, if frozen { "FROZEN" } else { "THAWED" }));
    }
    let reason = "has neither cgroup.freeze (v2) nor freezer.state (v1)";
    Err(Error::new(format_args!("{group:?}"), reason))
}

/// Whether the group is wholly frozen.
pub fn is_frozen(group: &Path) -> bool {
    event(group, "frozen").unwrap_or_else(|| {
        let state = std::fs::read_to_string(group.join("freezer.state"));
        state.is_ok_and(|state| state.trim() == "FROZEN")
    })
}

/// Freezes or thaws the group and waits until all of it is so.
pub fn freeze(group: &Path, frozen: bool) -> Result<()> {
    // v1 gets through only if it is asked again (freezer-subsystem.rst).
    let done = wait(PATIENCE, || {
        set_frozen(group, frozen)?;
        Ok(is_frozen(group) == frozen)
    })?;
    if done {
        return Ok(());
    }
    let reason = format!("not done after {} s", PATIENCE.as_secs());
    let (file, value) = freezing(group, frozen)?;
    if frozen {
        set_frozen(group, false)?;
    }
    Err(Error::new(format_args!("write({file:?}, {value:?})"), reason))
}

/// Removes the group and all groups below it, none of which has a process. The kernel may still
/// be busy with the last one for a moment.
pub fn remove(group: &Path, patience: Duration) -> Result<()> {
    for directory in tree(group) {
        let mut result = Ok(());
        wait(patience, || {
            result = rustix::fs::rmdir(&directory);
            Ok(result != Err(Errno::BUSY))
        })?;
        match result {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).attempt(format_args!("rmdir({directory:?})")),
        }
    }
    Ok(())
}

/// Ends the group: kills what is left in it and removes it.
pub fn end(group: &Path, patience: Duration) -> Result<()> {
    match rustix::fs::rmdir(group) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => {
            kill(group, patience)?;
            remove(group, patience)
        }
    }
}
