//! `PK_STEP`: a stop before each step, to look at a process that is half-way to its container.
//!
//! What is asked and shown goes over the terminal, because standard input and output are PROG's.
//! The links of a chain hand on three descriptors: the terminal, what was seen at the last stop,
//! and a copy of pk-show. Most of the way there is no path to them.

use crate::bystander::{Bystander, children_go_elsewhere};
use crate::exec::{LINKS, Prog, become_program, is_own};
use crate::mode::Mode;
use crate::paint::Paint;
use crate::step::{Words, explanation};
use crate::{Attempt, Error, Result, Tool, sealed, sys, wait_for_helper};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode as Permissions, fstat, major, minor};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::exit;

/// A chain that is stepped through.
#[derive(Debug)]
pub struct Stepping {
    /// `1`, or the tools that stop.
    which: String,
    descriptors: Descriptors,
    /// Who looks around where a child of this process cannot.
    bystander: Option<Bystander>,
    runs_on: bool,
}

/// What the links hand on. They are open as long as the process lives.
#[derive(Clone, Copy, Debug)]
struct Descriptors {
    /// The terminal of who began the chain.
    terminal: i32,
    /// What pk-show saw when the last stop was left.
    seen: i32,
    /// A copy of pk-show, where there is one.
    show: Option<i32>,
}

/// Where a stop is made.
pub struct Stop<'a> {
    pub tool: &'a Tool,
    pub number: usize,
    pub total: usize,
    /// The steps that are left, this one first.
    pub rest: Vec<&'a Words>,
    /// Whether one of them forks.
    pub forks: bool,
    pub prog: Option<&'a Prog>,
}

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

const KEYS: &str = "Enter: do it  s: shell  d: changes  e: the rest  c: run on  q: give up >";

impl Stepping {
    /// What `PK_STEP` asks for: a terminal there has to be.
    pub fn begin(tool: &Tool, value: &OsStr) -> Result<Self> {
        let wrong = || {
            let what = format!("PK_STEP={}", value.to_string_lossy());
            Error::usage(what, "is 0, 1 or names of tools, as in pk-ns,pk-mounts")
        };
        let which = value.to_str().ok_or_else(wrong)?.to_owned();
        if which != "1" && !which.split(',').all(|name| name == tool.name || LINKS.contains(&name))
        {
            return Err(wrong());
        }
        let descriptors = match Descriptors::handed_on() {
            Some(descriptors) => descriptors,
            None => Descriptors::open()?,
        };
        Ok(Self { which, descriptors, bystander: None, runs_on: false })
    }

