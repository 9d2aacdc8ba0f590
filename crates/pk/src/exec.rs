//! Finding PROG before anything is done, and becoming it at the end.

use crate::args::quote;
use crate::mode::Mode;
use crate::step::Words;
use crate::{Error, Result, Tool, interpreter, sealed, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{fstat, stat};
use nix::unistd::{AccessFlags, access, execve};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The tools that take a PROG. They are told the mode through the environment, and explain
/// themselves where another PROG would not be run.
pub const LINKS: [&str; 7] =
    ["pk-pty", "pk-cgroup", "pk-ns", "pk-mounts", "pk-chroot-exec", "pk-privs", "pk-init"];

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

type Variable = (OsString, OsString);

/// A program that was found, with the arguments and the environment it will get.
#[derive(Debug)]
pub struct Prog {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Option<Vec<(OsString, OsString)>>,
    /// What is executed in its place.
    copy: Option<OwnedFd>,
    /// Why it cannot be run, where only a process that really runs the steps may complain.
    pub(crate) missing: Option<Error>,
}

impl Prog {
    /// Finds PROG, the first operand, as `execvp(3)` would in this process.
    ///
    /// 127 where it is not there, 126 where it cannot run; another tool of the chain may be missing
    /// where the steps are only explained.
    pub fn find(operands: Vec<OsString>) -> Result<Self> {
        let search_path = std::env::var_os("PATH");
        let name = first(&operands)?;
        let path = search(name, search_path.as_deref(), "", |path| match stat(path) {
            Err(errno) => refused(errno),
            Ok(file) if is_directory(file.st_mode) => refused(Errno::EISDIR),
            Ok(_) => access(path, AccessFlags::X_OK).map_or_else(refused, |()| Candidate::Runs),
        });
        let (path, missing) = match path {
            Ok(path) => (path, None),
            // A link at a place of ROOT's is there only once the links before it have run.
            Err(error) if is_link(Path::new(name)) => (PathBuf::from(name), Some(error)),
            Err(error) => return Err(error),
        };
        Ok(Self { path, arguments: operands, environment: None, copy: None, missing })
    }

    /// Finds PROG in the same way if it is another tool of the chain; else gives the operands back.
    pub fn find_link(operands: Vec<OsString>) -> Result<Self, Vec<OsString>> {
        match operands.first() {
            Some(name) if is_link(Path::new(name)) => match Self::find(operands.clone()) {
                Ok(prog) if prog.missing.is_none() => Ok(prog),
                _ => Err(operands),
            },
            _ => Err(operands),
        }
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
        Ok(Self { path, arguments: operands, environment: None, copy: None, missing })
    }

    /// Gives PROG this environment instead of the process's own.
    #[must_use]
    pub fn with_environment(mut self, environment: Vec<(OsString, OsString)>) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Whether PROG is another tool of the chain.
    pub(crate) fn is_link(&self) -> bool {
        is_link(&self.path)
    }

    /// The file that was found.
    pub(crate) fn into_path(self) -> PathBuf {
        self.path
    }

    /// Has a sealed copy executed in its place, from wherever the process is by then.
    pub(crate) fn seal(&mut self) -> Result<()> {
        self.copy = Some(sealed::unreadable_copy(&self.path)?);
        Ok(())
    }

    /// What is said of the final step.
    pub(crate) fn words(&self) -> Words {
        let why = "nothing of the tool stays behind: the process becomes the program";
        let env = self.environment.as_deref().map_or(Vec::new(), |environment| {
            let own: Vec<_> = std::env::vars_os().collect();
            env_command(&own, environment)
        });
        let quoted: Vec<String> = env.iter().chain(&self.arguments).map(quote).collect();
        let arguments: Vec<String> =
            self.arguments.iter().map(|word| format!("{word:?}")).collect();
        let (path, arguments) = (&self.path, arguments.join(", "));
        let call = match self.copy {
            None => format!("execve({path:?}, [{arguments}])"),
            Some(_) => format!("execveat(memfd of {path:?}, \"\", [{arguments}], AT_EMPTY_PATH)"),
        };
        Words { why, call, shell: format!("exec {}", quoted.join(" ")) }
    }

    /// Becomes PROG, as the step of that number; returns only the error. `told` is a variable for
    /// the next link.
    pub(crate) fn exec(
        self,
        tool: &Tool,
        number: usize,
        mode: &Mode,
        told: Option<(&'static str, String)>,
    ) -> Error {
        if let Some(trace) = &mode.trace
            && let Err(error) = trace.report(tool, number, &self.words(), None)
        {
            return error;
        }
        let link = self.is_link();
        // The next link needs them too, whatever was closed; another PROG is not to have them.
        for descriptor in mode.descriptors() {
            if let Err(errno) = sys::set_close_on_exec(descriptor, !link) {
                return Error::from(errno).attempting(format_args!("fcntl({descriptor}, F_SETFD)"));
            }
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
        if link {
            let told = mode.variables();
            environment.retain(|(name, _)| !told.iter().any(|(other, _)| name == other));
            environment.extend(told.into_iter().map(|(name, value)| (name.into(), value.into())));
        } else {
            environment.retain(|(name, _)| !is_own(name));
        }
        match self.copy {
            None => become_program(&self.path, self.arguments, environment),
            Some(copy) => {
                let errno = sealed::execute(&copy, self.arguments, environment);
                Error::cannot_run(format!("execveat({:?})", self.path), errno.desc())
            }
        }
    }

    /// Goes on to the next link of a chain that is being explained. A link that will be found
    /// only inside ROOT stands beside this program too.
    pub(crate) fn exec_to_explain(&self, tool: &Tool, mode: &Mode) -> Error {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join(self.path.file_name()?)))
            .filter(|path| path.exists());
        let path = beside.unwrap_or_else(|| self.path.clone());
        let arguments = self.arguments.clone();
        Self { path, arguments, environment: None, copy: None, missing: None }
            .exec(tool, 0, mode, None)
    }
}

/// The command that gives a program another environment: the shorter of `env -i` and of what
/// differs. Variables of ours are nobody else's.
fn env_command(own: &[Variable], other: &[Variable]) -> Vec<OsString> {
    let lasts = |variable: &&Variable| !variable.0.as_bytes().starts_with(b"PK_");
    let assignment = |(name, value): &Variable| {
        let mut word = name.clone();
        word.push("=");
        word.push(value);
        word
    };
    let is_gone = |one: &&Variable| other.iter().all(|another| another.0 != one.0);
    let gone = own.iter().filter(lasts).filter(is_gone);
    let gone = gone.flat_map(|(name, _)| [OsString::from("-u"), name.clone()]);
    let new = other.iter().filter(lasts).filter(|one| !own.contains(one)).map(assignment);
    let changes: Vec<OsString> = gone.chain(new).collect();
    let all = other.iter().filter(lasts).map(assignment);
    let all: Vec<OsString> = std::iter::once("-i".into()).chain(all).collect();
    let shorter = if changes.len() <= all.len() { changes } else { all };
    if shorter.is_empty() { shorter } else { [vec!["env".into()], shorter].concat() }
}

fn is_link(path: &Path) -> bool {
    path.file_name().is_some_and(|name| LINKS.iter().any(|&link| name == link))
}

/// Whether a variable is one of those by which links tell each other something.
pub fn is_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"PK_")
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

