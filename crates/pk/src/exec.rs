//! Finding PROG before anything is done, and becoming it at the end.

use crate::args::quote;
use crate::step::Mode;
use crate::{Error, Result, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{fstat, stat};
use nix::unistd::{AccessFlags, access, execve};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The tools that take a PROG. They are told the mode through the environment, and explain
/// themselves where another PROG would not be run.
const LINKS: [&str; 6] = ["pk-pty", "pk-cgroup", "pk-ns", "pk-mounts", "pk-chroot-exec", "pk-init"];

/// The variable by which pk-pty tells pk-chroot-exec the number of a socket: whoever opens a
/// terminal for PROG sends its master there.
pub const CONSOLE_FD: &str = "PK_CONSOLE_FD";

/// Where PROG is looked for when there is no PATH: what `execvp(3)` takes.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What a path on the search for PROG turned out to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Candidate {
    /// A file that may be executed.
    Runs,
    /// Nothing there.
    Missing,
    /// Something there that cannot be executed, and why.
    Cannot(Errno),
}

/// A program that was found, with the arguments and the environment it will get.
#[derive(Debug)]
pub struct Prog {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Option<Vec<(OsString, OsString)>>,
    /// Why it cannot be run, where only a process that really runs the steps may complain.
    pub(crate) missing: Option<Error>,
}

impl Prog {
    /// Finds PROG, the first operand, as `execvp(3)` would in this process.
    ///
    /// 127 where it is not there, 126 where it cannot run.
    pub fn find(operands: Vec<OsString>) -> Result<Self> {
        let search_path = std::env::var_os("PATH");
        let name = first(&operands)?;
        let path = search(name, search_path.as_deref(), "", |path| match stat(path) {
            Err(errno) => refused(errno),
            Ok(file) if is_directory(file.st_mode) => refused(Errno::EISDIR),
            Ok(_) => access(path, AccessFlags::X_OK).map_or_else(refused, |()| Candidate::Runs),
        })?;
        Ok(Self { path, arguments: operands, environment: None, missing: None })
    }

    /// The same for a PROG that will be run inside `root`, with `directory` of it as the working
    /// directory. The kernel resolves every link inside the root, `openat2(2)`.
    ///
    /// A PROG that is not there is an error only once the steps are really run: where they are
    /// explained, earlier links have not put the root together.
    pub fn find_inside(
        root: impl AsFd,
        directory: &Path,
        operands: Vec<OsString>,
        search_path: Option<&OsStr>,
    ) -> Result<Self> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mode = |path: &Path| Ok(fstat(openat2(&root, &directory.join(path), how)?)?.st_mode);
        let name = first(&operands)?;
        let found = search(name, search_path, " inside the new root", |path| match mode(path) {
            Err(errno) => refused(errno),
            Ok(mode) if is_directory(mode) => refused(Errno::EISDIR),
            Ok(mode) if mode & 0o111 == 0 => refused(Errno::EACCES),
            Ok(_) => Candidate::Runs,
        });
        let (path, missing) = match found {
            Ok(path) => (path, None),
            Err(error) => (PathBuf::from(name), Some(error)),
        };
        Ok(Self { path, arguments: operands, environment: None, missing })
    }

    /// Gives PROG this environment instead of the process's own.
    #[must_use]
    pub fn with_environment(mut self, environment: Vec<(OsString, OsString)>) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Whether PROG is another tool of the chain.
    pub(crate) fn is_link(&self) -> bool {
        self.path.file_name().is_some_and(|name| LINKS.iter().any(|&link| name == link))
    }

    /// The final step as a system call.
    pub(crate) fn call(&self) -> String {
        let arguments: Vec<String> =
            self.arguments.iter().map(|word| format!("{word:?}")).collect();
        format!("execve({:?}, [{}])", self.path, arguments.join(", "))
    }

    /// The final step in shell.
    pub(crate) fn shell(&self) -> String {
        let words: Vec<String> = self.arguments.iter().map(quote).collect();
        format!("exec {}", words.join(" "))
    }

    /// Becomes PROG; returns only the error. `told` is a variable for the next link.
    pub(crate) fn exec(self, mode: &Mode, told: Option<(&'static str, String)>) -> Error {
        let link = self.is_link();
        // The next link reports on it too, whatever was closed; another PROG is not to have it.
        if let Some(trace) = mode.trace.as_ref().filter(|trace| trace.descriptor > 2)
            && let Err(error) = sys::set_close_on_exec(trace.descriptor, !link)
        {
            return Error::from(error).attempting("fcntl(PK_TRACE_FD, F_SETFD)");
        }
        let mut environment = self.environment.unwrap_or_else(|| std::env::vars_os().collect());
        if let Some((name, value)) = told {
            environment.retain(|(other, _)| other != name);
            environment.push((name.into(), value.into()));
        }
        let console = environment.iter().find(|(name, _)| name == CONSOLE_FD);
        if let Some(number) = console.and_then(|(_, value)| value.to_str()?.parse().ok()) {
            // A variable that somebody made up names no descriptor, which is told where it is used.
            let _ = sys::set_close_on_exec(number, !link);
        }
        let own = |name: &OsStr| name.as_bytes().starts_with(b"PK_");
        let mut environment: Vec<_> =
            environment.into_iter().filter(|(name, _)| link || !own(name)).collect();
        if link {
            let told = mode.variables();
            environment.retain(|(name, _)| !told.iter().any(|(other, _)| name == other));
            environment.extend(told.into_iter().map(|(name, value)| (name.into(), value.into())));
        }
        become_program(&self.path, self.arguments, environment)
    }

    /// Goes on to the next link of a chain that is being explained. A link that will be found
    /// only inside ROOT stands beside this program too.
    pub(crate) fn exec_to_explain(&self, mode: &Mode) -> Error {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join(self.path.file_name()?)))
            .filter(|path| path.exists());
        let path = beside.unwrap_or_else(|| self.path.clone());
        Self { path, arguments: self.arguments.clone(), environment: None, missing: None }
            .exec(mode, None)
    }
}

