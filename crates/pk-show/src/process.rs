//! The process that is looked at: this one, or another one by its `/proc/PID`.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::text::printable;
use pk::{Attempt, Error};
use rustix::fs::{CWD, Dir, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat};
use rustix::io::Errno;
use rustix::thread;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// A process. Its `/proc/PID` is opened once: the directory stays with this process, and leads
/// nowhere when it has ended, whoever gets its number.
pub struct Process {
    directory: Result<OwnedFd, Unknown>,
    status: Result<Status, Unknown>,
    pub is_own: bool,
}

/// Which process it is.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Identity {
    /// The name of its program, `comm` of `proc_pid_comm(5)`.
    pub name: Answer<String>,
    /// Its number in the PID namespace that it is in.
    pub pid: Answer<u32>,
    /// Its numbers from the outermost PID namespace that can be seen to the one it is in.
    pub pids: Answer<Vec<u32>>,
}

impl Process {
    pub fn own() -> Self {
        Self::of(open("/proc/self"), true)
    }

    pub fn open(pid: u32) -> pk::Result<Self> {
        let path = format!("/proc/{pid}");
        let process = Self::of(open(&path), false);
        let call = format!("open({path:?})");
        let status = process.status.as_ref();
        status.map_err(|unknown| Error::new(&call, &unknown.reason))?;
        process.check_alive().attempt(call)?;
        Ok(process)
    }

    fn of(directory: Result<OwnedFd, Unknown>, is_own: bool) -> Self {
        let status = directory.as_ref().map_err(Clone::clone);
        let status = status.and_then(|directory| read(file(directory, "status")?)).map(Status);
        Self { directory, status, is_own }
    }

    /// Fails if it has ended: then some of what was read is that of nobody.
    pub fn check_alive(&self) -> pk::Result<()> {
        let status = self.read("status").map(Status).ok();
        let state = status.as_ref().and_then(|status| status.field("State"));
        // A zombie has nothing left but its number.
        match state.filter(|state| !state.starts_with(['Z', 'X'])) {
            Some(_) => Ok(()),
            None => Err(Error::new("", "the process has ended")),
        }
    }

    /// A line of its `/proc/PID/status`.
    pub fn status(&self, name: &str) -> Result<&str, Unknown> {
        self.status.as_ref().map_err(Clone::clone)?.field(name).ok_or_else(Unknown::not_told)
    }

    pub fn directory(&self) -> Result<&OwnedFd, Unknown> {
        self.directory.as_ref().map_err(Clone::clone)
    }

    /// Opens a file of its `/proc/PID`.
    pub fn file(&self, name: &str) -> Result<OwnedFd, Unknown> {
        file(self.directory()?, name)
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>, Unknown> {
        read(self.file(name)?)
    }

    /// Where a link of its `/proc/PID` leads.
    pub fn link(&self, name: &str) -> Result<Vec<u8>, Unknown> {
        Ok(readlinkat(self.directory()?, name, Vec::new())?.into_bytes())
    }

    /// The names in a directory of its `/proc/PID`.
    pub fn names(&self, name: &str) -> Result<Vec<String>, Unknown> {
        let mut names = Vec::new();
        for entry in Dir::new(self.file(name)?)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(Some(name).filter(|name| name != "." && name != ".."));
        }
        Ok(names)
    }

    pub fn identity(&self) -> Identity {
        let name = match thread::name() {
            Ok(name) if self.is_own => Ok(printable(name.to_bytes())),
            _ => self.read("comm").map(|name| printable(name.strip_suffix(b"\n").unwrap_or(&name))),
        };
        let pids = self.status("NSpid").map(numbers);
        let own = self.is_own.then(std::process::id);
        let innermost = pids.as_ref().ok().and_then(|pids| pids.last().copied());
        let pid = own.or(innermost).ok_or_else(Unknown::not_told);
        Identity { name: name.into(), pid: pid.into(), pids: pids.into() }
    }
}

impl Identity {
    pub fn facts(&self) -> Vec<Fact> {
        let pids = |pids: &Vec<u32>| match &pids[..] {
            [outer @ .., _] if !outer.is_empty() => {
                let outer: Vec<String> = outer.iter().rev().map(u32::to_string).collect();
                format!("outside {}", outer.join(", "))
            }
            _ => String::new(),
        };
        let note = self.pids.known().map_or(String::new(), pids);
        vec![
            Fact::of(Topic::Process, "name", self.name.as_ref(), String::clone),
            Fact::of(Topic::Process, "pid", self.pid.as_ref(), u32::to_string).note(note),
        ]
    }
}

fn file(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Unknown> {
    Ok(openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn read(file: OwnedFd) -> Result<Vec<u8>, Unknown> {
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a directory of a `/proc` that is one: anything can be mounted there.
fn open(path: &str) -> Result<OwnedFd, Unknown> {
    let none = || Unknown::new("no /proc");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, "/proc", flags, Mode::empty()).map_err(|_| none())?;
    if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
        return Err(none());
    }
    openat(CWD, path, flags, Mode::empty()).map_err(|errno| match errno {
        // It is that of a PID namespace in which this process is not.
        Errno::NOENT if path == "/proc/self" => Unknown::new("/proc is another PID namespace's"),
        Errno::NOENT => Unknown::new("no such process"),
        _ => errno.into(),
    })
}

/// `/proc/PID/status`: lines of a name and a value. `proc_pid_status(5)`.
struct Status(Vec<u8>);

impl Status {
    fn field(&self, name: &str) -> Option<&str> {
        let lines = self.0.split(|&byte| byte == b'\n');
        let mut values = lines
            .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
            .filter_map(|value| str::from_utf8(value).ok());
        values.next().map(str::trim)
    }
}

/// Numbers between blanks.
pub fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
