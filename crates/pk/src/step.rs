//! Steps: what a tool does, as a list that can be explained, traced or carried out.

use crate::exec::Prog;
use crate::parent::{self, Child, Fork};
use crate::{Attempt, Error, Result, Tool, sys};
use std::ffi::OsStr;
use std::fmt::Write;
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

struct Step<S> {
    why: &'static str,
    call: String,
    shell: String,
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
        self.list.push(Step { why, call: call.into(), shell: shell.into(), deed });
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
        self.push_fork(why, shell.into(), child_is_init, stay);
    }

    /// The same for a parent that has more to do than to wait: `stay` returns the child's status
    /// once there is [`News::Ended`](crate::News::Ended).
    pub fn fork_and_stay(
        &mut self,
        why: &'static str,
        shell: impl Into<String>,
        stay: impl FnOnce(&mut S, Child) -> Result<u8> + 'static,
    ) {
        self.push_fork(why, shell.into(), false, Box::new(stay));
    }

    fn push_fork(&mut self, why: &'static str, shell: String, child_is_init: bool, stay: Stay<S>) {
        let deed = Deed::Fork { child_is_init, stay };
        self.list.push(Step { why, call: "fork()".to_owned(), shell, deed });
    }

    /// A variable for the next link of the chain, whose value is known only when the steps are
    /// done. Its name begins with `PK_`, so that no other program gets it.
    pub fn tell(&mut self, variable: impl FnOnce(&mut S) -> (&'static str, String) + 'static) {
        self.tell = Some(Box::new(variable));
    }

    /// A sealed copy of PROG is made, and will be executed in its place: from where the process is
    /// by then PROG cannot be reached, or has to be out of reach for those who are there.
    pub fn seal_prog(&mut self) {
        self.list.push(Step {
            why: "PROG is taken along as a copy, which cannot be written to from where it will run",
            call: "memfd_create(PROG, MFD_ALLOW_SEALING), fcntl(F_ADD_SEALS, F_SEAL_WRITE|…)"
                .to_owned(),
            shell: ": # util-linux has no command for it".to_owned(),
            deed: Deed::SealProg,
        });
    }

    /// Ends the list: the process becomes `prog`.
    pub fn exec(&mut self, prog: Prog) {
        self.prog = Some(prog);
    }

    /// Carries out the list, or explains it. Returns the status to exit with.
    pub(crate) fn run(mut self, tool: &Tool, mode: &Mode) -> Result<u8> {
        if mode.explain {
            return self.explain(tool, mode);
        }
        for check in self.checks {
            check(&mut self.state)?;
        }
        if let Some(missing) = self.prog.as_mut().and_then(|prog| prog.missing.take()) {
            return Err(missing);
        }
        let mut number = 0;
        let mut list = self.list.into_iter();
        while let Some(Step { why, call, shell, deed }) = list.next() {
            number += 1;
            let begin = Instant::now();
            let report =
                |result| mode.report(tool, number, (&call, &shell, why), Some((result, begin)));
            let result = match deed {
                Deed::Call(act) => act(&mut self.state),
                Deed::SealProg => self.prog.as_mut().map_or(Ok(()), Prog::seal),
                Deed::Fork { child_is_init, stay } => match self.prog.take() {
                    Some(prog) if list.len() == 0 => {
                        let told = self.tell.map(|tell| tell(&mut self.state));
                        let child = parent::spawn(tool, child_is_init, || {
                            report(&Ok(()))
                                .err()
                                .unwrap_or_else(|| become_prog(prog, tool, number + 1, told, mode))
                        })
                        .attempt(&call)?;
                        return stay(&mut self.state, child);
                    }
                    prog => {
                        self.prog = prog;
                        match parent::fork(child_is_init) {
                            Ok(Fork::Child) => Ok(()),
                            Ok(Fork::Parent(child)) => return stay(&mut self.state, child),
                            Err(error) => Err(error),
                        }
                    }
                },
            };
            report(&result)?;
            result.attempt(call)?;
        }
        let Some(prog) = self.prog else { return Ok(0) };
        let told = self.tell.map(|tell| tell(&mut self.state));
        Err(become_prog(prog, tool, number + 1, told, mode))
    }

    fn explain(self, tool: &Tool, mode: &Mode) -> Result<u8> {
        let mut rows: Vec<_> =
            self.list.into_iter().map(|step| (step.call, step.shell, step.why)).collect();
        let link = self.prog.as_ref().filter(|prog| prog.is_link());
        if let (Some(prog), None) = (&self.prog, link) {
            rows.push((prog.call(), prog.shell(), BECOME));
        }
        let mut text = format!("{}\n", tool.name);
        for (number, (call, shell, why)) in rows.iter().enumerate() {
            let _ = write!(text, "{:3}  {call}\n     $ {shell}\n     # {why}\n", number + 1);
        }
        std::io::stdout().write_all(text.as_bytes()).attempt("write(1)")?;
        match link {
            Some(prog) => Err(prog.exec_to_explain(mode)),
            None => Ok(0),
        }
    }
}