fn first(operands: &[OsString]) -> Result<&OsString> {
    let hint = || "--help shows the operands".to_owned();
    operands.first().ok_or_else(|| Error::usage("PROG", "missing operand").hint(hint()))
}

fn is_directory(mode: libc::mode_t) -> bool {
    mode & libc::S_IFMT == libc::S_IFDIR
}

fn refused(errno: Errno) -> Candidate {
    if is_missing(errno) { Candidate::Missing } else { Candidate::Cannot(errno) }
}

fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
}

fn search(
    name: &OsStr,
    search_path: Option<&OsStr>,
    place: &str,
    probe: impl Fn(&Path) -> Candidate,
) -> Result<PathBuf> {
    let search_path = search_path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let call = |path: &Path| format!("execve({path:?})");
    let given = Path::new(name);
    if name.as_bytes().contains(&b'/') {
        return match probe(given) {
            Candidate::Runs => Ok(given.to_owned()),
            Candidate::Missing => Err(Error::not_found(call(given), Errno::ENOENT.desc())),
            Candidate::Cannot(errno) => Err(Error::cannot_run(call(given), errno.desc())),
        };
    }
    let mut refused = None;
    for directory in search_path.as_bytes().split(|&byte| byte == b':').filter(|_| !name.is_empty())
    {
        // POSIX: an empty element is the working directory.
        let directory: &[u8] = if directory.is_empty() { b"." } else { directory };
        let path = Path::new(OsStr::from_bytes(directory)).join(name);
        match probe(&path) {
            Candidate::Runs => return Ok(path),
            Candidate::Missing => {}
            Candidate::Cannot(errno) => refused = refused.or(Some((path, errno))),
        }
    }
    match refused {
        Some((path, errno)) => Err(Error::cannot_run(call(&path), errno.desc())),
        None => Err(Error::not_found(call(given), Errno::ENOENT.desc())
            .hint(format!("looked in PATH={}{place}", search_path.to_string_lossy()))),
    }
}