pub fn is_missing(errno: Errno) -> bool {
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

pub fn become_program(
    path: &Path,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
) -> Error {
    let call = format!("execve({path:?})");
    let file = CString::new(path.as_os_str().as_bytes()).expect("the kernel's strings hold no NUL");
    let (arguments, environment) = (sealed::c_strings(arguments), sealed::assignments(environment));
    let Err(errno) = execve(&file, &arguments, &environment);
    if is_missing(errno) && !path.exists() {
        return Error::not_found(call, errno.desc());
    }
    Error::cannot_run(call, errno.desc()).hint(interpreter::why_not(path, errno))
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
    fn another_environment_is_given_by_env() {
        let variables = |text: &str| -> Vec<Variable> {
            let pair = |word: &str| word.split_once('=').map(|(a, b)| (a.into(), b.into()));
            text.split_whitespace().filter_map(pair).collect()
        };
        let table = [
            ("A=1 PK_X=1", "A=1", ""),
            ("A=1 B=2 C=3", "A=2 B=2 C=3", "env A=2"),
            ("A=1 B=2 C=3", "A=1 B=2", "env -u C"),
            ("A=1 B=2 C=3", "D=1", "env -i D=1"),
            ("A=1", "", "env -i"),
        ];
        for (own, other, expected) in table {
            let words = env_command(&variables(own), &variables(other));
            assert_eq!(words.join(OsStr::new(" ")), expected, "{own}: {other}");
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
}
