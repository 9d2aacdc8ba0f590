//! A group while it is made. Either all of it comes to be, or what was done is undone.

use crate::delegation::{Delegation, is, why_full_of_processes};
use crate::directory::{self, PATIENCE};
use crate::limits::Setting;
use crate::name::ANONYMOUS;
use pk::{Attempt, Error, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, mkdir, open, stat};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What has been done so far, for undoing it.
pub struct Group {
    /// Who made it: after a fork the child has this too, and must not undo anything.
    maker: Pid,
    /// Held while an anonymous group is in use; see [`sweep`].
    locks: Vec<OwnedFd>,
    made: Vec<PathBuf>,
    /// Files of a group that was joined, with what they said before.
    changed: Vec<(PathBuf, String)>,
    /// The groups that this process came from, for each that it entered.
    left: Vec<PathBuf>,
}

impl Default for Group {
    fn default() -> Self {
        let maker = getpid();
        Self { maker, locks: vec![], made: vec![], changed: vec![], left: vec![] }
    }
}

impl Group {
    /// Makes the directory of a named group, or finds it there.
    pub fn make_or_join(&mut self, directory: &Path, delegation: &Delegation) -> Result<()> {
        match mkdir(directory, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.made.push(directory.to_owned()),
            Err(Errno::EXIST) if directory.is_dir() => {}
            Err(errno) => return Err(not_made(directory, errno, delegation)),
        }
        Ok(())
    }

    /// Makes the directory of an anonymous group and locks it. Between the two, another run may
    /// take it for one that was left behind, and remove it: then it is made again.
    pub fn make_locked(&mut self, directory: &Path, delegation: &Delegation) -> Result<()> {
        const TRIES: usize = 5000;
        self.made.push(directory.to_owned());
        for _ in 0..TRIES {
            match mkdir(directory, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => {
                    self.made.pop();
                    return Err(not_made(directory, errno, delegation));
                }
            }
            if let Some(lock) = lock(directory)? {
                self.locks.push(lock);
                return Ok(());
            }
            // Not flock's own waiting: anyone who may read the directory could make that endless.
            std::thread::sleep(Duration::from_millis(1));
        }
        let reason = format!("another process held the lock {TRIES} times");
        Err(Error::new(format_args!("flock({directory:?}, LOCK_EX)"), reason))
    }

    /// Sets one limit. What a group that was joined had before is kept for undoing.
    pub fn set(&mut self, directory: &Path, setting: &Setting) -> Result<()> {
        let file = directory.join(setting.file);
        if !self.made.iter().any(|made| made == directory)
            && let Ok(content) = std::fs::read_to_string(&file)
        {
            self.changed.push((file.clone(), setting.undo(&content)));
        }
        match directory::write(&file, &setting.value) {
            Err(error) if setting.optional && is(&error, Errno::NOENT) => Ok(()),
            Err(error) => Err(error.hint(why_not_set(directory, setting))),
            Ok(()) => Ok(()),
        }
    }

    /// Moves this process into a group.
    pub fn enter(&mut self, directory: &Path, delegation: &Delegation) -> Result<()> {
        // The parent's, which stays: this child may wait for the kernel here, and must not hold
        // them for longer than the parent lives.
        self.locks.clear();
        // "0" is the writing process itself, in whichever PID namespace (cgroup_procs_write).
        directory::write(&directory.join("cgroup.procs"), "0").map_err(|error| {
            let why = delegation.why_not_entered(directory, &error);
            error.hint(why)
        })?;
        self.left.extend(delegation.own.clone());
        Ok(())
    }

    /// Ends an anonymous group: kills what PROG left in it, removes it.
    pub fn end(&mut self) -> Result<()> {
        let results: Vec<_> =
            self.made.drain(..).map(|directory| directory::end(&directory, PATIENCE)).collect();
        results.into_iter().collect()
    }
}

/// Only a failure comes here: else this process has become PROG, or has ended the group.
impl Drop for Group {
    fn drop(&mut self) {
        if self.maker != getpid() {
            return;
        }
        // There is an error to report already, and no better way to undo than this one.
        for group in self.left.iter().rev() {
            let _ = directory::write(&group.join("cgroup.procs"), "0");
        }
        for (file, value) in self.changed.iter().rev() {
            let _ = directory::write(file, value);
        }
        for directory in self.made.iter().rev() {
            let _ = directory::remove(directory, Duration::from_millis(100));
        }
    }
}

/// Removes the anonymous groups below `parents` whose makers are gone. A maker holds a lock on
/// its group for as long as it lives, so whoever gets that lock has found one that was left
/// behind (`flock(2)`: the kernel gives it up with the process).
pub fn sweep(parents: &[PathBuf]) {
    for parent in parents {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(ANONYMOUS.as_bytes())
                && let Ok(Some(_lock)) = lock(&entry.path())
            {
                // What cannot be removed now is left to the next run, and is no reason not to
                // start this PROG.
                let _ = directory::end(&entry.path(), Duration::from_secs(1));
            }
        }
    }
}

/// Locks a directory; `None` if another process holds the lock or has removed the directory.
fn lock(directory: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let call = format_args!("flock({directory:?}, LOCK_EX|LOCK_NB)");
    let descriptor = match open(directory, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
        result => result.attempt(call)?,
    };
    match flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        result => result.attempt(call)?,
    }
    let locked = fstat(&descriptor).attempt(call)?;
    let is_same = stat(directory).is_ok_and(|there| there.st_ino == locked.st_ino);
    Ok(is_same.then_some(descriptor))
}

fn not_made(directory: &Path, errno: Errno, delegation: &Delegation) -> Error {
    let error = Error::from(errno).attempting(format_args!("mkdir({directory:?})"));
    let why = delegation.why_not_made(directory, &error);
    error.hint(why)
}

/// The cause of a refused limit, as far as the group above shows it.
fn why_not_set(directory: &Path, setting: &Setting) -> Option<String> {
    let parent = directory.parent().filter(|_| setting.file == "cpuset.cpus")?;
    ["cpuset.cpus.effective", "cpuset.effective_cpus"].into_iter().find_map(|file| {
        let text = std::fs::read_to_string(parent.join(file)).ok()?;
        Some(format!("the group above has the processors {}", text.trim()))
    })
}

/// Hands controllers on to the groups below one of v2.
///
/// Not by one that holds processes, although the kernel lets it hand on some (cpu, cpuset, pids):
/// it would become the root of a threaded subtree (`cgroups(7)`, "Thread mode"), where no process
/// can enter a group below, now or later.
pub fn hand_on(file: &Path, value: &str, delegation: &Delegation) -> Result<()> {
    let group = file.parent().filter(|group| group.join("cgroup.type").exists());
    let held = group.map_or(Ok(Vec::new()), directory::processes)?.len();
    if held > 0 {
        let reason = format!("the group holds {held} processes itself");
        let error = Error::new(format_args!("write({file:?}, {value:?})"), reason);
        return Err(error.hint(group.and_then(why_full_of_processes)));
    }
    directory::write(file, value).map_err(|error| {
        let why = delegation.why_not_handed_on(file, value, &error);
        error.hint(why)
    })
}