fn become_program(
    path: &Path,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
) -> Error {
    let call = format!("execve({path:?})");
    let c_string = |bytes| CString::new(bytes).expect("the kernel's strings hold no NUL");
    let arguments: Vec<CString> =
        arguments.into_iter().map(OsString::into_vec).map(c_string).collect();
    let environment: Vec<CString> = environment
        .into_iter()
        .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
        .map(c_string)
        .collect();
    let file = c_string(path.as_os_str().as_bytes().to_vec());
    let Err(errno) = execve(&file, &arguments, &environment);
    if is_missing(errno) && !path.exists() {
        return Error::not_found(call, errno.desc());
    }
    Error::cannot_run(call, errno.desc()).hint(why_not(path, errno))
}

/// Why a file that is there could not be executed, as far as its first bytes tell.
fn why_not(path: &Path, errno: Errno) -> Option<String> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    let missing = |interpreter: &Path| is_missing(errno) && !interpreter.exists();
    match interpreter(&head) {
        Some(interpreter) if missing(&interpreter) => {
            Some(format!("{path:?} is there; its interpreter {interpreter:?} is not"))
        }
        None if errno == Errno::ENOEXEC && !head.starts_with(b"\x7fELF") => Some(format!(
            "{path:?} has no #! line; name its interpreter, as in: sh {}",
            path.display()
        )),
        _ if errno == Errno::ENOEXEC => {
            Some(format!("{path:?} is made for another kind of processor"))
        }
        _ => None,
    }
}

/// The program that the kernel starts for a file: of a script's `#!` line, or an ELF file's
/// dynamic loader. `execve(2)`, `elf(5)`.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let path = |bytes: &[u8]| Some(PathBuf::from(OsStr::from_bytes(bytes)));
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii_start();
        return path(line.split(u8::is_ascii_whitespace).next()?);
    }
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        bytes
            .iter()
            .rev()
            .try_fold(0_usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))
    };
    // Only 64-bit little-endian files are read further.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let entry = table.checked_add(index * size)?;
        if number(entry, 4)? == 3 {
            let (offset, length) = (number(entry + 8, 8)?, number(entry + 32, 8)?);
            let name = head.get(offset..offset.checked_add(length)?)?;
            return path(name.strip_suffix(b"\0").unwrap_or(name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn probe(path: &Path) -> Candidate {
        match path.to_str().unwrap() {
            "/bin/sh" | "./here" => Candidate::Runs,
            "/bin" | "/sbin/sh" => Candidate::Cannot(Errno::EISDIR),
            "/bin/text" => Candidate::Cannot(Errno::EACCES),
            _ => Candidate::Missing,
        }
    }

    #[test]
    fn a_program_is_searched_as_execvp_does() {
        let table: &[(&str, &str, std::result::Result<&str, u8>)] = &[
            ("sh", "/sbin:/bin", Ok("/bin/sh")),
            ("here", "/bin:", Ok("./here")),
            ("here", "/bin", Err(127)),
            ("/bin/sh", "", Ok("/bin/sh")),
            ("/bin", "/", Err(126)),
            ("text", "/bin:/usr/bin", Err(126)),
            ("/bin/none", "/bin", Err(127)),
            ("", "/bin", Err(127)),
        ];
        for &(name, path, expected) in table {
            let found = search(OsStr::new(name), Some(OsStr::new(path)), "", probe);
            let found = found.map_err(|error| error.status(Kind::Plain));
            assert_eq!(found, expected.map(PathBuf::from), "{name} in {path}");
        }
    }

    #[test]
    fn the_interpreter_is_read_from_the_first_bytes() {
        assert_eq!(interpreter(b"#!/bin/sh -e\necho"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#! /usr/bin/env python3\n"), Some("/usr/bin/env".into()));
        assert_eq!(interpreter(b"echo"), None);
        let mut elf = vec![0; 200];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 1);
        (elf[64], elf[64 + 8], elf[64 + 32]) = (3, 130, 8);
        elf[130..138].copy_from_slice(b"/lib/ld\0");
        assert_eq!(interpreter(&elf), Some("/lib/ld".into()));
        for length in 0..elf.len() {
            interpreter(&elf[..length]);
        }
        elf[64 + 8..64 + 16].fill(0xff);
        assert_eq!(interpreter(&elf), None);
    }
}