fn become_prog(
    prog: Prog,
    tool: &Tool,
    number: usize,
    told: Option<(&'static str, String)>,
    mode: &Mode,
) -> Error {
    match mode.report(tool, number, (&prog.call(), &prog.shell(), BECOME), None) {
        Err(error) => error,
        Ok(()) => prog.exec(mode, told),
    }
}

const BECOME: &str = "nothing of the tool stays behind: the process becomes the program";

/// What to do with the steps.
#[derive(Debug, Default, PartialEq)]
pub struct Mode {
    pub explain: bool,
    pub trace: Option<Trace>,
}

/// How steps are reported while they are done.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub json: bool,
    /// The descriptor, standard error unless `PK_TRACE_FD` says otherwise.
    pub descriptor: i32,
}

impl Mode {
    /// The mode that `PK_EXPLAIN`, `PK_TRACE` and `PK_TRACE_FD` ask for.
    pub fn from_environment() -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let on = |name| match variable(name) {
            Some(value) if value == "1" => Ok(true),
            Some(value) if value != "0" => Err(Error::usage(assignment(name, &value), "is 0 or 1")),
            _ => Ok(false),
        };
        if variable("PK_STEP").is_some_and(|value| value != "0") {
            return Err(Error::usage("PK_STEP", "stopping between steps is not there yet")
                .hint("PK_TRACE=1 shows each step as it is done".to_owned()));
        }
        let json = variable("PK_TRACE").is_some_and(|value| value == "json");
        let trace = json || on("PK_TRACE")?;
        let descriptor = match variable("PK_TRACE_FD").filter(|_| trace) {
            None => 2,
            Some(value) => {
                let number = value.to_str().and_then(|value| value.parse().ok());
                let number = number.filter(|&number| sys::descriptor(number).is_ok());
                let what = assignment("PK_TRACE_FD", &value);
                number.ok_or_else(|| Error::usage(what, "is no open descriptor"))?
            }
        };
        let trace = trace.then_some(Trace { json, descriptor });
        Ok(Self { explain: on("PK_EXPLAIN")?, trace })
    }

    /// `--explain`.
    pub fn explain(&mut self) {
        self.explain = true;
    }

    /// `--trace`.
    pub fn trace(&mut self) {
        self.trace.get_or_insert(Trace { json: false, descriptor: 2 });
    }

    /// The environment variables that tell this mode to the next link.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if self.explain {
            variables.push(("PK_EXPLAIN", "1".to_owned()));
        }
        if let Some(trace) = &self.trace {
            variables.push(("PK_TRACE", if trace.json { "json" } else { "1" }.to_owned()));
            variables.push(("PK_TRACE_FD", trace.descriptor.to_string()));
        }
        variables
    }

    /// One line about a step: its result and time, or that it begins where it cannot return.
    fn report(
        &self,
        tool: &Tool,
        number: usize,
        (call, shell, why): (&str, &str, &str),
        done: Option<(&Result<()>, Instant)>,
    ) -> Result<()> {
        let Some(trace) = &self.trace else { return Ok(()) };
        let seconds = done.map(|(_, begin)| begin.elapsed().as_secs_f64());
        let result = done.map(|(result, _)| match result {
            Ok(()) => "0".to_owned(),
            Err(error) => error.errno().map_or("error".to_owned(), |errno| format!("{errno:?}")),
        });
        let line = if trace.json {
            let pid = std::process::id();
            let fields = serde_json::json!({
                "tool": tool.name, "pid": pid, "step": number, "call": call, "shell": shell,
                "why": why, "result": result, "seconds": seconds,
            });
            format!("{fields}\n")
        } else {
            match (result.as_deref(), seconds) {
                (Some("0"), Some(seconds)) => format!("{}: {call} = 0 <{seconds:.6}>\n", tool.name),
                (Some(errno), Some(seconds)) => {
                    format!("{}: {call} = -1 {errno} <{seconds:.6}>\n", tool.name)
                }
                _ => format!("{}: {call}\n", tool.name),
            }
        };
        let descriptor = sys::descriptor(trace.descriptor).attempt("PK_TRACE_FD")?;
        nix::unistd::write(descriptor, line.as_bytes()).attempt("write(PK_TRACE_FD)")?;
        Ok(())
    }
}

fn assignment(name: &str, value: &OsStr) -> String {
    format!("{name}={}", value.to_string_lossy())
}
