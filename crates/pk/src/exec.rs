//! Finding PROG before anything is done, and becoming it at the end.

use crate::args::quote;
use crate::mode::Mode;
use crate::program::{Program, Variable};
use crate::search::search;
use crate::step::Words;
use crate::{Attempt, Error, Result, sealed, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{fstat, stat};
use nix::unistd::{AccessFlags, access};
use std::ffi::{OsStr, OsString};
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

/// A program that was found, with the arguments and the environment it will get.
#[derive(Debug)]
pub struct Prog {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Option<Vec<Variable>>,
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
        let path = search(name, search_path.as_deref(), "", |path| {
            check_kind(stat(path)?.st_mode)?;
            access(path, AccessFlags::X_OK)
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
        let name = first(&operands)?;
        let found = search(name, search_path, " inside the new root", |path| {
            let mode = fstat(openat2(&root, &directory.join(path), how)?)?.st_mode;
            check_kind(mode)?;
            if mode & 0o111 == 0 { Err(Errno::EACCES) } else { Ok(()) }
        });
        let (path, missing) = match found {
            Ok(path) => (path, None),
            Err(error) => (PathBuf::from(name), Some(error)),
        };
        Ok(Self { path, arguments: operands, environment: None, copy: None, missing })
    }

    /// Gives PROG this environment instead of the process's own.
    #[must_use]
    pub fn with_environment(mut self, environment: Vec<Variable>) -> Self {
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

    /// PROG with its arguments and environment, and with the descriptors that it is to have. `told`
    /// is a variable for the next link.
    pub(crate) fn ready(
        self,
        mode: &Mode,
        told: Option<(&'static str, String)>,
    ) -> Result<Program> {
        let link = self.is_link();
        // The next link needs them too, whatever was closed; another PROG is not to have them.
        for descriptor in mode.descriptors() {
            sys::set_close_on_exec(descriptor, !link)
                .attempt(format_args!("fcntl({descriptor}, F_SETFD)"))?;
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
        Ok(Program::new(self.path, self.copy, self.arguments, environment))
    }

    /// Goes on to the next link of a chain that is being explained. A link that will be found
    /// only inside ROOT stands beside this program too.
    pub(crate) fn exec_to_explain(&self, mode: &Mode) -> Error {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join(self.path.file_name()?)))
            .filter(|path| path.exists());
        let path = beside.unwrap_or_else(|| self.path.clone());
        let arguments = self.arguments.clone();
        let link = Self { path, arguments, environment: None, copy: None, missing: None };
        link.ready(mode, None).map_or_else(|error| error, |program| program.become_it())
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

/// A directory is searched where it may be executed.
fn check_kind(mode: libc::mode_t) -> nix::Result<()> {
    if mode & libc::S_IFMT == libc::S_IFDIR { Err(Errno::EISDIR) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
