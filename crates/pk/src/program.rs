//! A program with all that it gets, in the form in which the kernel takes it.

use crate::search::is_missing;
use crate::sys::{self, Strings};
use crate::{Error, interpreter};
use nix::errno::Errno;
use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub type Variable = (OsString, OsString);

/// What is left to do is a system call, which a child does that borrows the memory of its parent.
pub struct Program {
    path: PathBuf,
    file: CString,
    /// What is executed in its place, from memory.
    copy: Option<OwnedFd>,
    arguments: Strings,
    environment: Strings,
}

impl Program {
    /// The file at `path`, or a copy of it.
    pub fn new(
        path: PathBuf,
        copy: Option<OwnedFd>,
        arguments: Vec<OsString>,
        environment: Vec<Variable>,
    ) -> Self {
        let assignment = |(mut name, value): Variable| {
            name.push("=");
            name.push(value);
            c_string(name)
        };
        let file = c_string(path.clone().into());
        let arguments = Strings::new(arguments.into_iter().map(c_string).collect());
        let environment = Strings::new(environment.into_iter().map(assignment).collect());
        Self { path, file, copy, arguments, environment }
    }

    /// This process becomes the program; returns only the kernel's answer. Does not use the heap.
    pub fn execute(&self) -> Errno {
        match &self.copy {
            None => sys::execve(&self.file, &self.arguments, &self.environment),
            Some(copy) => sys::execveat(copy, &self.arguments, &self.environment),
        }
    }

    /// What there is to say about that answer.
    pub fn why_not(&self, errno: Errno) -> Error {
        let path: &Path = &self.path;
        if self.copy.is_some() {
            return Error::cannot_run(format_args!("execveat({path:?})"), errno.desc());
        }
        let call = format_args!("execve({path:?})");
        if is_missing(errno) && !path.exists() {
            return Error::not_found(call, errno.desc());
        }
        Error::cannot_run(call, errno.desc()).hint(interpreter::why_not(path, errno))
    }

    /// This process becomes the program; returns only what kept it from that.
    pub fn become_it(&self) -> Error {
        self.why_not(self.execute())
    }
}

fn c_string(word: OsString) -> CString {
    CString::new(word.into_vec()).expect("the kernel's strings hold no NUL")
}
