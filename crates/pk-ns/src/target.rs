//! The process that is joined. All that is asked of it is asked here, before its namespaces are
//! entered: in there `/proc` may be anything, and its number is another one.

use crate::credentials::{Credentials, Maps};
use nix::errno::Errno;
use pk::{Attempt, Error, Result};
use rustix::fs::{Mode, OFlags, Stat, fstat, open, openat, stat, statat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// An environment that is larger is not one that `execve(2)` took: its limit is 6 MiB.
const LIMIT: u64 = 8 << 20;

/// A process, held by descriptors: its number may be given to another one when it ends, the
/// descriptors stay with this one and then lead nowhere.
pub struct Target {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// `/proc/PID`.
    proc: OwnedFd,
}

impl Target {
    pub fn open(pid: i32) -> Result<Self> {
        let number = Pid::from_raw(pid).filter(|_| pid > 0);
        let number = number.ok_or_else(|| Error::usage(format!("--join {pid}"), "is no PID"))?;
        let pidfd =
            pidfd_open(number, PidfdFlags::empty()).attempt(format_args!("pidfd_open({pid})"))?;
        let path = format!("/proc/{pid}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = open(&path, flags, Mode::empty()).attempt(format_args!("open({path:?})"))?;
        let target = Self { pid, pidfd, proc };
        // Only now: as long as this process lives, nobody else has its number.
        if target.number_in_proc()? == Some(pid) {
            return Ok(target);
        }
        let reason = "is not that process: it has ended, or /proc is another PID namespace's";
        Err(Error::new(format_args!("open({path:?})"), reason))
    }

    /// The number of the process in the PID namespace that `/proc` shows. `pidfd_open(2)`, NOTES.
    fn number_in_proc(&self) -> Result<Option<i32>> {
        let path = format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd());
        let text = fs::read_to_string(&path).attempt(format_args!("open({path:?})"))?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
        Ok(number.and_then(|number| number.trim().parse().ok()))
    }

    fn call(&self, name: &str) -> String {
        format!("open(\"/proc/{}/{name}\")", self.pid)
    }

    /// Its root or working directory, which the kernel's links lead to whatever is mounted where.
    pub fn directory(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.proc, name, flags, Mode::empty()).attempt(self.call(name))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.proc, name, flags, Mode::empty()).attempt(self.call(name))?;
        let mut text = Vec::new();
        File::from(file).take(LIMIT).read_to_end(&mut text).attempt(self.call(name))?;
        Ok(text)
    }

    /// Whether one of its namespaces is not ours; also if it cannot be seen.
    pub fn differs(&self, namespace: &str) -> bool {
        let ours = stat(format!("/proc/self/ns/{namespace}"));
        let theirs = statat(&self.proc, format!("ns/{namespace}"), rustix::fs::AtFlags::empty());
        !matches!((ours, theirs), (Ok(ours), Ok(theirs)) if is_same(&ours, &theirs))
    }

    /// The environment that it was started with. Variables for our own tools do not count: they
    /// are its own words, and would tell the tools what to do.
    pub fn environment(&self) -> Result<Vec<(OsString, OsString)>> {
        let text = self.read("environ").map_err(|error| {
            let hint = self.not_readable(error.errno());
            error.hint(hint)
        })?;
        Ok(variables(&text))
    }

    pub fn credentials(&self) -> Result<Credentials> {
        let status = self.read("status")?;
        Credentials::parse(&status, &self.read("setgroups")?)
            .map_err(|reason| Error::new(self.call("status"), reason))
    }

    pub fn maps(&self) -> Result<Maps> {
        Ok(Maps::parse(&self.read("uid_map")?, &self.read("gid_map")?))
    }

    /// The file belongs to the user that the process is, one of its user namespace.
    fn not_readable(&self, errno: Option<Errno>) -> Option<String> {
        let foreign = errno == Some(Errno::EACCES) && self.differs("user");
        let pid = self.pid;
        foreign.then(|| {
            format!(
                "the root of its user namespace may read it, so enter that first: \
                 pk-ns --join {pid} --user pk-ns --join {pid} ..."
            )
        })
    }
}

/// Whether a directory is the root of this process.
pub fn is_own_root(directory: &OwnedFd) -> Result<bool> {
    Ok(is_same(&fstat(directory)?, &stat("/")?))
}

fn is_same(ours: &Stat, theirs: &Stat) -> bool {
    (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
}

/// `proc_pid_environ(5)`: assignments, each with a NUL behind it.
fn variables(text: &[u8]) -> Vec<(OsString, OsString)> {
    let variable = |line: &[u8]| {
        let at = line.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
        let (name, value) = (OsStr::from_bytes(&line[..at]), line[at + 1..].to_vec());
        Some((name.to_owned(), OsString::from_vec(value)))
    };
    let lines = text.split(|&byte| byte == 0).filter(|line| !line.starts_with(b"PK_"));
    lines.filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_read_as_far_as_it_is_one() {
        let text = b"A=1\0PATH=/bin:/sbin\0E=\0X=a=b\0PK_TRACE=1\0junk\0=x\0\0caf\xe9=\xff\0last=1";
        let pairs: Vec<_> = variables(text)
            .into_iter()
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"A", b"1"),
            (b"PATH", b"/bin:/sbin"),
            (b"E", b""),
            (b"X", b"a=b"),
            (b"caf\xe9", b"\xff"),
            (b"last", b"1"),
        ];
        assert!(pairs.iter().map(|(name, value)| (&name[..], &value[..])).eq(expected));
    }
}
