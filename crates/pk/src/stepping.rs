//! `PK_STEP`: a stop before each step, to look at a process that is half-way to its container.
//!
//! What is asked and shown goes over the terminal, because standard input and output are PROG's.
//! The links of a chain hand on three descriptors: the terminal, what was seen at the last stop,
//! and a copy of pk-show. Most of the way there is no path to them.

use crate::bystander::{Bystander, children_go_elsewhere};
use crate::exec::{LINKS, Prog};
use crate::look::{Descriptors, Look, in_child};
use crate::paint::Paint;
use crate::step::{Words, explanation};
use crate::{Attempt, Error, Result, Tool, sys};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::fstat;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};

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
