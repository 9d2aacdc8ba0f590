//! What is looked at where a chain stops: by processes that are started for it.

use crate::exec::{Prog, is_own};
use crate::mode::Mode;
use crate::program::{Program, Variable};
use crate::stepping::Stop;
use crate::{Attempt, Error, Result, Tool, sealed, sys, wait_for_helper};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode as Permissions, fstat, major, minor};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::exit;

/// What a process is started for at a stop.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Look {
    /// A shell, to look around.
    Shell,
    /// What differs from what was remembered.
    Changes,
    /// The explanation of the links that come after this one.
    Rest,
    /// To be able to say at the next stop what has changed.
    Remember,
}

impl From<u8> for Look {
    fn from(byte: u8) -> Self {
        let all = [Self::Shell, Self::Changes, Self::Rest, Self::Remember];
        *all.iter().find(|&&one| one as u8 == byte).unwrap_or(&Self::Remember)
    }
}

/// What the links hand on. They are open as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// The terminal of who began the chain.
    pub terminal: i32,
    /// What pk-show saw when the last stop was left.
    pub seen: i32,
    /// A copy of pk-show, where there is one.
    pub show: Option<i32>,
}

impl Descriptors {
    /// Those that the link before has handed on.
    pub fn handed_on() -> Option<Self> {
        let text = env::var("PK_STEP_FD").ok()?;
        let open = |number: &str| number.parse().ok().filter(|&one| sys::descriptor(one).is_ok());
        let numbers: Option<Vec<i32>> = text.split(',').map(open).collect();
        let numbers = numbers?;
        // What is started at a stop is to have none of them.
        let closed = numbers.iter().try_for_each(|&number| sys::set_close_on_exec(number, true));
        closed.ok()?;
        let show = numbers.get(2).copied();
        Some(Self { terminal: *numbers.first()?, seen: *numbers.get(1)?, show })
    }

    /// New ones: for the first link.
    pub fn open() -> Result<Self> {
        let terminal = controlling_terminal().ok_or_else(|| {
            let hint =
                "script --quiet --command COMMAND /dev/null gives one; PK_TRACE=1 needs none";
            Error::usage("PK_STEP", "there is no terminal to stop at").hint(hint.to_owned())
        })?;
        let seen = memfd_create("pk-seen", MemfdFlags::CLOEXEC).attempt("memfd_create")?;
        let show = find_show().map(|path| sealed::copy(&path)).transpose()?;
        let show = show.map(|show| high(show.as_fd())).transpose()?;
        Ok(Self { terminal: high(terminal.as_fd())?, seen: high(seen.as_fd())?, show })
    }

    /// The terminal that controls this process, which may have got one of its own on the way; else
    /// the one that it came from.
    pub fn terminal_now(self) -> Result<File> {
        if let Some(terminal) = controlling_terminal() {
            return Ok(terminal);
        }
        let terminal = sys::descriptor(self.terminal).attempt("PK_STEP_FD")?;
        Ok(File::from(terminal.try_clone_to_owned()?))
    }

    /// Becomes what looks; returns only the error.
    pub fn look(self, what: Look, terminal: &File, stop: &Stop) -> Error {
        match self.try_look(what, terminal, stop) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_look(self, what: Look, terminal: &File, stop: &Stop) -> Result<Infallible> {
        let seen = sys::descriptor(self.seen)?;
        let show = self.show.map(sys::descriptor).transpose()?;
        let environment = env::vars_os().filter(|(name, _)| !is_own(name));
        dup2_stderr(terminal)?;
        match (what, show) {
            (Look::Remember, Some(show)) => {
                ftruncate(seen, 0)?;
                seek(seen, SeekFrom::Start(0))?;
                dup2_stdout(seen)?;
                become_show(show, &["--json"], environment.collect())
            }
            (Look::Changes, Some(show)) => {
                seek(seen, SeekFrom::Start(0))?;
                dup2_stdin(seen)?;
                dup2_stdout(terminal)?;
                become_show(show, &["--diff", "-"], environment.collect())
            }
            (Look::Remember | Look::Changes, None) => exit(0),
            (Look::Shell, _) => {
                dup2_stdin(terminal)?;
                dup2_stdout(terminal)?;
                let prompt = format!("{}# ", stop.tool.name);
                let environment = environment.filter(|(name, _)| name != "PS1");
                let environment = environment.chain([("PS1".into(), prompt.into())]);
                // Without job control, which needs a process group that has a number in here.
                let words = ["sh", "+m", "-i"].map(OsString::from);
                let shell = PathBuf::from("/bin/sh");
                Err(Program::new(shell, None, words.into(), environment.collect()).become_it())
            }
            (Look::Rest, _) => {
                dup2_stdout(terminal)?;
                let mode = Mode { explain: true, ..Mode::default() };
                let prog = stop.prog.ok_or(Errno::EINVAL)?;
                Err(prog.exec_to_explain(&mode))
            }
        }
    }
}

fn become_show(
    show: BorrowedFd,
    options: &[&str],
    environment: Vec<Variable>,
) -> Result<Infallible> {
    let words = ["pk-show"].iter().chain(options).map(OsString::from).collect();
    let copy = Some(show.try_clone_to_owned()?);
    Err(Program::new("pk-show".into(), copy, words, environment).become_it())
}

/// Does something in a child with this signal mask, and waits for it.
pub fn in_child(tool: &Tool, mask: &SigSet, act: impl FnOnce() -> Error) -> Result<()> {
    match sys::fork().attempt("fork()")? {
        ForkResult::Parent { child } => wait_for_helper(child),
        ForkResult::Child => {
            let unblocked = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None);
            let error = unblocked.map_or_else(Error::from, |()| act());
            error.print(tool.name);
            exit(error.status(tool.kind).into())
        }
    }
}

/// `/dev/tty`, if it is that: a root can have anything there.
fn controlling_terminal() -> Option<File> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let terminal = open("/dev/tty", flags, Permissions::empty()).ok()?;
    let device = fstat(&terminal).ok()?.st_rdev;
    ((major(device), minor(device)) == (5, 0)).then(|| terminal.into())
}

/// Beside this tool, or where programs are.
fn find_show() -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("pk-show")));
    let on_path = || Prog::find(vec!["pk-show".into()]).ok().map(Prog::into_path);
    beside.filter(|path| path.exists()).or_else(on_path)
}

/// A copy out of the way of the numbers that a script uses, as shells keep theirs.
fn high(descriptor: BorrowedFd) -> Result<i32> {
    fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(10)).attempt("fcntl(F_DUPFD_CLOEXEC, 10)")
}
