//! A helper that writes id maps: only a process outside of a user namespace may map more ids than
//! one's own, and as an ordinary user only newuidmap(1) and newgidmap(1), which are setuid.

use crate::idmap::{joined, words};
use crate::namespaces::apparmor_restricts;
use nix::errno::Errno;
use nix::unistd::{Pid, geteuid};
use pk::{Error, IdRange, Result};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Command;

/// A process outside of the new user namespace, waiting to write its maps.
pub struct Helper {
    pid: Pid,
    talk: UnixStream,
}

impl Helper {
    pub fn fork(uids: &[IdRange], gids: &[IdRange]) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let Some(pid) = pk::fork_helper()? else {
            drop(ours);
            help(theirs, uids, gids);
        };
        Ok(Self { pid, talk: ours })
    }

    /// Asks for the maps, and waits until they are written. Only a helper that says so has written
    /// them: without its maps the namespace is there all the same, and PROG would be nobody in it.
    pub fn ask(mut self) -> Result<()> {
        self.talk.shutdown(Shutdown::Write)?;
        let mut said = String::new();
        self.talk.read_to_string(&mut said)?;
        pk::wait_for_helper(self.pid)?;
        if said == WRITTEN {
            return Ok(());
        }
        match said.split_once(": ") {
            Some((call, reason)) => Err(Error::new(call, reason).hint(apparmor_restricts())),
            None => {
                Err(Error::new("waitpid(helper)", "it was killed before the maps were written"))
            }
        }
    }
}

/// What a helper says that has done its work.
const WRITTEN: &str = "written";

/// The helper's whole life: wait for the end of input, write the maps, say what went wrong.
fn help(mut talk: UnixStream, uids: &[IdRange], gids: &[IdRange]) -> ! {
    let pid = std::os::unix::process::parent_id();
    let written = talk.read_to_end(&mut Vec::new()).map_err(|error| reason(&error));
    let written = written.and_then(|_| write_maps(pid, uids, gids));
    let said = written.map_or_else(|complaint| complaint, |()| WRITTEN.to_owned());
    let _ = talk.write_all(said.as_bytes());
    std::process::exit(0)
}

fn write_maps(pid: u32, uids: &[IdRange], gids: &[IdRange]) -> Result<(), String> {
    if geteuid().is_root() {
        for (file, ranges) in [("uid_map", uids), ("gid_map", gids)] {
            let path = format!("/proc/{pid}/{file}");
            let written = OpenOptions::new().write(true).open(&path);
            let written =
                written.and_then(|mut file| file.write_all(joined(ranges, "\n").as_bytes()));
            written.map_err(|error| format!("write({path:?}): {}", reason(&error)))?;
        }
        return Ok(());
    }
    for (program, ranges) in [("newuidmap", uids), ("newgidmap", gids)] {
        let text = words(ranges);
        let output = Command::new(program).arg(pid.to_string()).args(text.split(' ')).output();
        let output = output.map_err(|error| {
            format!("execve({program:?}): {} (Debian's package uidmap has it)", reason(&error))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().rsplit('\n').next().unwrap_or_default();
            let said = said.strip_prefix(&format!("{program}: ")).unwrap_or(said);
            // Who is killed says nothing.
            let reason = if said.is_empty() { output.status.to_string() } else { said.to_owned() };
            return Err(format!("{program}({text}): {reason}"));
        }
    }
    Ok(())
}

/// The kernel's answer without the number that `io::Error` adds to it.
fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or(error.to_string(), |errno| Errno::from_raw(errno).desc().to_owned())
}
