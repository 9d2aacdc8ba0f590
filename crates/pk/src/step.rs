//! Steps: what a tool does, as a list that can be explained, traced, stepped through or carried out.

use crate::exec::Prog;
use crate::fork::{self, Fork};
use crate::mode::Mode;
use crate::paint::Paint;
use crate::parent::Child;
use crate::stepping::{Stepping, Stop};
use crate::{Attempt, Error, Result, Tool};
use std::io::Write as _;
use std::time::Instant;

/// The steps of one tool, in the order in which they run, over a `state` that they share (a
/// descriptor that one opens and the next one uses; `()` where there is none).
pub struct Steps<S = ()> {
    state: S,
    checks: Vec<Action<S>>,
    list: Vec<Step<S>>,
    tell: Option<Tell<S>>,
    prog: Option<Prog>,
}

type Action<S> = Box<dyn FnOnce(&mut S) -> Result<()>>;
type Stay<S> = Box<dyn FnOnce(&mut S, Child) -> Result<u8>>;
type Tell<S> = Box<dyn FnOnce(&mut S) -> (&'static str, String)>;

/// What is said of a step.
pub(crate) struct Words {
    pub why: &'static str,
    /// As strace writes it.
    pub call: String,
    /// The command that does the same.
    pub shell: String,
}

struct Step<S> {
    words: Words,
    deed: Deed<S>,
}

enum Deed<S> {
    Call(Action<S>),
    /// PROG is copied, and the copy executed in its place.
    SealProg,
    /// The child goes on with the next step; the parent does this, and ends with its status.
    Fork {
        child_is_init: bool,
        stay: Stay<S>,
    },
}

impl<S> Step<S> {
    fn forks(&self) -> bool {
        matches!(self.deed, Deed::Fork { .. })
    }
}

impl<S> Steps<S> {
    /// No steps yet.
    pub fn new(state: S) -> Self {
        Self { state, checks: Vec::new(), list: Vec::new(), tell: None, prog: None }
    }

    /// Something that must hold before the first step, and that only the process that really runs
    /// the steps can know: it is not asked for by `--explain`, where earlier links did nothing.
    pub fn check(&mut self, check: impl FnOnce(&mut S) -> Result<()> + 'static) {
        self.checks.push(Box::new(check));
    }

    /// A step: why it is done, the system call as strace would write it, the command that does
    /// the same, and how to do it. An error without a call of its own is given the step's.
    pub fn add<E: Into<Error>>(
        &mut self,
        why: &'static str,
        call: impl Into<String>,
        shell: impl Into<String>,
        act: impl FnOnce(&mut S) -> Result<(), E> + 'static,
    ) {
        let deed = Deed::Call(Box::new(move |state| act(state).map_err(Into::into)));
        self.push(why, call.into(), shell.into(), deed);
    }

    /// A fork after which the child goes on with the next step and the process itself stays as
    /// the parent: it forwards signals, waits, runs `afterwards` and ends with the child's status.
    pub fn fork(
        &mut self,
        why: &'static str,
        shell: impl Into<String>,
        child_is_init: bool,
        afterwards: impl FnOnce(&mut S) -> Result<()> + 'static,
    ) {
        let stay: Stay<S> = Box::new(|state, child| {
            let status = child.wait();
            afterwards(state)?;
            status
        });
        let deed = Deed::Fork { child_is_init, stay };
        self.push(why, "fork()".to_owned(), shell.into(), deed);
    }

    /// The same for a parent that has more to do than to wait: `stay` returns the child's status
    /// once there is [`News::Ended`](crate::News::Ended).
    pub fn fork_and_stay(
        &mut self,
        why: &'static str,
        shell: impl Into<String>,
        stay: impl FnOnce(&mut S, Child) -> Result<u8> + 'static,
    ) {
        let deed = Deed::Fork { child_is_init: false, stay: Box::new(stay) };
        self.push(why, "fork()".to_owned(), shell.into(), deed);
    }

    /// A variable for the next link of the chain, whose value is known only when the steps are
    /// done. Its name begins with `PK_`, so that no other program gets it.
    pub fn tell(&mut self, variable: impl FnOnce(&mut S) -> (&'static str, String) + 'static) {
        self.tell = Some(Box::new(variable));
    }

    /// A sealed copy of PROG is made, and will be executed in its place: from where the process is
    /// by then PROG cannot be reached, or has to be out of reach for those who are there.
    pub fn seal_prog(&mut self) {
        self.push(
            "PROG is taken along as a copy, which cannot be written to from where it will run",
            "memfd_create(PROG, MFD_ALLOW_SEALING), fcntl(F_ADD_SEALS, F_SEAL_WRITE|…)".to_owned(),
            ": # util-linux has no command for it".to_owned(),
            Deed::SealProg,
        );
    }

    fn push(&mut self, why: &'static str, call: String, shell: String, deed: Deed<S>) {
        self.list.push(Step { words: Words { why, call, shell }, deed });
    }

    /// Ends the list: the process becomes `prog`.
    pub fn exec(&mut self, prog: Prog) {
        self.prog = Some(prog);
    }

    /// Carries out the list, or explains it. Returns the status to exit with.
    pub(crate) fn run(mut self, tool: &Tool, mut mode: Mode) -> Result<u8> {
        if mode.explain {
            return self.explain(tool, &mode);
        }
        for check in self.checks {
            check(&mut self.state)?;
        }
        if let Some(missing) = self.prog.as_mut().and_then(|prog| prog.missing.take()) {
            return Err(missing);
        }
        let total = self.list.len() + usize::from(self.prog.is_some());
        // A fork that only goes on to the exec is made together with it, where nothing is told of
        // the two and nobody stops in between.
        let at_once = self.prog.is_some() && mode.stepping.is_none() && mode.trace.is_none();
        let last_fork = self.list.pop_if(|step| at_once && step.forks());
        let mut steps = self.list.into_iter();
        for number in 1.. {
            if let Some(stepping) = &mut mode.stepping {
                let exec = self.prog.as_ref().map(Prog::words);
                let rest = steps.as_slice().iter().map(|step| &step.words).chain(&exec).collect();
                let forks = steps.as_slice().iter().any(Step::forks);
                let prog = self.prog.as_ref();
                stepping.stop(&Stop { tool, number, total, rest, forks, prog })?;
            }
            let Some(Step { words, deed }) = steps.next() else { break };
            let begin = Instant::now();
            let result = match deed {
                Deed::Call(act) => act(&mut self.state),
                Deed::SealProg => self.prog.as_mut().map_or(Ok(()), Prog::seal),
                Deed::Fork { child_is_init, stay } => {
                    mode.stepping.iter_mut().for_each(Stepping::dismiss_bystander);
                    match fork::fork(child_is_init) {
                        Ok(Fork::Child) => Ok(()),
                        Ok(Fork::Parent(child)) => return stay(&mut self.state, child),
                        Err(error) => Err(error),
                    }
                }
            };
            mode.report(tool, number, &words, &result, begin)?;
            result.attempt(words.call)?;
        }
        let Some(prog) = self.prog else { return Ok(0) };
        if let Some(trace) = &mode.trace {
            trace.report(tool, total, &prog.words(), None)?;
        }
        let told = self.tell.map(|tell| tell(&mut self.state));
        let program = prog.ready(&mode, told)?;
        let Some(Step { words, deed: Deed::Fork { child_is_init, stay } }) = last_fork else {
            return Err(program.become_it());
        };
        let child = fork::spawn(tool, child_is_init, &program).attempt(words.call)?;
        drop(program);
        stay(&mut self.state, child)
    }

    fn explain(self, tool: &Tool, mode: &Mode) -> Result<u8> {
        let link = self.prog.as_ref().filter(|prog| prog.is_link());
        // A link says itself what it is.
        let last = self.prog.as_ref().filter(|prog| !prog.is_link()).map(Prog::words);
        let rows: Vec<&Words> = self.list.iter().map(|step| &step.words).chain(&last).collect();
        let mut out = std::io::stdout();
        let text = format!("{}\n{}", tool.name, explanation(1, &rows, Paint::of(&out)));
        out.write_all(text.as_bytes()).attempt("write(1)")?;
        match link {
            Some(prog) => Err(prog.exec_to_explain(mode)),
            None => Ok(0),
        }
    }
}

impl Words {
    /// Three lines, the first one after `mark`: what is called, the command that does the same, why.
    pub fn explained(&self, mark: &str, paint: Paint) -> String {
        let Self { why, call, shell } = self;
        let (call, why) = (paint.bold(call), paint.dim(format_args!("# {why}")));
        let shell = paint.green(format_args!("$ {shell}"));
        let indent = mark.len();
        format!("{mark}{call}\n{:indent$}{shell}\n{:indent$}{why}\n", "", "")
    }
}

/// Steps as `--explain` shows them, numbered from `first` on.
pub(crate) fn explanation(first: usize, rows: &[&Words], paint: Paint) -> String {
    let numbered = (first..).zip(rows);
    numbered.map(|(number, words)| words.explained(&format!("{number:3}  "), paint)).collect()
}