    /// The environment variables that tell the next link to go on with it.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let which = if self.runs_on { "0" } else { &self.which };
        let numbers: Vec<String> = self.descriptors().map(|number| number.to_string()).collect();
        [("PK_STEP", which.to_owned()), ("PK_STEP_FD", numbers.join(","))]
    }

    /// The descriptors that the next link needs for it.
    pub fn descriptors(&self) -> impl Iterator<Item = i32> {
        let Descriptors { terminal, seen, show } = self.descriptors;
        [terminal, seen].into_iter().chain(show)
    }

    /// Stops before a step, if this tool is to, until it is said to go on.
    pub fn stop(&mut self, stop: &Stop) -> Result<()> {
        let Stop { tool, number, total, .. } = *stop;
        let is_named = self.which == "1" || self.which.split(',').any(|name| name == tool.name);
        if self.runs_on || !is_named || stop.rest.is_empty() {
            return Ok(());
        }
        let terminal = self.descriptors.terminal_now()?;
        if stop.forks && self.bystander.is_none() {
            let look = |what| self.descriptors.look(what, &terminal, stop);
            self.bystander = Some(Bystander::post(tool, look)?);
        }
        let paint = Paint::of(&terminal);
        let place = paint.dim(format_args!("step {number} of {total}"));
        let words = stop.rest[0].explained("  ", paint);
        say(&terminal, format_args!("\n{}  {place}\n{words}", paint.bold(tool.name)))?;
        loop {
            say(&terminal, format_args!("{} ", paint.dim(KEYS)))?;
            match ask(&terminal)?.as_deref().map(str::trim) {
                Some("") => return self.look(Look::Remember, &terminal, stop),
                Some("s") => {
                    say(&terminal, "This is how it is before the step; exit leads back.\n")?;
                    self.look(Look::Shell, &terminal, stop)?;
                }
                Some("d") => self.show_changes(&terminal, stop)?,
                Some("e") => {
                    // A link says itself what it does.
                    let link = stop.prog.is_some_and(Prog::is_link);
                    let own = stop.rest.len() - usize::from(link);
                    say(&terminal, explanation(number, &stop.rest[..own], paint))?;
                    if link {
                        self.look(Look::Rest, &terminal, stop)?;
                    }
                }
                Some("c") => {
                    self.runs_on = true;
                    return Ok(());
                }
                Some("q") | None => {
                    let reason = format!("given up before step {number} of {total}");
                    return Err(Error::new("PK_STEP", reason));
                }
                Some(_) => {}
            }
        }
    }

    /// Before a fork, after which there would be two processes to talk to the bystander.
    pub fn dismiss_bystander(&mut self) {
        self.bystander = None;
    }

    fn show_changes(&self, terminal: &File, stop: &Stop) -> Result<()> {
        let seen = sys::descriptor(self.descriptors.seen).attempt("PK_STEP_FD")?;
        if self.descriptors.show.is_none() {
            return say(terminal, "There is no pk-show beside this tool to see it with.\n");
        }
        if fstat(seen).attempt("fstat(memfd)")?.st_size == 0 {
            return say(terminal, "This is the first stop.\n");
        }
        self.look(Look::Changes, terminal, stop)
    }

    fn look(&self, what: Look, terminal: &File, stop: &Stop) -> Result<()> {
        without_the_keys(|mask| match &self.bystander {
            Some(bystander) if children_go_elsewhere() => bystander.ask(what),
            _ => in_child(stop.tool, mask, || self.descriptors.look(what, terminal, stop)),
        })
    }
}

impl Descriptors {
    fn handed_on() -> Option<Self> {
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

    fn open() -> Result<Self> {
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
    fn terminal_now(self) -> Result<File> {
        if let Some(terminal) = controlling_terminal() {
            return Ok(terminal);
        }
        let terminal = sys::descriptor(self.terminal).attempt("PK_STEP_FD")?;
        Ok(File::from(terminal.try_clone_to_owned()?))
    }

    /// Becomes what looks; returns only the error.
    fn look(self, what: Look, terminal: &File, stop: &Stop) -> Error {
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
                Err(become_program(Path::new("/bin/sh"), words.into(), environment.collect()))
            }
            (Look::Rest, _) => {
                dup2_stdout(terminal)?;
                let mode = Mode { explain: true, ..Mode::default() };
                let prog = stop.prog.ok_or(Errno::EINVAL)?;
                Err(prog.exec_to_explain(stop.tool, &mode))
            }
        }
    }
}

fn become_show(
    show: BorrowedFd,
    options: &[&str],
    environment: Vec<(OsString, OsString)>,
) -> Result<Infallible> {
    let words = ["pk-show"].iter().chain(options).map(OsString::from).collect();
    Err(sealed::execute(show, words, environment)).attempt("execveat(pk-show)")
}

/// Does something while Ctrl-C is meant for somebody else: the terminal sends it to the whole group.
/// `act` is given the mask from before.
fn without_the_keys<T>(act: impl FnOnce(&SigSet) -> Result<T>) -> Result<T> {
    let keys = SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT]);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&keys), Some(&mut before))?;
    let done = act(&before);
    let signals = SignalFd::with_flags(&keys, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    while signals.read_signal()?.is_some() {}
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    done
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

fn say(mut terminal: &File, text: impl Display) -> Result<()> {
    terminal.write_all(text.to_string().as_bytes()).attempt("write(terminal)")
}

/// A line; none at the end of what is typed (Ctrl-D).
fn ask(mut terminal: &File) -> Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        match terminal.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).attempt("read(terminal)"),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
